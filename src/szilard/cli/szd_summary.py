"""The size of a ``.szd`` file in one line, and whether a file is one."""

from __future__ import annotations

from pathlib import Path

from szilard.file import Ledger
from szilard.file.ledger import smaller
from szilard.file.sections import MAGIC


def one_line(found: Ledger) -> str:
    """Bytes, values, bits for each value, and the ratio to the original tensors."""
    bits = f", {8 * found.size / found.values:.3g} bits each" if found.values else ""
    original = f", which were {found.original_type}" if found.original_type else ""
    ratio = f"; {smaller(found.ratio)} than its tensors{original}" if found.ratio else ""
    return f"{found.size:,} bytes for {found.values:,} values{bits}{ratio}"


def is_szd(path: Path) -> bool:
    """Whether a file begins as a .szd file, read without torch; True if it cannot be read, so that its reader fails."""
    try:
        if not path.is_file():
            return True
        with path.open("rb") as opened:
            return opened.read(len(MAGIC)) == MAGIC
    except (OSError, ValueError):
        return True
