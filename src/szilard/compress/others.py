"""Outputs of a network beside the one that is judged: no pass may ruin them, and what became of them is told."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from szilard.compress.adapter import Adapter
from szilard.compress.answers import Path, at, tensors
from szilard.compress.batches import length, rows, told
from szilard.errors import SzilardError, SzilardWarning, printable
from szilard.likelihood import Likelihood, Part, Several, choose

FEW = 64  # examples that say how far outputs part
KINDS = 4  # batches of different shapes that are looked at
WORSE = 3.0  # times the error of the output that is judged, beyond which another one is named
SMALL = 0.02  # relative error that nobody is told of
# What networks answer on demand, to look inside of them: it does not count.
INSIDE = {
    "all_hidden_states", "attentions", "cross_attentions", "decoder_attentions", "decoder_hidden_states",
    "encoder_attentions", "encoder_hidden_states", "encoder_last_hidden_state", "hidden_states", "loss", "mems",
    "past_key_values", "token_embeddings",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Others:
    """The outputs that are not judged.

    Attributes:
        adapter: calls the network.
        paths: of those with a row for each example, whose shapes are understood; they have a curvature, too.
        shapes: of one example of the judged output and of these; None stands for the length of a sequence.
        left: of all others.
    """

    adapter: Adapter
    paths: list[Path]
    shapes: list[tuple[int | None, ...]]
    left: list[Path]

    @classmethod
    @torch.no_grad()
    def of(cls, network: nn.Module, adapter: Adapter, inputs: Sequence[Any]) -> Others:
        """By answers to a few examples of each kind of batch."""
        kinds = {told(rows(x, slice(0, 2))): x for x in reversed(inputs)}
        answers = []
        for x in list(kinds.values())[::-1][:KINDS]:
            few = rows(x, slice(0, 2))
            answers.append((length(few), adapter.outputs(network, few)))
        found = [dict(_numbers(output)) for _, output in answers]
        judged = adapter.path
        paths: list[Path] = []
        left: list[Path] = []
        shapes: list[tuple[int | None, ...]] | None = []
        if judged is not None and all(judged in one for one in found):
            for path in found[0]:
                if path == judged:
                    continue
                rowwise = all(
                    path in one and one[path].dim() > 0 and len(one[path]) == n
                    for one, (n, _) in zip(found, answers, strict=True)
                )
                (paths if rowwise else left).append(path)
            seen = [[tuple(one[path].shape[1:]) for path in (judged, *paths)] for one in found]
            shapes = _shapes(seen)
            if shapes is None:
                paths, left, shapes = [], paths + left, []
        return cls(adapter, paths, shapes or [], left)

    def call(self, network: nn.Module, inputs: Any) -> Tensor:
        """The judged output ``[B, ...]``; where there are others, all of them ``[B, K]``, one behind the other.

        Raises:
            SzilardError: an output is not what it was in other batches.
        """
        if not self.paths:
            return self.adapter.call(network, inputs)
        output = self.adapter.outputs(network, inputs)
        count = length(inputs)
        parts = [self.adapter.counted(output, inputs), *(at(output, path, count) for path in self.paths)]
        for part, shape in zip(parts, self.shapes, strict=True):
            fits = part.dim() == len(shape) + 1 and len(part) == count
            if not fits or any(n not in (None, m) for n, m in zip(shape, part.shape[1:], strict=True)):
                raise SzilardError(
                    f"an output has shape {list(part.shape)} and another one in other batches; give forward, which "
                    "gives one tensor"
                )
        return torch.cat([part.to(parts[0]).reshape(count, -1) for part in parts], 1)

    @torch.no_grad()
    def likelihood(self, judged: Likelihood, network: nn.Module, inputs: Sequence[Any]) -> Likelihood:
        """Of what :meth:`call` gives, with the judged output first."""
        if not self.paths:
            return judged
        few = rows(inputs[0], slice(0, FEW))
        output = self.adapter.outputs(network, few)
        parts = [Part(judged, self.shapes[0])]
        for path, shape in zip(self.paths, self.shapes[1:], strict=True):
            parts.append(Part(choose(at(output, path, length(few))).likelihood, shape))
        return Several(parts)

    @torch.no_grad()
    def notes(self, original: nn.Module, small: nn.Module, inputs: Sequence[Any]) -> list[str]:
        """How far the others part from the original's, and a warning for those that part by far more."""
        named = [*self.paths, *self.left]
        if not named or self.adapter.path is None:
            return []
        few = rows(inputs[0], slice(0, FEW))
        before, after = (dict(_numbers(self.adapter.outputs(net, few))) for net in (original, small))
        errors = {path: _error(before[path], after.get(path)) for path in (self.adapter.path, *named)}
        own = errors.pop(self.adapter.path)
        worst = max(errors.values())
        verb = "is" if len(named) == 1 else "are"
        notes = [
            f"the output {_name(self.adapter.path)} is judged, and {_names(named)} {verb} not; relative errors are "
            f"{own:.3g} and at most {worst:.3g}"
        ]
        bad = [path for path, error in errors.items() if not error <= max(SMALL, WORSE * own)]
        if bad:
            ruined = (
                f"{_names(bad)} {'parts' if len(bad) == 1 else 'part'} from the original's by {worst:.3g} of "
                f"{'its' if len(bad) == 1 else 'their'} size, far more than what is judged; give forward or evaluate, "
                "which tells what counts"
            )
            warnings.warn(ruined, SzilardWarning, stacklevel=3)
            notes.append(ruined)
        return notes


def _numbers(output: Any) -> list[tuple[Path, Tensor]]:
    return [
        (path, t)
        for path, t in tensors(output)
        if t.is_floating_point() and t.dim() and t.numel() and not INSIDE & set(map(str, path))
    ]


def _shapes(seen: list[list[tuple[int, ...]]]) -> list[tuple[int | None, ...]] | None:
    """One shape for each output, with None for what is another length in each batch; None where it is not one."""
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
    if after is None or after.shape != before.shape:
        return math.inf
    size = float(before.double().norm())
    missed = float((after.double() - before.double()).norm())
    return missed / size if size else (math.inf if missed else 0.0)


def _name(path: Path) -> str:
    return printable(".".join(map(str, path))) if path else "itself"


def _names(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(map(_name, paths[:3])) + more
