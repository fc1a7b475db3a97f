"""How far means and variances of one pass are from those of draws, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from szilard.bayes.moments.layer_moments import Place, in_one_pass, layers, sampled
from szilard.bayes.moments.run import scaled
from szilard.bayes.moments.value import GaussianTensor, Moments
from szilard.errors import SzilardError

SMALL = (
    1e-3  # units whose deviation is below this share of the layer's root mean square are left out of ratios
)
APART = 0.2  # |ln ratio| from which a layer is named as different


@dataclass(frozen=True)
class LayerComparison:
    """One layer's output in one pass and over draws.

    Attributes:
        name: of the module; empty for the network itself.
        kind: class of the module.
        units: number of outputs, over the batch.
        mean_error: root mean square over units of (mean of one pass - mean of draws) / sd of draws. Of exact means it
            is 1 / √draws.
        sd_ratio: geometric mean over units of sd of one pass / sd of draws.
        sd_correlation: of the two sds over units; NaN if all are equal.
    """

    name: str
    kind: str
    units: int
    mean_error: float
    sd_ratio: float
    sd_correlation: float


@dataclass(frozen=True)
class Comparison:
    """What :func:`check` measured; ``print`` shows it as a table of 80 columns.

    Attributes:
        layers: one for each layer whose output is random, in the order of the forward pass; the network is the last.
        draws: number of draws.
    """

    layers: tuple[LayerComparison, ...]
    draws: int

    @property
    def output(self) -> LayerComparison:
        """The network's output."""
        return self.layers[-1]

    def parts_at(self) -> LayerComparison | None:
        """The first layer whose standard deviations differ from those of draws by more than 20 %; None: no layer."""
        return next((one for one in self.layers if abs(math.log(one.sd_ratio)) > APART), None)

    def __str__(self) -> str:
        head = f"{'layer':<30} {'kind':<16} {'mean error':>10} {'sd ratio':>9} {'sd corr.':>9}"
        lines = [head, *map(_line, self.layers)]
        first = self.parts_at()
        where = (
            "No layer's standard deviations differ by more than 20 %."
            if first is None
            else f"Standard deviations differ by more than 20 % from {_name(first, 40)} on."
        )
        notes = f"{self.draws} draws. Mean error in sds of the draws; {self.draws**-0.5:.2f} if exact."
        return "\n".join([*lines, where, notes])


def check(
    network: nn.Module,
    x: Any,
    draws: int = 100,
    seed: int = 0,
    factors: Mapping[str, float] | None = None,
) -> Comparison:
    """Compare :func:`szilard.bayes.propagate` with draws of the weights on your own inputs, layer by layer.

    Args:
        network: in eval mode; not changed, but other threads must not use it meanwhile.
        x: a batch, as the network takes it.
        draws: number of draws, at least 2; ratios have a relative error of about 1 / √(2 draws) for each unit.
        seed: of the draws.
        factors: of variances, as for ``propagate``.

    Raises:
        SzilardError: as ``propagate``; fewer than two draws; a network without a random output.
    """
    wanted = sampled(network, x, draws, seed)
    kinds = {name: type(module).__name__ for name, module in layers(network).items()}
    found: list[LayerComparison] = []

    def see(place: Place, value: GaussianTensor) -> None:
        other = wanted.get(place)
        if other is not None and bool((other.variance > 0).any()):
            shown = place.name if place.call == 0 else f"{place.name} (call {place.call + 1})"
            found.append(_compared(shown, kinds[place.name], value.moments, other))

    with ExitStack() as stack:
        if factors:
            stack.enter_context(scaled(network, factors))
        in_one_pass(network, x, see)
    if not found:
        raise SzilardError("no output of the network is random; are all its weights points?")
    return Comparison(tuple(found), draws)


def ratio(found: Tensor, wanted: Tensor) -> float:
    """Geometric mean of the ratio of two variances over units whose deviation is not negligible; NaN if none is."""
    floor = SMALL**2 * wanted.mean()
    used = (wanted > floor) & (found > floor)
    return float((found[used] / wanted[used]).log().mean().exp()) if bool(used.any()) else math.nan


def _compared(name: str, kind: str, found: Moments, wanted: Moments) -> LayerComparison:
    mean, variance, other, spread = (part.double().flatten() for part in (*found, *wanted))
    used = spread > SMALL**2 * spread.mean()
    error = (mean[used] - other[used]).square() / spread[used]
    sds = variance.sqrt() - variance.sqrt().mean(), spread.sqrt() - spread.sqrt().mean()
    sizes = float(sds[0].norm() * sds[1].norm())
    return LayerComparison(
        name, kind, mean.numel(), float(error.mean().sqrt()), math.sqrt(ratio(variance, spread)),
        float(sds[0] @ sds[1]) / sizes if sizes > 0 else math.nan,
    )  # fmt: skip


def _name(one: LayerComparison, width: int) -> str:
    name = one.name or "the output"
    return name if len(name) <= width else f"...{name[3 - width :]}"


def _line(one: LayerComparison) -> str:
    figures = f"{one.mean_error:>10.2f} {one.sd_ratio:>9.2f} {one.sd_correlation:>9.3f}"
    return f"{_name(one, 30):<30} {one.kind[:16]:<16} {figures}"
