"""What a write gave: bytes, bounds and times by variable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class WrittenVariable:
    """A variable that was written with a bound.

    Attributes:
        name: of the variable.
        raw_bytes: of its values in memory.
        bytes: on disk, its ``zarr.json`` with the weights included.
        stated: the bound as it was given, such as ``range:0.001``.
        bound: what it came to, with units, such as ``0.031 K``.
        chunks: shape of a chunk.
        n_chunks: number of chunks.
        new_chunks: of these, the chunks that this call wrote; the others are of the session that it continued.
        exact_chunks: of ``n_chunks``, those stored as they are, because coding them would not be smaller.
        periodic: whether its last axis goes around.
        seconds: of this call for this variable, fit included.
        cpu_seconds: processor time of the same.
    """

    name: str
    raw_bytes: int
    bytes: int
    stated: str
    bound: str
    chunks: tuple[int, ...]
    n_chunks: int
    new_chunks: int
    exact_chunks: int
    periodic: bool
    seconds: float
    cpu_seconds: float

    @property
    def ratio(self) -> float:
        """Bytes in memory for each byte on disk."""
        return self.raw_bytes / max(self.bytes, 1)


@dataclass(frozen=True)
class Written:
    """A store that was written.

    Attributes:
        path: its folder.
        variables: those with a bound, by name.
        exact: names of all other variables and coordinates, which are stored without loss.
        bytes: of the whole store on disk.
        raw_bytes: of all variables and coordinates in memory.
    """

    path: Path
    variables: dict[str, WrittenVariable]
    exact: tuple[str, ...]
    bytes: int
    raw_bytes: int

    @property
    def ratio(self) -> float:
        """Bytes in memory for each byte on disk, of the whole store."""
        return self.raw_bytes / max(self.bytes, 1)
