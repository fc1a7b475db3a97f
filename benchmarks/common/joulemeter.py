"""Joules that the processor says it has used, where the operating system lets one read them."""

from __future__ import annotations

from pathlib import Path

RAPL = Path("/sys/class/powercap")


class JouleMeter:
    """Joules of all processor packages between two readings, by the RAPL counters of Linux.

    The counters are of the whole machine: they say what one program costs only while nothing else runs. Many
    virtual machines have none, and most systems show them to root alone; then :attr:`readable` is False.
    """

    def __init__(self, folder: Path = RAPL) -> None:
        self._zones: list[tuple[Path, int]] = []  # (counter, microjoules at which it starts again)
        for zone in sorted(folder.glob("*rapl:?")):
            counter = zone / "energy_uj"
            try:
                self._zones.append((counter, int((zone / "max_energy_range_uj").read_text())))
                int(counter.read_text())
            except (OSError, ValueError):
                self._zones = []
                break
        self._last = self._read()

    @property
    def readable(self) -> bool:
        return bool(self._zones)

    def since(self) -> float:
        """Joules since the last call (or since the meter was made)."""
        now = self._read()
        used = sum(
            (new - old) % (top + 1) for new, old, (_, top) in zip(now, self._last, self._zones, strict=True)
        )
        self._last = now
        return used * 1e-6

    def _read(self) -> list[int]:
        return [int(counter.read_text()) for counter, _ in self._zones]
