"""Predictions of a network as columns, for ``szilard predict``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from szilard.errors import SzilardError
from szilard.likelihood.targets import Classes, DataTargets, Labels, Quantities
from szilard.metrics import Predictive


@dataclass(frozen=True)
class Predictions:
    """Columns of numbers or text, with one entry for each input."""

    columns: dict[str, Sequence[float | str]]

    @property
    def count(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def at(self, lines: Sequence[int]) -> Predictions:
        """With the line of the file that each prediction is for, as a first column."""
        name = "line"
        while name in self.columns:
            name += "_"
        return Predictions({name: lines, **self.columns})

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
    figures = {
        "mean": predictive.mean * scale + shift,
        "std": predictive.variance.sqrt() * scale,
        "aleatoric_std": predictive.aleatoric().sqrt() * scale,
        "epistemic_std": predictive.epistemic().sqrt() * scale,
    }
    return by_name(figures, targets) if targets else of_tensors(figures)


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
