"""Independent binary labels (multi-label classification)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor

from szilard.errors import SzilardError
from szilard.likelihood.bernoulli import Bernoulli
from szilard.likelihood.categorical import IGNORED
from szilard.likelihood.likelihood import Likelihood
from szilard.likelihood.outputs import between_zero_and_one
from szilard.likelihood.targets.target_type import DataTargets, ignoring


class Labels(DataTargets):
    """0 or 1 for each label, int64 ``[N, k]``."""

    name = "multilabel"
    score = Bernoulli.score
    in_columns = True
    constant = "the frequencies of the labels"
    figures: ClassVar[Mapping[str, str]] = {"accuracy": "accuracy_by_label"}

    def trained(self) -> Likelihood:
        return Bernoulli()

    def likelihood_of(self, output: Tensor, labels: Tensor | None) -> Likelihood:
        return Bernoulli(probabilities=between_zero_and_one(output))

    def output_shapes(
        self, n: int, n_outputs: int, positions: Sequence[int]
    ) -> tuple[list[tuple[int, ...]], str]:
        return [(n, n_outputs)], f"[B, {n_outputs}], one logit for each label"

    def checked(self, y: Tensor, n_outputs: int, ignore_index: int | None = None) -> Tensor:
        known = y if ignore_index is None else y[y != ignore_index]
        if known.numel() and not bool(((known == 0) | (known == 1)).all()):
            raise SzilardError(
                "binary labels must be 0 or 1, and these are not"
                + (ignoring(known, IGNORED, ignore_index) or "; fix them")
            )
        return y.long()

    def constant_nll(self, known: Tensor, asked: Tensor, n_outputs: int) -> float:
        known, asked = known.double(), asked.double()
        share = (known.sum(0) + 1) / (len(known) + 2)
        return float(-(asked * share.log() + (1 - asked) * (-share).log1p()).mean())
