"""The phases of a run of several chains, one after another: descent, steps that are forgotten, and draws."""

from __future__ import annotations

from dataclasses import dataclass

from szilard.errors import SzilardError


@dataclass(frozen=True)
class Place:
    """Where a step of a run is.

    Attributes:
        chain: number of the chain.
        descends: whether the chain still descends to a mode; afterwards it samples.
        done: fraction of the descent, or of the sampling, that has passed before the step.
    """

    chain: int
    descends: bool
    done: float


@dataclass(frozen=True)
class Chains:
    """Chains of equal length that share the steps of a run.

    Args:
        chains: number of chains.
        draws: of each chain, at equal distances over its last steps.
        descent: fraction of a chain in which it descends to a mode.
        burn: fraction of the steps after the descent whose positions are not draws.

    Raises:
        SzilardError: an argument out of its range.
    """

    chains: int = 4
    draws: int = 8
    descent: float = 0.3
    burn: float = 0.3

    def __post_init__(self) -> None:
        for name in ("chains", "draws"):
            if getattr(self, name) < 1:
                raise SzilardError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("descent", "burn"):
            if not 0 <= getattr(self, name) < 1:
                raise SzilardError(f"{name} is a fraction and must be in [0, 1), not {getattr(self, name):g}")

    @property
    def count(self) -> int:
        """Draws of all chains."""
        return self.chains * self.draws

    def check(self, total: int) -> None:
        """Raise unless every draw of every chain has a step of its own.

        Raises:
            SzilardError: too few steps.
        """
        kept = [step for chain in range(self.chains) for step in self._kept(chain, total)]
        starts = [self.bounds(chain, total)[1] for chain in range(self.chains)]
        late = all(first > start for first, start in zip(kept[:: self.draws], starts, strict=True))
        if len(set(kept)) < self.count or not late:
            raise SzilardError(
                f"{total} steps are too few for {self.draws} draws of each of {self.chains} chains, which descend for "
                f"{self.descent:g} of their steps and forget {self.burn:g} of the rest; train for more epochs, or ask "
                "for fewer draws or chains"
            )

    def bounds(self, chain: int, total: int) -> tuple[int, int, int, int]:
        """Steps at which a chain starts, samples, has forgotten its start, and ends."""
        start, end = (round(number * total / self.chains) for number in (chain, chain + 1))
        samples = start + round(self.descent * (end - start))
        return start, samples, samples + round(self.burn * (end - samples)), end

    def place(self, step: int, total: int) -> Place:
        """Where the step is that follows after ``step`` steps; after the last one, the end of the last chain."""
        chain = next(
            (number for number in range(self.chains) if step < self.bounds(number, total)[3]), self.chains - 1
        )
        start, samples, _, end = self.bounds(chain, total)
        if step < samples:
            return Place(chain, True, (step - start) / (samples - start))
        return Place(chain, False, min(1.0, (step - samples) / max(1, end - samples)))

    def starts(self, step: int, total: int) -> int | None:
        """The chain that starts after ``step`` steps; None if none does, or the first."""
        return next((n for n in range(1, self.chains) if self.bounds(n, total)[0] == step), None)

    def keeps(self, step: int, total: int) -> bool:
        """Whether the position after ``step`` steps is a draw."""
        return any(step in self._kept(chain, total) for chain in range(self.chains))

    def _kept(self, chain: int, total: int) -> list[int]:
        _, _, first, end = self.bounds(chain, total)
        return [first + round((number + 1) * (end - first) / self.draws) for number in range(self.draws)]


@dataclass(frozen=True)
class Cycles(Chains):
    """Chains whose sampling is cycles: each explores, and then its draws are taken close together.

    Args:
        cycles: of each chain; the draws are divided among them.
        explore: fraction of a cycle before its draws.
    """

    cycles: int = 4
    explore: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.cycles <= self.draws or self.draws % self.cycles:
            raise SzilardError(
                f"{self.draws} draws of a chain cannot be divided among {self.cycles} cycles; choose a number that "
                "divides them"
            )
        if not 0 <= self.explore < 1:
            raise SzilardError(f"explore is a fraction and must be in [0, 1), not {self.explore:g}")

    def within(self, done: float) -> float:
        """The fraction of a cycle that has passed after a fraction of the sampling."""
        return done * self.cycles % 1.0

    def _kept(self, chain: int, total: int) -> list[int]:
        _, samples, _, end = self.bounds(chain, total)
        each, length = self.draws // self.cycles, (end - samples) / self.cycles
        return [
            samples + round(length * (cycle + self.explore + (1 - self.explore) * (number + 1) / each))
            for cycle in range(self.cycles)
            for number in range(each)
        ]
