"""The density of a network, next to the density that was asked for."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from szilard.bayes.find_weights import counts_as_weight
from szilard.bayes.network_weights import every_weight
from szilard.bayes.weight import Weight

CLOSE = 0.01  # relative difference that rounding to whole entries can cause


@dataclass(frozen=True)
class Density:
    """Numbers of entries in the matrices of a network.

    Attributes:
        asked: the density that was asked for, or None if it is not known.
        existing, converted: entries of weights on supports, those that exist and all; without the first layer if it was
            left dense (``dense_stem``).
        stem: entries of the first layer if it was left dense.
        dense: entries of all other matrices, which are not converted: frozen, excluded, or of no known layer.
        left: names of the matrices counted in ``dense``.
    """

    asked: float | None
    existing: int
    converted: int
    stem: int
    dense: int
    left: tuple[str, ...]

    @property
    def of_converted(self) -> float:
        """Density of the converted weights; 1 if there are none."""
        return self.existing / self.converted if self.converted else 1.0

    @property
    def of_all(self) -> float:
        """Density of all matrices of the network together."""
        total = self.converted + self.stem + self.dense
        return (self.existing + self.stem + self.dense) / total if total else 1.0

    def __str__(self) -> str:
        """The density for a table cell, with the one asked for if they differ: ``"5 %"``, or ``"47 % (asked 5 %)"``."""
        if self.asked is None:
            return f"{100 * self.of_all:.3g} %"
        if abs(self.of_all / self.asked - 1) <= CLOSE:
            return f"{100 * self.asked:g} %"
        return f"{100 * self.of_all:.3g} % (asked {100 * self.asked:g} %)"


def density(network: nn.Module, asked: float | None = None) -> Density:
    """Count the entries of a network's matrices: those that exist, and all.

    Biases, normalisation and other vectors do not count.

    Args:
        network: from :func:`szilard.bayesianize`, or any other.
        asked: the density that was asked for, such as ``method.density``.
    """
    held = every_weight(network)
    stem = sum(one.weight.support.nnz for one in held if one.weight.stem)
    sparse = [one.weight.support for one in held if not one.weight.stem]
    left: dict[str, Tensor] = {}
    for name, module in network.named_modules():
        if isinstance(module, Weight):
            continue
        for leaf, parameter in module._parameters.items():
            if parameter is not None and counts_as_weight(module, parameter):
                left[f"{name}.{leaf}" if name else leaf] = parameter
    return Density(
        asked,
        existing=sum(support.nnz for support in sparse),
        converted=sum(support.rows * support.cols for support in sparse),
        stem=stem,
        dense=sum(parameter.numel() for parameter in {id(p): p for p in left.values()}.values()),
        left=tuple(left),
    )
