"""Published rules of dynamic sparse training, with point weights: presets of one method."""

from __future__ import annotations

from typing import Any

from szilard.methods.sparse_deterministic import SparseDeterministic
from szilard.topology.moves import GrowthFactory


class Static(SparseDeterministic):
    """A random mask that never changes: what every rule below must beat, and where each starts.

    Args:
        density: fraction of weights that exist.
        allocation: ``"erk"`` (small layers denser, same total), ``"uniform"``, ``"flops"`` (as erk, and the density is
            that of multiply-adds), or ``"global"`` (the largest pretrained weights of all layers).
        dense_stem: leave the first layer dense if it is a convolution.
    """

    name = "static"
    label = "static mask"
    summary = "Point weights on a random mask that does not change"
    source = "the control of Mocanu et al. 2018, arXiv:1707.04780"
    order = 20

    def __init__(
        self,
        n_data: int,
        *,
        density: float = 0.05,
        allocation: str = "erk",
        dense_stem: bool = False,
        fraction: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(
            n_data,
            density=density,
            allocation=allocation,
            dense_stem=dense_stem,
            fraction=fraction,
            **options,
        )


class SET(Static):
    """Drop the smallest weights, grow at random (sparse evolutionary training).

    The publication drops the smallest positive and the largest negative weights, half each, once an epoch; here the
    smallest magnitudes, every ``every`` steps.

    Args:
        last: fraction of the entries that the last move replaces: as many as the first.
    """

    name = "set"
    label = "SET"
    summary = "Drops small weights and grows at random"
    source = "Mocanu et al. 2018, arXiv:1707.04780"
    order = 21

    def __init__(
        self,
        n_data: int,
        *,
        every: int = 100,
        fraction: float = 0.3,
        last: float = 0.3,
        growth: str | GrowthFactory = "random",
        **options: Any,
    ) -> None:
        super().__init__(n_data, every=every, fraction=fraction, last=last, growth=growth, **options)


class RigL(Static):
    """Drop the smallest weights, grow where the dense gradient of one batch is largest."""

    name = "rigl"
    label = "RigL"
    summary = "Drops small weights and grows by the gradient"
    source = "Evci et al. 2020, arXiv:1911.11134"
    order = 22

    def __init__(
        self,
        n_data: int,
        *,
        every: int = 100,
        fraction: float = 0.3,
        growth_batches: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(n_data, every=every, fraction=fraction, growth_batches=growth_batches, **options)


class ITOP(Static):
    """Explore as many entries as possible: rare, large moves until the end (in-time over-parameterisation)."""

    name = "itop"
    label = "ITOP"
    summary = "Rare, large moves until the end, which reach most weights"
    source = "Liu et al. 2021, arXiv:2102.02887"
    order = 23

    def __init__(
        self,
        n_data: int,
        *,
        every: int = 1500,
        fraction: float = 0.5,
        last: float = 0.005,
        end: float = 1.0,
        growth: str | GrowthFactory = "random",
        growth_batches: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(
            n_data, every=every, fraction=fraction, last=last, end=end, growth=growth,
            growth_batches=growth_batches, **options,
        )  # fmt: skip
