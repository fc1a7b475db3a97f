"""Other outputs of a network next to the judged one: their errors cost as much, and notes report them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from szilard.compression.adapter import Adapter, refused
from szilard.compression.batches import length, rows, shown
from szilard.compression.outputs import Path, at, output_name, tensors
from szilard.errors import SzilardError, SzilardWarning
from szilard.likelihood import Likelihood, Part, Several, choose

FEW = 64  # examples on which errors of outputs are measured
KINDS = 4  # most batches of different shapes that are examined
WORSE = 3.0  # an output is named in a warning if its error is this many times that of the judged output
SMALL = 0.02  # relative error below which no warning is given
# Outputs that networks return for inspection; they are not counted.
INSIDE = {
    "all_hidden_states", "attentions", "cross_attentions", "decoder_attentions", "decoder_hidden_states",
    "encoder_attentions", "encoder_hidden_states", "encoder_last_hidden_state", "hidden_states", "loss", "mems",
    "past_key_values", "token_embeddings",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class OtherOutputs:
    """The outputs that are not judged.

    Attributes:
        adapter: calls the network.
        paths: outputs with a known dimension of examples and known shapes; they have a curvature, too.
        axes: the dimension of the examples in these: 0, or 1 as in the states of recurrent layers.
        shapes: of one example of the judged output and of ``paths``; None stands for the length of a sequence.
        left: paths of all others.
    """

    adapter: Adapter
    paths: list[Path]
    axes: list[int]
    shapes: list[tuple[int | None, ...]]
    left: list[Path]

    @classmethod
    @torch.no_grad()
    def of(cls, network: nn.Module, adapter: Adapter, inputs: Sequence[Any]) -> OtherOutputs:
        """Find them from the outputs for a few examples of each kind of batch.

        Raises:
            SzilardError: the network does not take one of the batches.
        """
        if not adapter.path:  # the network returns one tensor
            return cls(adapter, [], [], [], [])
        outputs = []
        for few in _samples(adapter, inputs):
            try:
                output = adapter.outputs(network, few)
            except Exception as error:  # any error of a network on inputs that do not fit
                raise refused(few, error) from error
            outputs.append((length(few), dict(numeric_outputs(output))))
        judged = adapter.path
        axes: dict[Path, int] = {}
        if all(judged in found for _, found in outputs):
            for path in outputs[0][1]:
                axis = 0 if path == judged else _axis(path, outputs)
                if axis is not None:
                    axes[path] = axis
        own = [judged, *(path for path in axes if path != judged)] if judged in axes else []
        shapes = _shapes([[_moved(found[path], axes[path])[1:] for path in own] for _, found in outputs])
        paths = own[1:] if shapes is not None else []
        left = [path for path in outputs[0][1] if path != judged and path not in paths]
        return cls(adapter, paths, [axes[path] for path in paths], shapes or [], left)

    def call(self, network: nn.Module, inputs: Any) -> Tensor:
        """The judged output ``[B, ...]``; if there are others, all of them ``[B, K]``, concatenated.

        Raises:
            SzilardError: an output has another shape than in other batches.
        """
        if not self.paths:
            return self.adapter.call(network, inputs)
        output = self.adapter.outputs(network, inputs)
        count = length(inputs)
        parts = [self.adapter.counted(output, inputs), *self._parts(output, count)]
        for part, shape in zip(parts, self.shapes, strict=True):
            fits = part.dim() == len(shape) + 1 and len(part) == count
            if not fits or any(n not in (None, m) for n, m in zip(shape, part.shape[1:], strict=True)):
                raise SzilardError(
                    f"an output has shape {list(part.shape)} and another one in other batches; give forward, which "
                    "returns one tensor"
                )
        return torch.cat([part.to(parts[0]).reshape(count, -1) for part in parts], 1)

    def _parts(self, output: Any, count: int) -> list[Tensor]:
        pairs = zip(self.paths, self.axes, strict=True)
        return [at(output, path, count).movedim(axis, 0) for path, axis in pairs]

    @torch.no_grad()
    def likelihood(self, judged: Likelihood, network: nn.Module, inputs: Sequence[Any]) -> Likelihood:
        """The likelihood of the result of :meth:`call`, with the judged output first."""
        if not self.paths:
            return judged
        few = rows(inputs[0], slice(0, FEW))
        output = self.adapter.outputs(network, few)
        parts = [Part(judged, self.shapes[0])]
        for part, shape in zip(self._parts(output, length(few)), self.shapes[1:], strict=True):
            parts.append(Part(choose(part).likelihood, shape))
        return Several(parts)

    @torch.no_grad()
    def notes(self, original: nn.Module, small: nn.Module, inputs: Sequence[Any]) -> list[str]:
        """How far the other outputs differ from the original's, and a warning for those that differ much more."""
        theirs = [*self.paths, *self.left]
        if not theirs or self.adapter.path is None:
            return []
        few = rows(inputs[0], slice(0, FEW))
        before, after = (dict(numeric_outputs(self.adapter.outputs(net, few))) for net in (original, small))
        errors = {path: _error(before[path], after.get(path)) for path in (self.adapter.path, *theirs)}
        own = errors.pop(self.adapter.path)
        worst = max(errors.values())
        verb = "is" if len(theirs) == 1 else "are"
        judged = output_name(self.adapter.path)
        notes = [
            f"the output {judged} is judged, and {_names(theirs)} {verb} not; relative errors are {own:.3g} and at "
            f"most {worst:.3g}"
        ]
        bad = [path for path, error in errors.items() if not error <= max(SMALL, WORSE * own)]
        if bad:
            how = f"by {worst:.3g} of their deviation" if math.isfinite(worst) else "in shape"
            text = (
                f"outputs that are not judged differ from the original's {how}, much more than the judged one: "
                f"{_names(bad)}; give forward or evaluate, which includes them"
            )
            warnings.warn(text, SzilardWarning, stacklevel=3)
            notes.append(text)
        return notes


def numeric_outputs(output: Any) -> list[tuple[Path, Tensor]]:
    """Floating-point outputs with their paths, except those in :data:`INSIDE`."""
    return [
        (path, t)
        for path, t in tensors(output)
        if t.is_floating_point() and t.dim() and t.numel() and not INSIDE & set(map(str, path))
    ]


def _samples(adapter: Adapter, inputs: Sequence[Any]) -> list[Any]:
    """A few examples of every kind of batch, in two counts, so that the dimension of examples can be identified."""
    kinds = {shown(rows(x, slice(0, 3))): x for x in reversed(inputs)}
    chosen = list(kinds.values())[::-1][:KINDS]
    counts = (3, 5) if adapter.divided and length(chosen[0]) >= 5 else (3,)
    return [rows(x, slice(0, n)) for x in chosen for n in counts]


def _axis(path: Path, outputs: Sequence[tuple[int, dict[Path, Tensor]]]) -> int | None:
    """Which of the first two dimensions counts the examples; None if neither does."""
    for axis in (0, 1):
        if all(path in one and one[path].dim() > axis and one[path].shape[axis] == n for n, one in outputs):
            return axis
    return None


def _moved(t: Tensor, axis: int) -> tuple[int, ...]:
    return tuple(t.movedim(axis, 0).shape)


def _shapes(seen: list[list[tuple[int, ...]]]) -> list[tuple[int | None, ...]] | None:
    """One shape for each output, with None for a length that differs between batches; None if that is not possible."""
    made: list[tuple[int | None, ...]] = []
    lengths = [set[int]() for _ in seen]
    for column in zip(*seen, strict=True):
        if len({len(shape) for shape in column}) > 1:
            return None
        shape = [sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*column, strict=True)]
        if shape.count(None) > 1:
            return None
        for one, own in zip(column, lengths, strict=True):
            own.update(n for n, common in zip(one, shape, strict=True) if common is None)
        made.append(tuple(shape))
    return made if all(len(own) <= 1 for own in lengths) else None


def _error(before: Tensor, after: Tensor | None) -> float:
    """Error relative to the deviation from the mean over examples."""
    if after is None or after.shape != before.shape:
        return math.inf
    wide = before.double()
    spread = wide - wide.mean(0) if wide.dim() else wide
    size = float((spread if bool(spread.any()) else wide).norm())
    missed = float((after.double() - before.double()).norm())
    return missed / size if size else (math.inf if missed else 0.0)


def _names(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(map(output_name, paths[:3])) + more
