"""Predictions of a network as columns, for ``szilard predict``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.likelihood.targets import Classes, DataTargets, Labels, Quantities
from szilard.metrics import Predictive


@dataclass(frozen=True)
class Predictions:
    """Columns of numbers or text, with one entry for each input.

    Attributes:
        digits: how many significant digits of a column a table shows, where 6 do not tell its values apart.
    """

    columns: dict[str, Sequence[float | str]]
    digits: Mapping[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def at(self, lines: Sequence[int]) -> Predictions:
        """With the line of the file that each prediction is for, as a first column."""
        name = "line"
        while name in self.columns:
            name += "_"
        return Predictions({name: lines, **self.columns}, self.digits)

    def rows(self) -> list[dict[str, Any]]:
        """One dict for each input."""
        return [
            dict(zip(self.columns, values, strict=True))
            for values in zip(*self.columns.values(), strict=True)
        ]


def of_predictive(
    predictive: Predictive,
    classes: Sequence[str],
    shift: float | Tensor,
    scale: float | Tensor,
    targets: Sequence[str] = (),
) -> Predictions:
    """Label, probability and uncertainty; or mean and standard deviations in the units of the user's table.

    With several targets, the column with the name of a target holds its mean, and the names of the other columns begin
    with its name. In a multilabel task, that column holds the probability of the label.
    """
    make = _COLUMNS.get(type(predictive.target_type))
    if make is None:
        raise SzilardError(f"no table shows predictions of {predictive.task}; add a function to {__name__}")
    return make(predictive, classes, shift, scale, targets)


def _of_quantities(
    predictive: Predictive,
    classes: Sequence[str],
    shift: float | Tensor,
    scale: float | Tensor,
    targets: Sequence[str],
) -> Predictions:
    figures = {  # in float64, because a target can be large and vary little
        "mean": predictive.mean.double() * scale + shift,
        "std": predictive.variance.double().sqrt() * scale,
        "aleatoric_std": predictive.aleatoric().double().sqrt() * scale,
        "epistemic_std": predictive.epistemic().double().sqrt() * scale,
    }
    return in_units_of(scale, figures, targets)


def _of_labels(
    predictive: Predictive,
    classes: Sequence[str],
    shift: float | Tensor,
    scale: float | Tensor,
    targets: Sequence[str],
) -> Predictions:
    return by_name({"probability": predictive.mean, **_uncertainties(predictive)}, targets)


def _of_classes(
    predictive: Predictive,
    classes: Sequence[str],
    shift: float | Tensor,
    scale: float | Tensor,
    targets: Sequence[str],
) -> Predictions:
    figures = {"probability": predictive.max_probability(), **_uncertainties(predictive)}
    return Predictions(
        {"label": [classes[i] for i in predictive.labels.tolist()], **of_tensors(figures).columns}
    )


def _uncertainties(predictive: Predictive) -> dict[str, Tensor]:
    return {
        "entropy": predictive.entropy(),
        "aleatoric": predictive.aleatoric(),
        "epistemic": predictive.epistemic(),
    }


_COLUMNS: dict[type[DataTargets], Callable[..., Predictions]] = {
    Classes: _of_classes,
    Labels: _of_labels,
    Quantities: _of_quantities,
}


def in_units_of(
    scale: float | Tensor, figures: dict[str, Tensor], targets: Sequence[str] = ()
) -> Predictions:
    """Columns of figures ``[N]``, or ``[N, k]`` for several targets; the first figure is the answer.

    A table shows answers down to a hundred-thousandth of ``scale``, the deviation of the target in training.
    """
    answers = next(iter(figures.values()))
    found = by_name(figures, targets) if targets else of_tensors(figures)
    names = list(targets) or [next(iter(figures))]
    largest = (
        answers.reshape(len(answers), -1).abs().amax(0) if len(answers) else answers.new_zeros(len(names))
    )
    ratios = (largest.double() / torch.as_tensor(scale, dtype=torch.float64)).tolist()
    digits = [5 + math.ceil(math.log10(ratio)) if 0 < ratio < math.inf else 0 for ratio in ratios]
    return Predictions(
        found.columns, {name: min(17, max(6, count)) for name, count in zip(names, digits, strict=True)}
    )


def by_name(figures: dict[str, Tensor], targets: Sequence[str]) -> Predictions:
    """Columns of figures ``[N, k]``: the first has the name of the target, the others are ``target_figure``."""
    first = next(iter(figures))
    found: dict[str, Tensor] = {}
    for number, target in enumerate(targets):
        for figure, values in figures.items():
            name = target if figure == first else f"{target}_{figure}"
            while name in found or (figure != first and name in targets):
                name += "_"  # a target with the name of another target's figure
            found[name] = values[:, number]
    return of_tensors(found)


def of_tensors(found: dict[str, Tensor]) -> Predictions:
    """Columns from tensors ``[N]``."""
    return Predictions({name: values.tolist() for name, values in found.items()})
