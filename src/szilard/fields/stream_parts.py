"""Bytes of the parts of a stream, read from its lengths alone."""

from __future__ import annotations

from szilard.codec import stream
from szilard.coding import CodingError

PARTS = ("head", "weights", "marks", "symbols", "plain", "escapes", "patches")


def sizes(data: bytes) -> tuple[dict[str, int], str]:
    """Bytes of each part, and the mode: ``raw`` or ``coded``.

    Raises:
        SzilardError: the stream is damaged.
    """
    known = getattr(stream, "sizes", None)
    if known is not None:
        found = dict(known(data))
        mode = found.pop("mode")
        return found, mode if isinstance(mode, str) else ("coded" if mode else "raw")
    return _sizes(data)


def _sizes(data: bytes) -> tuple[dict[str, int], str]:
    if len(data) < 12 or data[:4] != b"SZF0" or data[4] > 1:
        raise CodingError("these bytes are not a field of szilard, or of a newer version")
    at = 7
    for _ in range(data[6]):
        _, at = _varint(data, at)
    found = dict.fromkeys(PARTS, 0)
    if data[4] == 0:
        return found | {"head": at + 4, "plain": len(data) - at - 4}, "raw"
    at += 3 + 8 + 4
    for name in ("weights", "marks", "marks", "symbols", "plain", "escapes", "patches"):
        length, at = _varint(data, at)
        found[name] += length
        at += length
    if at != len(data) - 4:
        raise CodingError("the parts of the field do not fit its length; the file is damaged")
    found["head"] = len(data) - sum(found.values())
    return found, "coded"


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 56:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at
    raise CodingError("the field is cut off")
