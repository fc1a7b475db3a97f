"""Errors of ``.szd`` files."""

from __future__ import annotations

from szilard.errors import SzilardError, printable

__all__ = ["Broken", "SzilardFileError", "printable"]


class SzilardFileError(SzilardError):
    """A ``.szd`` file cannot be read or written; the message is one sentence, as for every :class:`SzilardError`.

    For any bytes, opening a file returns all of its tensors or raises this error.
    """


class Broken(Exception):
    """The bytes do not follow the format.

    The message is a clause about the file ("it is cut short"), and after a semicolon what to do, if that is not to get
    the file again. :func:`szilard.file.opening.as_file_error` converts it to a :class:`SzilardFileError`.
    """
