"""Choose the exponent α of G^α for each tensor: how far to trust the differences of curvature between its rows.

A curvature is measured to second order, on a few examples, and by row. If the loss is far from quadratic, as for
attention before its softmax, rows can have far too little curvature, and rounding sets them to zero. So tensors are
rounded with G, its root and its mean in turn, and the outputs are compared with those before. The choice with the
smallest D + μ · bits is taken, if it is better by more than chance. Tensors of one role, such as the queries of all
layers, are rounded together and share their exponent. μ is λ times measured over predicted loss, because a curvature
that is too large by one factor everywhere, as at a high softmax temperature, changes the price of a bit by that factor.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from szilard.compression import scaled
from szilard.compression.draft import Draft, Quantised, Setting
from szilard.compression.hooked import Curvature
from szilard.compression.plan import guessed
from szilard.compression.scaled import Scaling

EXPONENTS = (0.5, 0.0)
BATCHES = 2  # batches of inputs on which outputs are compared
TOGETHER = 8  # examples whose mean divergence is one observation
ALIKE = 1.5  # arithmetic over geometric mean of G; below this, α has little effect
MARGIN = 0.04  # share of D + μ · bits that must be saved at least
SURE = 2.0  # standard errors of the difference that must be saved at least

Round = Callable[[str, Tensor, Scaling], Quantised]


@dataclass(frozen=True, eq=False)
class _Made:
    """The cost of rounding some tensors: nats for each few examples, bits, and predicted nats."""

    lost: Tensor
    bits: float
    predicted: float


@torch.no_grad()
def exponents(
    draft: Draft,
    setting: Setting,
    known: Mapping[str, Curvature],
    wanted: Sequence[str],
    scalings: Mapping[str, Scaling],
    rounded: Round,
) -> dict[str, Scaling]:
    """The same scalings with the exponents that give the best outputs. The draft is restored.

    Args:
        known: curvatures by the tensor's name.
        wanted: names of the tensors to be rounded; all are in ``known``.
        scalings: scaling of each of them, with exponent 1.
        rounded: rounds a tensor ``[rows, cols]`` with a scaling.
    """
    found = dict(scalings)
    inputs = list(setting.inputs[:BATCHES])
    shared = _roles(draft, wanted)
    roles = [names for names in shared if any(_differ(known[name]) for name in names)]
    if not inputs or not roles:
        return found
    look = _Look(draft, setting, known, rounded, inputs)
    first = [look.at({name: scalings[name] for name in names}) for names in roles]
    measured, predicted = sum(float(one.lost.mean()) for one in first), sum(one.predicted for one in first)
    usable = predicted > 0 and measured > 0 and math.isfinite(measured)
    price = setting.lam * (measured / predicted if usable else 1.0)
    for names, base in zip(roles, first, strict=True):
        best = base
        for exponent in EXPONENTS:
            tried = {name: replace(scalings[name], exponent=exponent) for name in names}
            made = look.at(tried)
            if _better(made, base, price) and (best is base or _total(made, price) < _total(best, price)):
                best = made
                found.update(tried)
    return found


def _total(made: _Made, price: float) -> float:
    return float(made.lost.mean()) + price * made.bits


def _better(made: _Made, base: _Made, price: float) -> bool:
    """Whether the cost is lower by more than the margin, and by more than chance."""
    saved = base.lost - made.lost + price * (base.bits - made.bits)
    error = float(saved.std()) / len(saved) ** 0.5 if len(saved) > 1 else 0.0
    return float(saved.mean()) > max(SURE * error, MARGIN * _total(base, price))


class _Look:
    def __init__(
        self,
        draft: Draft,
        setting: Setting,
        known: Mapping[str, Curvature],
        rounded: Round,
        inputs: Sequence[Any],
    ) -> None:
        self.draft, self.setting, self.known, self.rounded, self.inputs = (
            draft,
            setting,
            known,
            rounded,
            inputs,
        )
        self.wanted = [setting.forward(draft.network, x) for x in inputs]

    def at(self, scalings: Mapping[str, Scaling]) -> _Made:
        """The cost if only these tensors are rounded."""
        kept, bits, predicted = {}, 0.0, 0.0
        draft, setting, lost = self.draft, self.setting, []
        try:
            for name, scaling in scalings.items():
                tensor = draft.tensor(name)
                kept[name] = tensor.clone()
                matrix = tensor.cpu().reshape(len(tensor), -1)
                made = self.rounded(name, matrix, scaling)
                bits += scaled.rate(made.levels) + scaled.side(made.row) + scaled.side(made.col)
                predicted += scaled.predicted(matrix, made, self.known[name])
                tensor.copy_(made.dense(tensor))
            for x, wanted in zip(self.inputs, self.wanted, strict=True):
                output = setting.forward(draft.network, x)
                likelihood = setting.likelihood or guessed(wanted)
                for i in range(0, len(wanted), TOGETHER):
                    part = slice(i, i + TOGETHER)
                    lost.append(float(likelihood.divergence(wanted[part], output[part])))
        finally:
            for name, tensor in kept.items():
                draft.tensor(name).copy_(tensor)
        return _Made(torch.tensor(lost, dtype=torch.float64), bits, predicted)


def _differ(curvature: Curvature) -> bool:
    g = curvature.outputs.double()
    g = g.clamp_min(scaled.LEAST * float(g.mean()))
    return len(g) > 1 and float(g.mean()) > ALIKE * float(g.log().mean().exp())


def _roles(draft: Draft, names: Sequence[str]) -> list[list[str]]:
    """Groups of names that are equal except for numbers, of tensors of one shape."""
    found: dict[tuple[str, torch.Size], list[str]] = {}
    for name in names:
        role = re.sub(r"\d+", "#", name), draft.tensor(name).shape
        found.setdefault(role, []).append(name)
    return list(found.values())
