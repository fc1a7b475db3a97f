"""Classification into one of several classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.likelihood.bernoulli import Bernoulli
from szilard.likelihood.categorical import IGNORED, Categorical
from szilard.likelihood.likelihood import Likelihood
from szilard.likelihood.outputs import between_zero_and_one, classes_last, sums_to_one
from szilard.likelihood.targets.target_type import DataTargets, ignoring


class Classes(DataTargets):
    """Class numbers, int64 ``[N]``, or ``[N, ...]`` with one for each position; -100 marks a position without label."""

    name = "classification"
    score = Categorical.score
    has_classes = True
    ignored = IGNORED
    constant = "the class frequencies"

    def trained(self) -> Likelihood:
        return Categorical(ignore=IGNORED)

    def likelihood_of(self, output: Tensor, labels: Tensor | None) -> Likelihood:
        if output.dim() < 2 or output.shape[1] == 1:
            return Bernoulli(probabilities=between_zero_and_one(output))  # two classes, one logit
        return Categorical(
            last=labels is not None and classes_last(output, labels),
            probabilities=sums_to_one(output, labels),
        )

    def n_outputs(self, classes: Sequence[str], targets: Sequence[str]) -> int:
        return len(classes)

    def output_names(self, classes: Sequence[str], targets: Sequence[str]) -> Sequence[str]:
        return classes

    def output_shapes(
        self, n: int, n_outputs: int, positions: Sequence[int]
    ) -> tuple[list[tuple[int, ...]], str]:
        shape = (n_outputs, *positions)
        wanted = f"[{', '.join(['B', *map(str, shape)])}], one logit for each class"
        return [(n, *shape)], wanted + (" at each position" if positions else "")

    def checked(self, y: Tensor, n_outputs: int, ignore_index: int | None = None) -> Tensor:
        if y.is_floating_point() or y.is_complex():
            raise SzilardError(f"class labels must be integers, not {str(y.dtype).removeprefix('torch.')}")
        y = y.long()
        counted = y if ignore_index is None else y[y != ignore_index]
        if counted.numel() and (int(counted.min()) < 0 or int(counted.max()) >= n_outputs):
            raise SzilardError(
                f"labels are in [{int(counted.min())}, {int(counted.max())}] but the network has {n_outputs} classes"
                + ignoring(counted, IGNORED, ignore_index)
            )
        return y

    def constant_nll(self, known: Tensor, asked: Tensor, n_outputs: int) -> float:
        """With one added example of each class, so that no class has probability 0."""
        known, asked = (y[y != IGNORED].long() for y in (known, asked))
        counts = torch.bincount(known, minlength=n_outputs).double() + 1
        return float((counts.sum().log() - counts.log())[asked].mean())
