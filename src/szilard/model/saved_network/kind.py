"""Whether a file describes its network or holds weights alone."""

from __future__ import annotations

from pathlib import Path

from szilard import file
from szilard.model import checkpoint, formats, stored
from szilard.model.formats import Format
from szilard.model.stored import Stored


def is_finished(path: Path) -> bool:
    """Whether a file describes its network, in contrast to a bare state dict.

    Raises:
        SzilardError: it cannot be read.
    """
    kind = formats.of(path)
    if kind == Format.SZD:
        return "network" in file.inspect(path).meta
    if kind != Format.TORCH:
        return False
    content = checkpoint.load_plain(path, "network", lenient=True)
    return isinstance(content, dict) and "szilard" in content


def plain_state(path: Path) -> Stored:
    """The tensors in a file of weights, for :func:`load_state`."""
    return stored.read(path)
