"""Weights of a field's network as bytes: each part with the step that the free energy asks for."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import resources

import numpy as np

from szilard.codec.features import INPUTS, LINEAR
from szilard.codec.grid import MOST_LEVELS
from szilard.codec.network import (
    MOST_HIDDEN,
    MOST_OF,
    MOST_WEIGHT,
    OUTPUTS,
    Network,
)
from szilard.coding import Decoder, Encoder, shapes
from szilard.errors import SzilardError

PARTS = ("linear", "first", "second", "last", "biases")
MOST_STEP = {"linear": 14, "last": 16, "biases": 20}  #: of log2 of a step; the network's weights
SAME = 31  #: instead of a step: a part is that of the default weights
_MOST = 12
_START = {"linear": 3, "first": 2, "second": 2, "last": 5, "biases": 9}
_SHA256 = "6917ec7983ad41750603d0081186c04f5ba931c91ee4d78ed56922057226397a"


@dataclass(frozen=True, eq=False)
class Weights:
    """A network whose weights are coded.

    Attributes:
        network: of rounded weights.
        steps: log2 of the step of each part; ``SAME``: the part is that of the default weights.
        changed: whether the weights are coded as differences from the default ones.
    """

    network: Network
    steps: dict[str, int]
    changed: bool = False

    @property
    def are_default(self) -> bool:
        """Whether all parts are those of the default weights."""
        return all(step == SAME for step in self.steps.values())

    def encode(self, levels: int) -> bytes:
        """As bytes, with the linear parts of ``levels`` halvings."""
        coder = Encoder()
        base = default().network if self.changed else None
        for name in PARTS:
            if self.steps[name] != SAME:
                coder.levels(_levels(self.network, base, name, self.steps[name], levels))
        hidden = 0 if self.changed else self.network.hidden
        return (
            bytes([self.network.shape << 6 | hidden, *(self.steps[name] for name in PARTS)]) + coder.finish()
        )

    @classmethod
    def decode(cls, data: bytes, levels: int) -> Weights:
        """Undo :meth:`encode`.

        Raises:
            SzilardError: the bytes are damaged.
        """
        head = 1 + len(PARTS)
        if len(data) < head or data[0] & 63 > MOST_HIDDEN or data[0] >> 6 >= shapes.SHAPES:
            raise SzilardError("the weights of the field's network are damaged")
        changed = not data[0] & 63
        steps = dict(zip(PARTS, data[1:head], strict=True))
        if any(
            step > MOST_STEP.get(name, _MOST) and not (changed and step == SAME)
            for name, step in steps.items()
        ):
            raise SzilardError("the weights of the field's network are damaged")
        base = default().network if changed else None
        hidden = data[0] & 63 if base is None else base.hidden
        coder = Decoder(data[head:])
        values = {}
        for name, shape in _sizes(hidden).items():
            coded = (levels * 3, LINEAR) if name == "linear" else shape
            start = np.zeros(shape, np.int64) if base is None else _matrix(base, name).copy()
            if steps[name] != SAME:
                start[: coded[0]] += coder.levels(*coded).astype(np.int64) << steps[name]
            values[name] = start
        coder.finish()
        return cls(_network(values, data[0] >> 6), steps, changed)


@functools.cache
def default() -> Weights:
    """The weights that are shipped, for fields for which no fit pays (written by release/field_weights.py)."""
    data = resources.files("szilard.codec").joinpath("default.bin").read_bytes()
    if hashlib.sha256(data).hexdigest() != _SHA256:
        raise SzilardError("szilard's weights default.bin are damaged; reinstall szilard")
    return Weights.decode(data, MOST_LEVELS)


def unchanged(shape: int = shapes.TAILS) -> Weights:
    """The default weights as what streams of a few bytes name."""
    return Weights(replace(default().network, shape=shape), dict.fromkeys(PARTS, SAME), changed=True)


def rounded(network: Network, steps: dict[str, int], base: Network | None = None) -> Network:
    """The network with every part rounded to multiples of 2^step, counted from the ``base``."""
    values = {}
    for name in PARTS:
        given, step = _matrix(network, name), steps[name]
        start = np.zeros_like(given) if base is None else _matrix(base, name)
        if step == SAME:
            values[name] = start
            continue
        most = MOST_OF.get(name, MOST_WEIGHT)
        levels = (given - start + ((1 << step) >> 1)) >> step
        levels = np.clip(levels, -((most + start) >> step), (most - start) >> step)
        values[name] = start + (levels << step)
    return _network(values, network.shape)


def choose(network: Network, levels: int, cost: Callable[[Network], float], changed: bool = False) -> Weights:
    """The steps of all parts with the least code length of data and weights, one part after the other, from fine.

    Args:
        network: its weights.
        levels: halvings of a slice.
        cost: code length of the data under a network, in bits.
        changed: code the weights as differences from the default ones.
    """
    base = default().network if changed else None

    def tried(steps: dict[str, int]) -> tuple[float, Weights]:
        candidate = Weights(rounded(network, steps, base), steps, changed)
        return cost(candidate.network) + 8 * len(candidate.encode(levels)), candidate

    best, found = tried(dict(_START))
    for _ in range(3):
        before = best
        for name in PARTS:
            for direction in (1, -1):
                while 0 <= found.steps[name] + direction <= MOST_STEP.get(name, _MOST):
                    bits, trial = tried({**found.steps, name: found.steps[name] + direction})
                    if bits >= best:
                        break
                    best, found = bits, trial
            if changed and found.steps[name] != SAME:
                bits, trial = tried({**found.steps, name: SAME})
                if bits < best:
                    best, found = bits, trial
        if best > before - 16:
            break
    return found


def digest(network: Network) -> bytes:
    """The first 8 bytes of the SHA-256 of all weights."""
    sha = hashlib.sha256(bytes([network.shape]))
    for name in PARTS:
        values = getattr(network, name)
        sha.update(np.array([values.size], "<i8").tobytes() + values.astype("<i8").tobytes())
    return sha.digest()[:8]


def _sizes(hidden: int) -> dict[str, tuple[int, int]]:
    return {
        "linear": (MOST_LEVELS * 3, LINEAR),
        "first": (hidden, INPUTS),
        "second": (hidden, hidden),
        "last": (OUTPUTS, hidden),
        "biases": (1, 2 * hidden + OUTPUTS),
    }


def _matrix(network: Network, name: str) -> np.ndarray:
    """A part as a matrix of :func:`_sizes`."""
    return getattr(network, name).reshape(_sizes(network.hidden)[name])


def _network(values: dict[str, np.ndarray], shape: int) -> Network:
    linear = values["linear"].reshape(MOST_LEVELS, 3, LINEAR)
    return Network(linear, values["first"], values["second"], values["last"], values["biases"][0], shape)


def _levels(network: Network, base: Network | None, name: str, step: int, levels: int) -> np.ndarray:
    values = _matrix(network, name)
    if base is not None:
        values = values - _matrix(base, name)
    kept = values[: levels * 3] if name == "linear" else values
    return (kept >> step).astype(np.int32)
