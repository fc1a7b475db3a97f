"""Weights of a field's network as bytes: each part with the step that the free energy asks for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from szilard.codec.features import INPUTS, LINEAR
from szilard.codec.grid import MOST_LEVELS
from szilard.codec.network import MOST_BIAS, MOST_HIDDEN, MOST_LINEAR, MOST_WEIGHT, OUTPUTS, Network
from szilard.coding import Decoder, Encoder, shapes
from szilard.errors import SzilardError

PARTS = ("linear", "first", "second", "last", "biases")
MOST_STEP = {"linear": 14, "biases": 20}  #: of log2 of a step; the network's weights
_MOST = 12


def rounded(network: Network, steps: dict[str, int]) -> Network:
    """The network with every part rounded to multiples of 2^step."""
    values = {}
    for name in PARTS:
        given, step = getattr(network, name), steps[name]
        most = {"linear": MOST_LINEAR, "biases": MOST_BIAS}.get(name, MOST_WEIGHT)
        levels = np.clip((given + ((1 << step) >> 1)) >> step, -(most >> step), most >> step)
        values[name] = levels << step
    return replace(network, **values)


def encode(network: Network, steps: dict[str, int], levels: int) -> bytes:
    """The weights of a rounded network, with the linear parts of ``levels`` halvings."""
    coder = Encoder()
    for name in PARTS:
        coder.levels(_levels(network, name, steps[name], levels))
    return bytes([network.shape << 6 | network.hidden, *(steps[name] for name in PARTS)]) + coder.finish()


def decode(data: bytes, levels: int) -> Network:
    """Undo :func:`encode`.

    Raises:
        SzilardError: the bytes are damaged.
    """
    head = 1 + len(PARTS)
    if len(data) < head or not 1 <= data[0] & 63 <= MOST_HIDDEN or data[0] >> 6 >= shapes.SHAPES:
        raise SzilardError("the weights of the field's network are damaged")
    hidden, steps = data[0] & 63, steps_of(data)
    if any(step > MOST_STEP.get(name, _MOST) for name, step in steps.items()):
        raise SzilardError("the weights of the field's network are damaged")
    coder = Decoder(data[head:])
    sizes = {
        "linear": (levels * 3, LINEAR),
        "first": (hidden, INPUTS),
        "second": (hidden, hidden),
        "last": (OUTPUTS, hidden),
        "biases": (1, 2 * hidden + OUTPUTS),
    }
    values = {}
    for name, shape in sizes.items():
        values[name] = coder.levels(*shape).astype(np.int64) << steps[name]
    coder.finish()
    linear = np.zeros((MOST_LEVELS, 3, LINEAR), np.int64)
    linear[:levels] = values["linear"].reshape(levels, 3, LINEAR)
    return Network(
        linear, values["first"], values["second"], values["last"], values["biases"][0], data[0] >> 6
    )


def steps_of(data: bytes) -> dict[str, int]:
    """log2 of the step of each part, of the bytes of :func:`encode`."""
    return dict(zip(PARTS, data[1 : 1 + len(PARTS)], strict=True))


def choose(network: Network, levels: int, cost: Callable[[Network], float]) -> tuple[Network, dict[str, int]]:
    """The steps of all parts with the least code length of data and weights, one part after the other, from fine.

    Args:
        network: its weights.
        levels: halvings of a slice.
        cost: code length of the data under a network, in bits.
    """
    steps = {name: (3 if name == "linear" else 9 if name == "biases" else 2) for name in PARTS}

    def total(steps: dict[str, int]) -> float:
        candidate = rounded(network, steps)
        return cost(candidate) + 8 * len(encode(candidate, steps, levels))

    best = total(steps)
    for _ in range(3):
        before = best
        for name in PARTS:
            for direction in (1, -1):
                while 0 <= steps[name] + direction <= MOST_STEP.get(name, _MOST):
                    trial = {**steps, name: steps[name] + direction}
                    found = total(trial)
                    if found >= best:
                        break
                    best, steps = found, trial
        if best > before - 16:
            break
    return rounded(network, steps), steps


def digest(network: Network) -> bytes:
    """The first 8 bytes of the SHA-256 of all weights."""
    sha = hashlib.sha256(bytes([network.shape]))
    for name in PARTS:
        values = getattr(network, name)
        sha.update(np.array([values.size], "<i8").tobytes() + values.astype("<i8").tobytes())
    return sha.digest()[:8]


def _levels(network: Network, name: str, step: int, levels: int) -> np.ndarray:
    values = getattr(network, name)
    if name == "linear":
        values = values[:levels].reshape(levels * 3, LINEAR)
    return (np.atleast_2d(values) >> step).astype(np.int32)
