"""Whether supports of a size can be believed: the same solver on synthetic codes of the same matrix.

A support that explains b need not be the right one: in a dictionary of spikes and steps, four entries are often
explained by six others. How often that happens depends on the matrix, the solver, the size of the support and the
noise. So codes are drawn, measured and solved, and the share of wrong ones among those that would be accepted as a
support of this size decides. The codes are of several kinds, because one that is easy would hide one that is not:
Gaussian, ±1 and 1; as many entries as the support has or fewer, or up to three times as many; at random places, at
neighbouring ones, or at columns that are alike. At most 1 % may be wrong, among at least 100, and about 2 % of each
kind.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from szilard.errors import SzilardWarning
from szilard.solve.operators import Matrix, Operator

DRAWS = 600  # codes for each size and noise
_WRONG = 0.01  # largest share of wrong ones among those that are accepted
_WRONG_OF_KIND = 0.02  # the same of one kind, rounded: one in 25 is allowed
_LEAST = 100  # accepted ones
_MOST_CODES = 8192  # columns of a matrix that are compared
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
    kinds: Tensor  #: a number for each kind of codes ``[D]``


def draw(operator: Operator, case: Case) -> Trial:
    """Codes of all kinds, and their measurements.

    Args:
        operator: A, in float64 or its own dtype.
        case: what to draw.
    """
    m, n = operator.shape
    generator = torch.Generator().manual_seed(case.entries)
    most = min(3 * case.entries + 3, n)
    number = torch.arange(DRAWS)
    # A wrong support is often larger or smaller than the right one.
    more = number % 4 == 3
    entries = torch.full((DRAWS,), case.entries)
    entries[number % 4 == 1] = torch.randint(
        1, case.entries + 1, (int((number % 4 == 1).sum()),), generator=generator
    )
    entries[more] = torch.randint(
        min(case.entries + 1, most), most + 1, (int(more.sum()),), generator=generator
    )
    values = torch.randn(DRAWS, most, generator=generator, dtype=torch.float64)
    size_kind = number // 4 % 3
    values[size_kind == 1] = values[size_kind == 1].sign()
    values[size_kind == 2] = 1.0
    place_kind = number // 12 % 4  # two of four at random
    values[torch.arange(most) >= entries[:, None]] = 0.0
    places = _places(operator, entries, most, place_kind, generator)
    codes = torch.zeros(DRAWS, n, dtype=torch.float64).scatter_(1, places, values).to(operator.device)
    clean = operator.product(codes.to(operator.dtype)).double()
    size = clean.norm(dim=1, keepdim=True).clamp_min(1e-300)
    aim = case.size or 1.0
    codes, clean = codes * aim / size, clean * aim / size
    kinds = (more + 2 * size_kind + 6 * place_kind.clamp_min(1)).to(operator.device)
    if not case.share:
        return Trial(codes, clean, None, kinds)
    root = math.sqrt(m) + 2
    deviation = case.share * aim / math.sqrt(max(root**2 - case.share**2 * m, 1.0))
    noise = torch.randn(DRAWS, m, generator=generator, dtype=torch.float64).to(operator.device)
    spread = torch.full((DRAWS,), deviation, dtype=torch.float64)
    return Trial(codes, clean + deviation * noise, spread, kinds)


def _places(
    operator: Operator, entries: Tensor, most: int, kind: Tensor, generator: torch.Generator
) -> Tensor:
    """Different places of each code ``[D, most]``; the first ``entries`` of them are used."""
    n = operator.shape[1]
    places = torch.rand(len(entries), n, generator=generator).argsort(1)[:, :most]
    for row in (kind == 2).nonzero()[:, 0].tolist():  # neighbours by number, in any order
        shuffled = torch.randperm(int(entries[row]), generator=generator)
        after = torch.arange(len(shuffled), most)
        places[row] = (places[row, 0] + torch.cat([shuffled, after])) % n
    alike = (kind == 3).nonzero()[:, 0].tolist()
    if not isinstance(operator, Matrix) or n > _MOST_CODES:
        return places
    norms = operator.A.norm(dim=0)
    for row in alike:  # half of the columns that are most like the first one
        first = places[row, 0]
        likeness = (operator.A.t() @ operator.A[:, first] / norms).abs().cpu()
        likeness[first] = torch.inf
        nearest = likeness.argsort(descending=True)[: min(2 * most, n)]
        order = torch.randperm(int(entries[row]) * 2 - 1, generator=generator) + 1
        used = nearest[torch.cat([torch.zeros(1, dtype=torch.long), order[order < len(nearest)]])]
        rest = nearest[~torch.isin(nearest, used)]
        places[row] = torch.cat([used, rest])[:most]
    return places


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
            warnings.simplefilter("ignore", SzilardWarning)  # they are about synthetic codes
            found, accepted = self.accepted(trial, case)
        off = (found - trial.codes).norm(dim=1) / trial.codes.norm(dim=1)
        wrong = off > (self.error if case.share else self.exact)
        accepted = accepted & ((found != 0).sum(1) <= case.entries)
        if int(accepted.sum()) < _LEAST:
            return False
        kinds = trial.kinds[accepted]
        count, bad = torch.bincount(kinds), torch.bincount(kinds, weights=wrong[accepted].double())
        few = bad.sum() <= _WRONG * count.sum()
        return bool(few & (bad <= _WRONG_OF_KIND * count + 0.5).all())


def _sizes() -> Iterator[int]:
    """1, 2, 3, 4, 6, ..., each about 1.3 times the one before."""
    now = 1
    while True:
        yield now
        now = max(now + 1, round(now * _GROWTH))
