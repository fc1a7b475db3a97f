"""How far to believe that rows of a weight differ in what an error of theirs costs, by what rounding does to answers.

A curvature is measured to second order, on a few examples, and by row. Where a network is far from a parabola, as
in attention behind its softmax, rows come out as free that are not, and rounding zeroes them. So tensors are really
rounded, with G, its root and its mean in turn, and the answers are compared with those before: taken is the least D
+ μ · bits, if it is less by more than chance. Tensors of one role, such as the queries of all layers, are rounded
together and share their exponent. μ is λ times measured over predicted loss: a curvature that is too large
everywhere by one factor, as at a high softmax temperature, buys bits at another price than λ.
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
from szilard.compression.scaled import Way

EXPONENTS = (0.5, 0.0)
BATCHES = 2  # of inputs, on which answers are compared
TOGETHER = 8  # examples whose divergence is one observation
ALIKE = 1.5  # of the arithmetic over the geometric mean of G: below, α changes little
MARGIN = 0.04  # of D + μ · bits, that must be saved at least
SURE = 2.0  # standard errors of the difference, likewise

Round = Callable[[str, Tensor, Way], Quantised]


@dataclass(frozen=True, eq=False)
class _Made:
    """What rounding some tensors costs: nats for each few examples, bits, and the nats that were predicted."""

    lost: Tensor
    bits: float
    predicted: float


@torch.no_grad()
def exponents(
    draft: Draft,
    setting: Setting,
    known: Mapping[str, Curvature],
    wanted: Sequence[str],
    ways: Mapping[str, Way],
    rounded: Round,
) -> dict[str, Way]:
    """Ways with the exponents that the answers ask for. The draft is left as it was.

    Args:
        known: curvatures by the tensor's name.
        wanted: names of those that are to be rounded, among them.
        ways: of each of them, with the exponent 1.
        rounded: a tensor ``[rows, cols]`` to integers in a way.
    """
    found = dict(ways)
    inputs = list(setting.inputs[:BATCHES])
    shared = _roles(draft, wanted)
    roles = [names for names in shared if any(_differ(known[name]) for name in names)]
    if not inputs or not roles:
        return found
    look = _Look(draft, setting, known, rounded, inputs)
    first = [look.at({name: ways[name] for name in names}) for names in roles]
    measured, told = sum(float(one.lost.mean()) for one in first), sum(one.predicted for one in first)
    price = setting.lam * (measured / told if told > 0 and measured > 0 and math.isfinite(measured) else 1.0)
    for names, base in zip(roles, first, strict=True):
        best = base
        for exponent in EXPONENTS:
            tried = {name: replace(ways[name], exponent=exponent) for name in names}
            made = look.at(tried)
            if _better(made, base, price) and (best is base or _total(made, price) < _total(best, price)):
                best = made
                found.update(tried)
    return found


def _total(made: _Made, price: float) -> float:
    return float(made.lost.mean()) + price * made.bits


def _better(made: _Made, base: _Made, price: float) -> bool:
    """Whether it costs less by more than the margin, and by more than chance."""
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

    def at(self, ways: Mapping[str, Way]) -> _Made:
        """What it costs that these tensors alone are rounded."""
        kept, bits, predicted = {}, 0.0, 0.0
        draft, setting, lost = self.draft, self.setting, []
        try:
            for name, way in ways.items():
                tensor = draft.tensor(name)
                kept[name] = tensor.clone()
                matrix = tensor.cpu().reshape(len(tensor), -1)
                made = self.rounded(name, matrix, way)
                bits += scaled.rate(made.levels) + scaled.side(made.row) + scaled.side(made.col)
                predicted += scaled.predicted(matrix, made, self.known[name])
                tensor.copy_(made.dense(tensor))
            for x, wanted in zip(self.inputs, self.wanted, strict=True):
                answer = setting.forward(draft.network, x)
                told = setting.likelihood or guessed(wanted)
                for i in range(0, len(wanted), TOGETHER):
                    part = slice(i, i + TOGETHER)
                    lost.append(float(told.divergence(wanted[part], answer[part])))
        finally:
            for name, tensor in kept.items():
                draft.tensor(name).copy_(tensor)
        return _Made(torch.tensor(lost, dtype=torch.float64), bits, predicted)


def _differ(curvature: Curvature) -> bool:
    g = curvature.outputs.double()
    g = g.clamp_min(scaled.LEAST * float(g.mean()))
    return len(g) > 1 and float(g.mean()) > ALIKE * float(g.log().mean().exp())


def _roles(draft: Draft, names: Sequence[str]) -> list[list[str]]:
    """Names that are the same but for numbers, of tensors of one shape."""
    found: dict[tuple[str, torch.Size], list[str]] = {}
    for name in names:
        role = re.sub(r"\d+", "#", name), draft.tensor(name).shape
        found.setdefault(role, []).append(name)
    return list(found.values())
