"""Raw deflate (RFC 1951) with a bound on what comes out."""

from __future__ import annotations

import zlib

from szilard.file.error import Broken

#: No deflate stream grows by more than this factor.
MOST_GROWTH = 1032


def compress(data: bytes, dictionary: bytes = b"") -> bytes:
    """The shorter of two encodings: zlib's own choice of codes, and the fixed ones, which suit a few bytes."""
    candidates = []
    for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED):
        preset = (dictionary,) if dictionary else ()
        coder = zlib.compressobj(9, zlib.DEFLATED, -15, 9, strategy, *preset)
        candidates.append(coder.compress(data) + coder.flush())
    return min(candidates, key=len)


def expand(data: bytes, most: int, what: str, dictionary: bytes = b"") -> bytes:
    """Undo :func:`compress`.

    Args:
        most: bytes that may come out; no more are ever made.
        what: the data's name in messages.

    Raises:
        Broken: it is no deflate stream, is not whole, has bytes after its end, or holds more than ``most``.
    """
    coder = zlib.decompressobj(-15, zdict=dictionary) if dictionary else zlib.decompressobj(-15)
    try:
        found = coder.decompress(data, most + 1)
    except zlib.error as error:
        raise Broken(f"{what} cannot be inflated") from error
    if len(found) > most:
        raise Broken(f"{what} holds more than {most} bytes")
    if not coder.eof or coder.unused_data:
        raise Broken(f"{what} is not one whole deflate stream")
    return found
