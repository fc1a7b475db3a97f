"""Warnings of a job as sentences to print below its table."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from szilard.cli.option_names import for_command_line
from szilard.errors import SzilardWarning, first_line, printable

if TYPE_CHECKING:
    from szilard.fields import Written


@contextlib.contextmanager
def collected() -> Iterator[list[str]]:
    """A list that holds the warnings of the block once it has ended, each once.

    Those of other libraries are kept if they are for users, not for programmers. After an error they are dropped.
    """
    found: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        yield found
    for one in caught:
        if issubclass(one.category, SzilardWarning):
            sentence = for_command_line(str(one.message))
        elif issubclass(one.category, UserWarning | RuntimeWarning) and not _of_programmers(one.category):
            text = first_line(one.message) if isinstance(one.message, Warning) else str(one.message)
            sentence = printable(text, 300)
        else:
            continue
        if sentence not in found:
            found.append(sentence)


def of_exact_chunks(written: Written) -> list[str]:
    """A sentence for each variable of which chunks are stored as they are."""
    return [
        f"{one.exact_chunks:,} of {one.n_chunks:,} chunks of {printable(one.name)} are stored exactly, because coding "
        "them would not be smaller"
        for one in written.variables.values()
        if one.exact_chunks
    ]


def _of_programmers(category: type[Warning]) -> bool:
    """Whether a warning is about a library's next version, or about how a file that is exact anyway stores numbers."""
    return category.__name__ in ("SerializationWarning", "ZarrUserWarning", "ZarrRuntimeWarning")
