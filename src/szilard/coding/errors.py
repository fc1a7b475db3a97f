"""The error for damaged streams and for integers that cannot be coded."""

from szilard.errors import SzilardError


class CodingError(SzilardError):
    """Bytes that no encoder has written, or integers that no encoder can write."""
