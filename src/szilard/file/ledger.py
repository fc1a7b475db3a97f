"""How many bytes each part of a file takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from szilard.file import dtypes
from szilard.file.fields import Fields
from szilard.file.pieces import Shape
from szilard.file.sections import TRAILER, Parts

ORIGINAL = (
    "original"  #: metadata key of the bytes and the type of the original tensors, if they had other types
)
_TIMES = 1.1  # from this ratio on it is printed as a factor, below in per cent
_MOST_WIDER = 4  # an original can be at most this many times larger than the file's tensors


@dataclass(frozen=True)
class Entry:
    """The bits of one record.

    Attributes:
        kind: raw, constant, alias, levels, random, support, or the name of a kind of a later version.
        dtype: empty for an alias and a support.
        elements: entries of the tensor, or of the mask.
        bits: of its values; None if they are in a stream that was not decoded. In a stream they are -log2 of the
            model's probability, which the coder reaches within a few bytes for the whole file.
        side_bits: of its row and column scales and its table of frequencies, as ``bits``.
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
    """How many bytes each part of a file takes.

    Attributes:
        parts: exact bytes of the parts of the file; they sum to its size.
        entries: one for each record.
        output_bytes: of the decoded tensors; an upper bound with coded supports or products.
        tensor_bytes: the exact bytes, tied tensors once; None if a support is in a stream that was not decoded.
        content: hash of the tensors, hexadecimal.
        meta: the file's metadata.
    """

    parts: dict[str, int]
    entries: tuple[Entry, ...]
    output_bytes: int
    content: str
    meta: dict[str, Any]
    tensor_bytes: int | None = None

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return sum(self.parts.values())

    @property
    def values(self) -> int:
        """Number of entries of all tensors except aliases and supports."""
        return sum(entry.elements for entry in self.entries if entry.kind not in ("alias", "support"))

    @property
    def original_bytes(self) -> int | None:
        """Bytes of the original tensors in their own types, with which the file is compared.

        Those of the decoded tensors, unless the metadata give others; None if they are not known.
        """
        stated = self._original
        return self.tensor_bytes if stated is None else stated[0]

    @property
    def original_type(self) -> str:
        """The type of most of the original's bytes if the tensors in the file have another; else empty."""
        stated = self._original
        return "" if stated is None else stated[1]

    @property
    def ratio(self) -> float | None:
        """Bytes of the original's tensors divided by bytes of the file; None if they are not known, or there are
        none."""
        return self.original_bytes / self.size if self.original_bytes else None

    @property
    def _original(self) -> tuple[int, str] | None:
        stated = self.meta.get(ORIGINAL)
        if not isinstance(stated, Mapping):
            return None
        count, kind = stated.get("bytes"), stated.get("type")
        if type(count) is not int or not 0 < count <= _MOST_WIDER * max(
            self.output_bytes, self.tensor_bytes or 0
        ):
            return None
        return (count, kind) if isinstance(kind, str) and kind in dtypes.BY_NAME else None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "bytes": self.size, "parts": self.parts, "values": self.values, "output_bytes": self.output_bytes,
            "tensor_bytes": self.tensor_bytes, "original_bytes": self.original_bytes, "ratio": self.ratio,
            "content": self.content, "meta": self.meta, "entries": [asdict(entry) for entry in self.entries],
        }  # fmt: skip


def of_entry(name: str, fields: Fields, bits: float | None, side_bits: float | None = None) -> Entry:
    """A line of the ledger."""
    if not fields.symbols and not fields.static_symbols:
        bits, side_bits = 8.0 * fields.raw_bytes, 0.0
    dtype = "" if fields.dtype is None else fields.dtype.name
    return Entry(name, fields.word, dtype, fields.shape, fields.elements, bits, side_bits)


def smaller(ratio: float) -> str:
    """A ratio of bytes as text, as every command prints it: in per cent if it is close to 1.

    Args:
        ratio: bytes of the original's tensors divided by bytes of the file, :attr:`Ledger.ratio`.
    """
    word, times = ("smaller", ratio) if ratio >= 1 else ("larger", 1 / ratio)
    if times >= _TIMES:
        return f"{times:.1f} times {word}"
    share = round(100 * (1 - 1 / times if ratio >= 1 else times - 1))
    return f"{share} % {word}" if share else "no smaller"


def tensor_bytes(
    table: Sequence[Fields], products: Collection[int], made: int, held: Sequence[int] | None
) -> int | None:
    """Bytes of the tensors of a file's records.

    Args:
        products: numbers of the records that are first factors of products.
        made: bytes of the products.
        held: bytes of the tensors of each record whose size is not in the tables; None if they were not decoded.

    Returns:
        None if it depends on a size that is not known.
    """
    factors = {number + part for number in products for part in (0, 1)}
    if held is None and not all(fields.sized for fields in table):
        return None
    others = sum(
        fields.output_bytes for number, fields in enumerate(table) if fields.sized and number not in factors
    )
    return made + sum(held or ()) + others


def of_parts(
    parts: Parts, entries: list[Entry], output_bytes: int, meta: dict[str, Any], tensors: int | None
) -> Ledger:
    """The whole ledger."""
    lengths = {
        "prefix": len(parts.prefix), "names": len(parts.names), "fields": len(parts.fields),
        "metadata": len(parts.meta),
        "adaptive": len(parts.adaptive), "static": len(parts.static), "raw": len(parts.raw), "trailer": TRAILER,
    }  # fmt: skip
    return Ledger(lengths, tuple(entries), output_bytes, parts.content.hex(), meta, tensors)
