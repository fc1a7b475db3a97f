"""A clock that tests move, so that no test of measured times depends on the machine."""

from __future__ import annotations

from collections.abc import Callable


class FakeClock:
    """Wall-clock and processor seconds that pass only where :meth:`spend` says so."""

    def __init__(self) -> None:
        self.now = self.used = 0.0

    def wall(self) -> float:
        return self.now

    def processor(self) -> float:
        return self.used

    def spend(self, seconds: float, share: float = 1.0) -> None:
        """Let time pass, of which the process has a processor for a share."""
        self.now += seconds
        self.used += share * seconds

    def taking(self, *seconds: float, share: float = 1.0) -> Callable[[], None]:
        """A function whose calls last so long, in turn, again and again."""
        calls = 0

        def run() -> None:
            nonlocal calls
            self.spend(seconds[calls % len(seconds)], share)
            calls += 1

        return run


class Ticking(FakeClock):
    """A clock on which every reading of the wall clock takes the same time, whatever else happens.

    Args:
        seconds: that pass with each reading.
        share: of them that the process has a processor.
    """

    def __init__(self, seconds: float = 1e-3, share: float = 1.0) -> None:
        super().__init__()
        self.seconds, self.share = seconds, share

    def wall(self) -> float:
        self.spend(self.seconds, self.share)
        return self.now
