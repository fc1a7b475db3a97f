"""What is wrong with a ``.szd`` file."""

from __future__ import annotations

from szilard.errors import SzilardError, printable

__all__ = ["Broken", "SzilardFileError", "printable"]


class SzilardFileError(SzilardError):
    """A ``.szd`` file that cannot be read or written; the message is one sentence, as of every :class:`SzilardError`.

    Whatever the bytes of a file are, opening it gives all of its tensors or this error.
    """


class Broken(Exception):
    """Bytes that are not what the format says.

    The message is a clause about the file ("it is cut short"), and after a semicolon what to do, if that is anything
    but to get it again. :func:`szilard.file.reader.told` makes it a :class:`SzilardFileError`.
    """
