"""Sparse momentum: growth by momentum, which also divides the entries among the layers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from torch import nn

from szilard.errors import SzilardError
from szilard.methods import checks
from szilard.methods.dynamic import Static
from szilard.methods.resizing import Resizing
from szilard.topology.moves import GrowthFactory, Optimizers
from szilard.topology.redistribution import Redistribution


class SNFS(Resizing, Static):
    """Drop the smallest weights, grow where the momentum is largest, in the layers where it is largest on average.

    Layers get new entries in proportion to the mean magnitude of their momentum (sparse networks from scratch). The
    publication moves entries once an epoch and starts at the same density in all layers.

    Args:
        growth: ``"momentum"``, by which the entries are divided, too.
    """

    name = "snfs"
    label = "SNFS"
    summary = "Grows by momentum, layer budgets follow it, too"
    source = "Dettmers and Zettlemoyer 2019, arXiv:1907.04840"
    order = 28
    unused_options: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {**Static.unused_options, "growth": "momentum", "growth_batches": 8}
    )

    def __init__(
        self,
        n_data: int,
        *,
        every: int = 100,
        fraction: float = 0.5,
        end: float = 1.0,
        growth: str | GrowthFactory = "momentum",
        **options: Any,
    ) -> None:
        if growth != "momentum":
            raise SzilardError(
                f"SNFS grows and divides entries by the momentum, not by {growth!r}; leave growth out"
            )
        super().__init__(n_data, every=every, fraction=fraction, end=end, growth=growth, **options)
        checks.single_weights(self.label, self.pattern)
        self.moves = Redistribution(self.moves.schedule, "magnitude", growth=growth, seed=self.seed)

    def _convert(self, network: nn.Module) -> nn.Module:
        return self._on_supports(network, self.density)

    def after_step(self, network: nn.Module, optimizer: Optimizers = None) -> None:
        self._count_entries(network)
        super().after_step(network, optimizer)
