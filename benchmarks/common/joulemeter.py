"""Measured energy of the processor, if the operating system allows reading its counters."""

from __future__ import annotations

from pathlib import Path

RAPL = Path("/sys/class/powercap")


class JouleMeter:
    """Energy of all processor packages between two readings of Linux's RAPL counters, joules.

    The counters measure the whole machine: they give the energy of one program only if nothing else runs. Many virtual
    machines have no counters, and most systems restrict them to root; then :attr:`readable` is False.
    """

    def __init__(self, folder: Path = RAPL) -> None:
        self._zones: list[tuple[Path, int]] = []  # (counter, microjoules at which it wraps around)
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
        """Joules since the last call, or since the meter was created."""
        now = self._read()
        used = sum(
            (new - old) % (top + 1) for new, old, (_, top) in zip(now, self._last, self._zones, strict=True)
        )
        self._last = now
        return used * 1e-6

    def _read(self) -> list[int]:
        return [int(counter.read_text()) for counter, _ in self._zones]
