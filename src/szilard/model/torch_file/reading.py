"""Read a file of ``torch.save`` of any version."""

from __future__ import annotations

from typing import Any

from szilard.model.torch_file import archive, legacy
from szilard.model.torch_file.containers import check_tree
from szilard.model.torch_file.refusals import Damaged, Objects

_ARCHIVE = b"PK\x03\x04"


def is_archive(data: bytes) -> bool:
    """Whether the bytes begin like files of current versions of torch."""
    return data.startswith(_ARCHIVE)


def loads(data: bytes, *, lenient: bool = False) -> Any:
    """Read what ``torch.save`` wrote onto the CPU; tensors that shared storage share it again.

    Args:
        lenient: return objects other than dense tensors and plain containers as
            :class:`~szilard.model.torch_file.Unread` instead of refusing the file.

    Raises:
        Damaged: truncated, changed, or not of torch.
        Objects: it has more than dense tensors and plain containers.
    """
    try:
        found = archive.read(data, lenient) if is_archive(data) else legacy.read(data, lenient)
        check_tree(found, len(data))
    except (Damaged, Objects):
        raise
    except Exception as error:  # anything that an invalid pickle causes; no code from the file was run
        raise Damaged(f"{type(error).__name__}: {error}") from error
    return found
