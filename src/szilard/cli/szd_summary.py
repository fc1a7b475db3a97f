"""The size of a ``.szd`` file in one line."""

from __future__ import annotations

from szilard.file import Ledger
from szilard.file.ledger import smaller


def one_line(found: Ledger) -> str:
    """Bytes, values, bits for each value, and the ratio to the original tensors."""
    bits = f", {8 * found.size / found.values:.3g} bits each" if found.values else ""
    original = f", which were {found.original_type}" if found.original_type else ""
    ratio = f"; {smaller(found.ratio)} than its tensors{original}" if found.ratio else ""
    return f"{found.size:,} bytes for {found.values:,} values{bits}{ratio}"
