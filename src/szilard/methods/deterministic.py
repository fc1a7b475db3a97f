"""Point weights by maximum likelihood: the baseline, dense or sparse."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from torch import Tensor, nn

from szilard import bayes
from szilard.data import Split
from szilard.methods import checks, unused
from szilard.methods.method import Method
from szilard.methods.stored_supports import match_supports
from szilard.sparse import check_density, make_pattern
from szilard.sparse.patterns import checked_pattern
from szilard.topology.moves import POINT_GROWTHS, GrowthFactory, Moves, Optimizers
from szilard.topology.schedule import Schedule

#: Options of all methods that change nothing in this one, with their usual values.
_UNUSED = MappingProxyType({"temperature": 1.0, "lr_log_std": 1.0, "warmup": 0.0})


class Deterministic(Method):
    """Minimise the mean negative log likelihood; no cost term.

    Below density 1 the support moves as in SSVI, with |w| as the removal score (RigL; Evci et al. 2020): the sparse
    baseline.

    Args:
        density: fraction of weights that exist.
        temperature_scaling: calibrate the logits on the validation set at the end.
        pretrained: start from the network's own weights instead of fresh ones (density < 1).
        allocation: ``"uniform"``, ``"erk"`` (small layers denser, same total), ``"flops"`` (as erk, and the density is
            that of multiply-adds), or ``"global"`` (the largest pretrained weights of all layers).
        dense_stem: leave the first layer dense if it is a convolution.
        pattern: in which units weights exist: ``"unstructured"``, blocks such as ``"block32"``, ``"neuron"``, n of m
            columns such as ``"2:4"`` (which sets density and allocation by name), or ``"fan-in"``.
        growth_batches: batches over which the growth gradient is averaged.
        every: optimiser steps between two moves of the support.
        fraction: fraction of the entries that the first move replaces, decayed along a cosine. 0 is a static mask.
        end: fraction of all steps after which the support does not change.
        last: fraction of the entries that the last move replaces.
        growth: where entries grow: by the ``"gradient"``, its ``"momentum"``, or at ``"random"``; in Python also a
            function that makes your own :class:`szilard.sparse.growth.Growth`.
    """

    name = "deterministic"
    label = "deterministic"
    summary = "Maximum likelihood with point weights, dense by default"
    source = "below density 1: RigL, Evci et al. 2020, arXiv:1911.11134"
    order = 1
    baseline = True
    unused_options: ClassVar[Mapping[str, Any]] = _UNUSED

    def __init__(
        self,
        n_data: int,
        *,
        density: float = 1.0,
        temperature_scaling: bool = False,
        pretrained: bool = False,
        allocation: str = "uniform",
        dense_stem: bool = True,
        pattern: str = "unstructured",
        growth_batches: int = 8,
        every: int = 50,
        fraction: float = 0.3,
        end: float = 0.75,
        last: float = 0.0,
        growth: str | GrowthFactory = "gradient",
        **options: Any,
    ) -> None:
        super().__init__(n_data, **options)
        unused.warn("a deterministic network", options, _UNUSED, "which has no divergence and no σ")
        check_density(density)
        self.density = density
        self.temperature_scaling = temperature_scaling
        self.pretrained = pretrained
        self.allocation, self.dense_stem = allocation, dense_stem
        self.pattern = checked_pattern(pattern, density, allocation).name
        schedule = Schedule(every, fraction, end, last)
        self.moves = Moves(schedule, "magnitude", growth_batches, growth, self.seed, POINT_GROWTHS)

    @property
    def converts(self) -> bool:  # type: ignore[override]
        """Below density 1."""
        return self.density < 1

    def _convert(self, network: nn.Module) -> nn.Module:
        if self.temperature_scaling and self.target_type.in_units:
            given = {"temperature_scaling": True}
            unused.warn(
                "a regression", given, {"temperature_scaling": False}, "which has no logits to divide"
            )
        if self.density == 1:
            return network
        return self._on_supports(network, self.density)

    def _on_supports(self, network: nn.Module, density: float, *, prunes: bool = False) -> nn.Module:
        """A network of point weights on supports of this density, by the method's options.

        Args:
            prunes: whether the density falls in training.
        """
        return bayes.bayesianize(
            network,
            density,
            point=True,
            fresh=not self.pretrained,
            allocation=self.allocation,
            input_shape=self.input_shape,
            dense_stem=self.dense_stem,
            prunes=prunes,
            pattern=self.pattern,
            seed=self.seed,
            **self._which(),
        )

    def _before_forward(self, network: nn.Module) -> None:
        super()._before_forward(network)
        self.moves.listen(network, self.step, self.total_steps or 0)

    def after_step(self, network: nn.Module, optimizer: Optimizers = None) -> None:
        super().after_step(network, optimizer)
        self.moves.apply(network, optimizer, self.step, self.total_steps or 0)

    def finish(
        self, network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], valid: Split | None = None
    ) -> None:
        super().finish(network, batches, valid)
        if self.temperature_scaling and valid is not None and not self.target_type.in_units:
            self.calibrate(network, valid)

    def match_supports(self, network: nn.Module, state: dict[str, Any]) -> None:
        if self.allocation == "global":  # an outline does not know the weights
            match_supports(network, state, make_pattern(self.pattern))

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "moves": self.moves.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        checks.state(state, {"moves": None}, self.label)
        super().load_state_dict(state)
        self.moves.load_state_dict(state["moves"])
