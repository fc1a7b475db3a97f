"""What a policy costs: the interface of latency, energy, size and a user's own function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import nn

from szilard.compression.policies.policy import Policy
from szilard.compression.policies.space import Space


class Cost(Protocol):
    """A cost of a network, predicted inside a search and measured for what it keeps.

    Attributes:
        unit: of all figures: "seconds", "joules", "bytes" or "units".
    """

    unit: str

    @property
    def notes(self) -> list[str]:
        """What a reader of the figures has to know, a sentence each."""
        ...

    @property
    def reference(self) -> float:
        """Of the original network."""
        ...

    @property
    def error_percent(self) -> float | None:
        """Mean error of predictions of networks that were measured afterwards, percent; None: nothing to compare."""
        ...

    def prepare(self, space: Space, progress: Callable[[int, int], None] | None = None) -> None:
        """Measure at once what predictions of the policies of a space need.

        Args:
            space: of policies.
            progress: is told how much is measured, and of how much.
        """
        ...

    def predicted(self, policy: Policy) -> float:
        """Of the network that a policy makes, without making it."""
        ...

    def measured(self, network: nn.Module, policy: Policy) -> float:
        """Of the network that a policy made.

        Args:
            network: the small network, in eval mode.
            policy: that made it.

        Raises:
            SzilardError: it cannot be measured.
        """
        ...

    def observe(self, policy: Policy, value: float) -> None:
        """Correct later predictions by what was measured of a policy's network."""
        ...
