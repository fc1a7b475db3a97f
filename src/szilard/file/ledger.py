"""Where the bytes of a file are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from szilard.file.fields import Fields, Kind
from szilard.file.layout import TRAILER, Parts
from szilard.file.records import Shape

WORDS = {
    Kind.RAW: "raw", Kind.PLANES: "raw", Kind.CONSTANT: "constant", Kind.ALIAS: "alias", Kind.LEVELS: "levels",
    Kind.MASK: "support", Kind.FULL_MASK: "support",
    Kind.RANDOM: "random",
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """What one record costs.

    Attributes:
        kind: raw, constant, alias, levels, random or support.
        dtype: empty for an alias and a support.
        elements: entries of the tensor, or of the mask.
        bits: of its values; None where they lie in a stream that was not decoded. In a stream they are -log2 of the
            model's probability, which the coder meets within a few bytes for the whole file.
        side_bits: of its row and column scales and its table of frequencies, likewise.
    """

    name: str
    kind: str
    dtype: str
    shape: Shape
    elements: int
    bits: float | None
    side_bits: float | None


@dataclass(frozen=True)
class Ledger:
    """Where the bytes of a file are.

    Attributes:
        parts: exact bytes of what the file delimits; they sum to the size of the file.
        entries: one for each record.
        output_bytes: of the tensors that come out; with a coded support, at most.
        content: hash of the tensors, hexadecimal.
        meta: the file's metadata.
    """

    parts: dict[str, int]
    entries: tuple[Entry, ...]
    output_bytes: int
    content: str
    meta: dict[str, Any]

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return sum(self.parts.values())

    @property
    def values(self) -> int:
        """Entries of all tensors but aliases and supports."""
        return sum(entry.elements for entry in self.entries if entry.kind not in ("alias", "support"))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "bytes": self.size, "parts": self.parts, "values": self.values, "output_bytes": self.output_bytes,
            "content": self.content, "meta": self.meta, "entries": [asdict(entry) for entry in self.entries],
        }  # fmt: skip


def of_entry(name: str, fields: Fields, bits: float | None, side_bits: float | None = None) -> Entry:
    """A line of the ledger."""
    if not fields.symbols and not fields.static_symbols:
        bits, side_bits = 8.0 * fields.raw_bytes, 0.0
    dtype = "" if fields.dtype is None else fields.dtype.name
    elements = 0 if fields.kind == Kind.ALIAS else fields.elements
    return Entry(name, WORDS[fields.kind], dtype, fields.shape, elements, bits, side_bits)


def of_parts(parts: Parts, entries: list[Entry], output_bytes: int, meta: dict[str, Any]) -> Ledger:
    """The whole ledger."""
    lengths = {
        "prefix": len(parts.prefix), "names": len(parts.names), "fields": len(parts.fields),
        "metadata": len(parts.meta),
        "adaptive": len(parts.adaptive), "static": len(parts.static), "raw": len(parts.raw), "trailer": TRAILER,
    }  # fmt: skip
    return Ledger(lengths, tuple(entries), output_bytes, parts.content.hex(), meta)
