"""The cost that a user's own function measures, such as the seconds on their device."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from szilard.compression.policies.costs.policy_rows import policy_rows
from szilard.compression.policies.policy import LayerPolicy, Policy
from szilard.compression.policies.space import Space
from szilard.errors import SzilardError, first_line

if TYPE_CHECKING:
    from szilard.compression.channels.units import ChannelUnits

NETWORKS = 6  # that are measured before the search
_LEAST = 1e-3  # of the original's cost; smaller ones weigh no more in the fit


class OwnCost:
    """A number of the small network from a function of the user.

    Between measurements a policy is predicted as a + b · multiply-adds + c · weights + d · activations, no coefficient
    negative, fitted on what was measured: a few networks of random sizes before the search, and candidates. That is an
    order only: what counts is measured.

    Args:
        function: of a network in eval mode; returns a finite number that is not negative, in any unit.
        network: the original, in eval mode.
        units: its channels.

    Attributes:
        reference: of the original network.
        notes: what a reader of the figures has to know.

    Raises:
        SzilardError: the function fails, or returns something else, for the original network.
    """

    unit = "units"

    def __init__(
        self, function: Callable[[nn.Module], float], network: nn.Module, units: ChannelUnits
    ) -> None:
        self._function, self._units = function, units
        original = Policy(tuple(LayerPolicy(name, shape.outputs) for name, shape in units.layers.items()))
        self.reference = self.measured(network, original)
        if not self.reference:
            raise SzilardError(
                "the function of the cost returns 0 for the original network, so that no share of it can be a target"
            )
        self._network = network
        self._work0 = self._work(original)
        self._points = [(np.ones(len(self._work0)), self.reference)]
        self._errors: list[float] = []
        self._fit: np.ndarray | None = None
        self.notes = [
            "between measurements the cost of your function is predicted from multiply-adds, weights and activations"
        ]

    @property
    def error_percent(self) -> float | None:
        """Mean error of the predictions of candidates before they were measured, percent; None: none was."""
        return 100 * float(np.mean(np.abs(self._errors))) if self._errors else None

    def prepare(self, space: Space, progress: Callable[[int, int], None] | None = None) -> None:
        """Measure the smallest network and a few of random sizes; which channels they keep does not matter.

        Args:
            space: of policies.
            progress: is told how many are measured, and of how many.
        """
        draw = random.Random(0)
        sizes = [len(decision.options) for decision in space.decisions]
        choices = [space.smallest, *(tuple(map(draw.randrange, sizes)) for _ in range(NETWORKS - 1))]
        for number, choice in enumerate(choices):
            policy = space.policy(choice)
            kept = {name: range(count) for name, count in self._units.kept_of(policy).items()}
            value = self.measured(self._units.smaller(self._network, kept), policy)
            self._points.append((self._share(policy), value))
            self._fit = None
            if progress is not None:
                progress(number + 1, len(choices))

    def predicted(self, policy: Policy) -> float:
        """What the function is expected to return for a policy's network."""
        from scipy.optimize import nnls

        work, values = np.stack([point[0] for point in self._points]), np.array([y for _, y in self._points])
        if len(values) == 1:
            return float(values[0] * self._share(policy)[0])
        if self._fit is None:
            scale = 1 / np.maximum(values, _LEAST * values[0])  # of relative errors
            matrix = np.hstack([np.ones((len(work), 1)), work]) * values[0]
            self._fit, _ = nnls(matrix * scale[:, None], values * scale)
        return float(values[0] * (self._fit[0] + self._fit[1:] @ self._share(policy)))

    def measured(self, network: nn.Module, policy: Policy) -> float:
        """What the function returns for the network that a policy made.

        Raises:
            SzilardError: it fails, or returns no finite number that is at least 0.
        """
        try:
            found = self._function(network)
        except SzilardError:
            raise
        except Exception as error:
            raise SzilardError(
                f"the function of the cost fails on a network ({first_line(error)}); it is given an nn.Module in eval "
                "mode and returns a number"
            ) from error
        try:
            value = float(found)
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value) or value < 0:
            raise SzilardError(
                f"the function of the cost returned {found!r} for a network; it must return a finite "
                "number that is not negative"
            )
        return value

    def observe(self, policy: Policy, value: float) -> None:
        """Correct later predictions by what was measured of a policy's network."""
        if value:
            self._errors.append(self.predicted(policy) / value - 1)
        self._points.append((self._share(policy), value))
        self._fit = None

    def _share(self, policy: Policy) -> np.ndarray:
        """Multiply-adds, weights and activations as shares of the original's."""
        return self._work(policy) / np.maximum(self._work0, 1)

    def _work(self, policy: Policy) -> np.ndarray:
        rows = policy_rows(self._units, policy).values()
        every = [(row.macs, row.weights, row.outputs * prod(row.positions_out)) for row in rows]
        return np.array(every, dtype=float).reshape(-1, 3).sum(0)
