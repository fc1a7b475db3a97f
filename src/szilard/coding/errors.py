"""What is wrong with coded bytes."""

from szilard.errors import SzilardError


class CodingError(SzilardError):
    """Bytes that no encoder wrote, or integers that none can write."""
