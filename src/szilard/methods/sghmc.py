"""Stochastic gradient Hamiltonian Monte Carlo in cycles: large steps find another mode, small ones draw from it."""

from __future__ import annotations

import math
from typing import Any

from szilard.errors import SzilardError
from szilard.methods.sampled import Sampled
from szilard.sampling.chains import Cycles

LEAST = 0.1  # of the largest step, at the end of a cycle


class SGHMC(Sampled):
    """Draws from the posterior by Langevin dynamics with momentum (Chen et al. 2014), in cycles (Zhang et al. 2020).

    In each cycle the step falls along half a cosine. Noise begins after ``quiet`` of the cycle: before, the network
    moves like one under SGD with momentum, and may leave its mode. The noise has the temperature of the posterior; the
    published code divides it by the number of examples twice, and so hardly has any.

    Args:
        friction: share of the velocity that is lost in a step.
        cycles: of each chain; they divide its draws.
        quiet: fraction of a cycle without noise.
        explore: fraction of a cycle before its draws.
        burn: not used: every cycle forgets its start.
    """

    name = "sghmc"
    label = "cyclical SGHMC"
    summary = "Draws of the posterior by noisy momentum, in cycles"
    source = "Chen et al. 2014, arXiv:1402.4102; Zhang et al. 2020, arXiv:1902.03932"
    order = 41

    def __init__(
        self,
        n_data: int,
        *,
        friction: float = 0.1,
        draws: int = 4,
        cycles: int = 2,
        quiet: float = 0.3,
        explore: float = 0.7,
        burn: float = 0.0,
        **options: Any,
    ) -> None:
        if not 0 < friction <= 1:
            raise SzilardError(f"friction is a share and must be in (0, 1], not {friction:g}")
        if not 0 <= quiet <= explore < 1:
            raise SzilardError(
                f"a cycle needs 0 <= quiet <= explore < 1, not quiet={quiet:g} and explore={explore:g}"
            )
        self.friction, self.cycles, self.quiet, self.explore = friction, cycles, quiet, explore
        self.keeps_velocity = 1 - friction
        super().__init__(n_data, draws=draws, burn=burn, **options)

    def _phases(self) -> Cycles:
        return Cycles(self.chains, self.draws, self.descent, self.burn, self.cycles, self.explore)

    def _vary(self, group: dict[str, Any], done: float) -> None:
        assert isinstance(self.phases, Cycles)
        within = self.phases.within(done)
        fall = 0.5 * (1 + math.cos(math.pi * within))
        group["step_size"] = group["largest_step"] * (LEAST + (1 - LEAST) * fall)
        group["temperature"] = 0.0 if within < self.quiet else self.temperature
