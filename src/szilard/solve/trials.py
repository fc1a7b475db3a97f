"""Whether supports of a size can be believed: the same solver on synthetic codes of the same matrix.

A support that explains b need not be the right one: in a dictionary of spikes and steps, four entries are often
explained by six others. How often that happens depends on the matrix, the solver, the size of the support and the
noise. So codes of at most that size are drawn, measured and solved, and the share of wrong ones among those that would
be accepted decides. It must be at most 1 %, among at least 30: with none wrong in 150, the share that all codes have is
below 2 % with 95 % confidence.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from szilard.errors import SzilardWarning
from szilard.solve.operators import Operator

DRAWS = 150  # codes for each size and noise
_WRONG = 0.01  # largest share of wrong ones among those that are accepted
_LEAST = 30  # accepted ones
_GROWTH = 1.3  # of sizes that are tried
_DECIBELS = 2.0  # between ratios of noise that are tried
_OCTAVES = 2.0  # between sizes of b that are tried, where they matter


class Case(NamedTuple):
    """What is tried: codes of at most so many entries, under so much noise."""

    route: str  # which part of the guard solves
    entries: int
    share: float  # largest residual that the noise explains, of ‖b‖; 0: rounding alone
    size: float  # ‖b‖; 0 if it does not matter


class Trial(NamedTuple):
    """Synthetic codes and their measurements."""

    codes: Tensor  #: ``[D, n]``, float64
    b: Tensor  #: ``[D, m]``, float64
    deviation: Tensor | None  #: of the noise of a measurement ``[D]``


def draw(operator: Operator, case: Case) -> Trial:
    """Codes with random supports: half of the case's size, a quarter smaller, a quarter up to twice as large.

    A third each are Gaussian, ±1, and 1.

    Args:
        operator: A, in float64 or its own dtype.
        case: what to draw.
    """
    m, n = operator.shape
    generator = torch.Generator().manual_seed(case.entries)
    most = min(2 * case.entries + 2, n)
    # Codes of fewer and of more entries, too: a wrong support is often larger or smaller than the right one.
    entries = torch.full((DRAWS,), case.entries)
    entries[::4] = torch.randint(1, case.entries + 1, entries[::4].shape, generator=generator)
    entries[2::4] = torch.randint(case.entries, most + 1, entries[2::4].shape, generator=generator)
    places = torch.rand(DRAWS, n, generator=generator).argsort(1)[:, :most]
    values = torch.randn(DRAWS, most, generator=generator, dtype=torch.float64)
    third = DRAWS // 3
    values[third : 2 * third] = values[third : 2 * third].sign()
    values[2 * third :] = 1.0
    values[torch.arange(most) >= entries[:, None]] = 0.0
    codes = torch.zeros(DRAWS, n, dtype=torch.float64).scatter_(1, places, values).to(operator.device)
    clean = operator.product(codes.to(operator.dtype)).double()
    size = clean.norm(dim=1, keepdim=True).clamp_min(1e-300)
    aim = case.size or 1.0
    codes, clean = codes * aim / size, clean * aim / size
    if not case.share:
        return Trial(codes, clean, None)
    root = math.sqrt(m) + 2
    deviation = case.share * aim / math.sqrt(max(root**2 - case.share**2 * m, 1.0))
    noise = torch.randn(DRAWS, m, generator=generator, dtype=torch.float64).to(operator.device)
    return Trial(codes, clean + deviation * noise, torch.full((DRAWS,), deviation, dtype=torch.float64))


class Trials:
    """Remembers which cases can be believed.

    Args:
        operator: A, as it was given.
        accepted: solves measurements as the guard does, ``(trial, case) -> (codes [D, n], which are accepted [D])``.
        error: the largest ‖x - x*‖ / ‖x*‖ of an accepted code, under noise.
        exact: the same without noise.
        sizes_matter: whether the solver's answer depends on the size of b.
    """

    def __init__(
        self,
        operator: Operator,
        accepted: Callable[[Trial, Case], tuple[Tensor, Tensor]],
        error: float,
        exact: float,
        sizes_matter: bool,
    ) -> None:
        self.operator, self.accepted = operator, accepted
        self.error, self.exact, self.sizes_matter = error, exact, sizes_matter
        self._known: dict[Case, bool] = {}

    def believed(self, route: str, entries: Tensor, share: Tensor, size: Tensor) -> Tensor:
        """For each sample ``[B]``, whether its case can be believed.

        Args:
            route: which part of the guard solved it.
            entries: of its support.
            share: the largest residual that its noise explains, of ‖b‖; 0 without noise.
            size: ‖b‖.
        """
        cases = [
            self._case(route, *one)
            for one in zip(entries.tolist(), share.tolist(), size.tolist(), strict=True)
        ]
        for case in sorted(set(cases) - self._known.keys()):
            self._known[case] = case.entries == 0 or self._tried(case)
        return torch.tensor([self._known[case] for case in cases], dtype=torch.bool, device=entries.device)

    def _case(self, route: str, entries: float, share: float, size: float) -> Case:
        rounded = next(one for one in _sizes() if one >= entries) if entries else 0
        noise = 10 ** (math.ceil(20 * math.log10(share) / _DECIBELS) * _DECIBELS / 20) if share else 0.0
        octave = _OCTAVES * round(math.log2(size) / _OCTAVES) if self.sizes_matter and size else None
        return Case(
            route,
            min(rounded, self.operator.shape[1]),
            min(noise, 1.0),
            0.0 if octave is None else 2.0**octave,
        )

    def _tried(self, case: Case) -> bool:
        trial = draw(self.operator, case)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", SzilardWarning
            )  # that says what these codes are, such as their size
            found, accepted = self.accepted(trial, case)
        off = (found - trial.codes).norm(dim=1) / trial.codes.norm(dim=1)
        wrong = off > (self.error if case.share else self.exact)
        accepted = accepted & ((found != 0).sum(1) <= case.entries)
        count = int(accepted.sum())
        return count >= _LEAST and int((wrong & accepted).sum()) <= _WRONG * count


def _sizes() -> Iterator[int]:
    """1, 2, 3, 4, 6, ..., each about 1.3 times the one before."""
    now = 1
    for _ in itertools.count():
        yield now
        now = max(now + 1, round(now * _GROWTH))
