"""How much each option of each decision changes the predictions, alone: measured once, and kept on disk."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from szilard import atomic, plain_json
from szilard.compression.channels.units import ChannelUnits
from szilard.compression.policies.applied import PolicyEffect
from szilard.compression.policies.space import Space
from szilard.errors import SzilardError, SzilardWarning
from szilard.likelihood import Likelihood

INPUTS = 256  # that are used at most
FORMAT = 1  # of the file; raise it if effects are computed in another way
_SAME = 1e-3  # relative difference of outputs between machines and numbers of threads
_LARGEST = 1 << 24  # bytes of a file

Option = int | tuple[int, int]


@dataclass(frozen=True)
class Sensitivity:
    """KL(original ‖ one option of one decision) in nats per example, without training.

    Attributes:
        space: whose options were measured.
        nats: ``[decision][option]``; 0 for the first option, which leaves the network as it is. Infinite for options
            whose network has outputs that are not finite.
        examples: number of inputs.
    """

    space: Space
    nats: tuple[tuple[float, ...], ...]
    examples: int = 0

    def curve(self, decision: str, kind: str | None = None) -> list[tuple[Option, float]]:
        """Options of a decision with their nats.

        Args:
            decision: its name.
            kind: "channels" or "bits", if there are two decisions of this name.

        Raises:
            SzilardError: no such decision.
        """
        for one, nats in zip(self.space.decisions, self.nats, strict=True):
            if one.name == decision and kind in (None, one.kind):
                return list(zip(one.options, nats, strict=True))
        names = ", ".join(one.name for one in self.space.decisions)
        raise SzilardError(f"there is no decision {decision}; the decisions are {names}")

    def rows(self) -> list[dict[str, Any]]:
        """One row for each option: decision, kind, layers, option and nats, in the order of the network."""
        return [
            {
                "decision": one.name,
                "kind": one.kind,
                "layers": list(one.layers),
                "option": option,
                "nats": nats,
            }
            for one, curve in zip(self.space.decisions, self.nats, strict=True)
            for option, nats in zip(one.options, curve, strict=True)
        ]


def measure(
    network: nn.Module,
    units: ChannelUnits,
    space: Space,
    ranks: Mapping[str, Tensor],
    inputs: Tensor,
    folder: Path | str | None = None,
    progress: Callable[[int, int], object] | None = None,
    *,
    likelihood: Likelihood | None = None,
) -> Sensitivity:
    """Measure every option of every decision alone.

    Args:
        network: the original; it is not changed.
        units: of the original.
        space: of policies.
        ranks: importance of units, see :func:`szilard.compression.policies.applied.apply`.
        inputs: ``[N, ...]`` without labels; at most :data:`INPUTS` are used.
        folder: where results are kept, in a file named by a hash of weights, inputs, space and the order of units. A
            measurement that was stopped goes on where it was; a file that does not fit is measured again, with a
            warning.
        progress: called with the number of options done and of all.
        likelihood: of the outputs; None: seen from them.
    """
    x = inputs[:INPUTS]
    effect = PolicyEffect(network, units, ranks, x, likelihood)
    store = None if folder is None else _Store.of(Path(folder), effect, space)
    found = {} if store is None else store.found
    places = [(d, o) for d, one in enumerate(space.decisions) for o in range(1, len(one.options))]
    for done, place in enumerate(places):
        if place not in found:
            choice = list(space.original)
            choice[place[0]] = place[1]
            found[place] = effect.kl(space.policy(tuple(choice)))
            if store is not None:
                store.write()
        if progress is not None:
            progress(done + 1, len(places))
    return Sensitivity(
        space,
        tuple(
            (0.0, *(found[number, option] for option in range(1, len(one.options))))
            for number, one in enumerate(space.decisions)
        ),
        len(x),
    )


class _Store:
    """What was measured so far, in a file."""

    def __init__(self, path: Path, head: dict[str, Any], space: Space, found: dict[tuple[int, int], float]):
        self.path, self.head, self.space, self.found = path, head, space, found

    @classmethod
    def of(cls, folder: Path, effect: PolicyEffect, space: Space) -> _Store:
        likelihood = type(effect.likelihood).__name__
        key = content_hash(effect.network, space, effect.ranks, effect.inputs, likelihood)
        head = {"format": FORMAT, "hash": key, "outputs": _summary(effect.outputs)}
        store = cls(folder / f"sensitivity-{key[:16]}.json", head, space, {})
        if store.path.exists():
            try:
                store.found = store._read()
            except (OSError, ValueError, TypeError, KeyError) as error:
                warnings.warn(
                    f"{store.path} is not a sensitivity of this network ({error}), and is measured again",
                    SzilardWarning,
                    stacklevel=3,
                )
        return store

    def _read(self) -> dict[tuple[int, int], float]:
        """The numbers of a file.

        Raises:
            ValueError: damaged, or of another network.
        """
        if self.path.stat().st_size > _LARGEST:
            raise ValueError("it is too large")
        table = plain_json.loads(self.path.read_bytes())
        if not isinstance(table, dict) or any(
            table.get(name) != self.head[name] for name in ("format", "hash")
        ):
            raise ValueError("it is damaged, or of another network, data or space")
        before, now = table["outputs"], self.head["outputs"]
        gap = max(abs(a - b) for a, b in zip(before, now, strict=True))
        if not gap <= _SAME * max(map(abs, now)):
            raise ValueError("the network computes other outputs with the same weights")
        found = {}
        for number, (decision, row) in enumerate(zip(self.space.decisions, table["nats"], strict=True)):
            if len(row) != len(decision.options):
                raise ValueError(f"{decision.name} has other options")
            for option, nats in enumerate(row):
                if nats == "inf":
                    found[number, option] = math.inf
                elif nats is not None:
                    if isinstance(nats, bool) or not isinstance(nats, int | float) or nats < 0:
                        raise ValueError(f"{decision.name} has a number of nats that is none")
                    found[number, option] = float(nats)
        return found

    def write(self) -> None:
        table = self.head | {
            "nats": [
                [_written(self.found.get((number, option))) for option in range(len(decision.options))]
                for number, decision in enumerate(self.space.decisions)
            ]
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(self.path, json.dumps(table).encode())


def _written(nats: float | None) -> float | str | None:
    return "inf" if nats is not None and math.isinf(nats) else nats


def _summary(outputs: Tensor) -> list[float]:
    """Numbers that another forward with the same weights changes: means of outputs and of products with a ramp."""
    flat = outputs.double().flatten(1)
    ramp = torch.linspace(-1, 1, flat.shape[1], dtype=torch.float64)
    return [
        float(flat.mean()),
        float(flat.std()),
        float((flat @ ramp).abs().mean()),
        float(flat.abs().mean()),
    ]


def content_hash(
    network: nn.Module, space: Space, ranks: Mapping[str, Tensor], inputs: Tensor, likelihood: str
) -> str:
    """SHA-256 of everything that the result depends on, but the forward's code."""
    made = hashlib.sha256()
    described = [[d.name, d.kind, list(d.layers), list(d.options)] for d in space.decisions]
    text = [described, {k: list(v) for k, v in space.pools.items()}, dict(space.fixed), likelihood]
    made.update(json.dumps(text, sort_keys=True).encode())
    tensors = {
        **{f"ranks/{name}": rank.argsort(stable=True) for name, rank in ranks.items()},
        "inputs": inputs,
    }
    for name, tensor in sorted({**network.state_dict(), **tensors}.items()):
        made.update(f"{name} {tensor.dtype} {list(tensor.shape)};".encode())
        made.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return made.hexdigest()
