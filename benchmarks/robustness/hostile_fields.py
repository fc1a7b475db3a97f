"""Mutated streams of fields, given to the decoder with and without the C++ kernels, which must agree on every bit.

The checksum of a stream is made valid again. That of the decoded integers is forged: the decoder computes it in a first
attempt, as an attacker's would.
"""

from __future__ import annotations

import random
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np

from robustness import mutate
from robustness.field_mutants import CHANGES, MOST, coded_anew
from robustness.field_seeds import OUTSIDE, seal, seed_files, seeds
from robustness.watch import Outcome, too_much, too_slow, watched
from szilard.codec import head, opening
from szilard.coding.cursor import Cursor
from szilard.errors import SzilardError
from szilard.kernels import native

Fault = tuple[str, str]  # key, what happened
PLAIN_SECONDS = 1e-4  # of the decoder without kernels, for each declared value
FORGED = "the decoded integers of the field do not have the checksum"


def mutant(number: int) -> bytes:
    """Input ``number``."""
    rng = random.Random(f"fields {number}")
    if rng.random() < 0.15:
        data = rng.choice(seed_files())
        return seal(mutate.spoil(data[:-4], rng)) if rng.random() < 0.9 else mutate.spoil(data, rng)
    draft = rng.choice(seeds())
    for _ in range(rng.choices((0, 1, 2, 3), (2, 6, 2, 1))[0]):
        draft = rng.choice(CHANGES)(draft, rng)
    if rng.random() < 0.5:
        draft = coded_anew(draft, rng)
    return draft.write()


@dataclass
class Tried:
    """What a stream gave.

    Attributes:
        faults: of the library.
        kind: ``"refused"``, ``"opened"``, or ``"forged"`` if it opened with a forged checksum.
        reason: why it was refused.
    """

    faults: list[Fault]
    kind: str
    reason: str = ""


def attempt(data: bytes) -> Tried:
    """Decode a stream in every way; with the checksum of its integers forged, if that is all it lacks."""
    found = compared(data)
    if found.kind == "refused" and found.reason.startswith(FORGED):
        with checksums() as seen, suppress(SzilardError):
            opened(data)
        start = check_place(data)
        again = compared(seal(data[:start] + seen[-1].to_bytes(4, "little") + data[start + 4 : -4]))
        kind = "forged" if again.kind == "opened" else "refused"
        return Tried(found.faults + again.faults, kind, again.reason)
    return found


def check(data: bytes) -> list[Fault]:
    """Faults of the library on one stream."""
    return attempt(data).faults


def compared(data: bytes) -> Tried:
    """Decode with and without kernels, and list the parts."""
    declared, values = claimed(data)
    first = watched(lambda: opened(data))
    faults = judged("decode", first, declared, 1 + declared / (64 << 20))
    if native.available():
        with plain():
            second = watched(lambda: opened(data))
        faults += judged("decode without kernels", second, declared, 1 + values * PLAIN_SECONDS)
        if not first.wrong and not second.wrong and same(first, second):
            faults.append(("wrong_values", f"with kernels {same(first, second)}"))
    listed = watched(lambda: (opening.sizes(data), opening.order(data)))
    faults += judged("sizes", listed, 0, 1.0)
    if first.refusal is None and not first.wrong and first.value.size > MOST:
        faults.append(("wrong_values", f"{first.value.size} values, more than were allowed"))
    if first.refusal is not None or first.wrong:
        return Tried(faults, "refused", first.refusal or "")
    return Tried(faults, "opened")


def opened(data: bytes) -> np.ndarray:
    """The array of a stream; any warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return opening.decode(data, OUTSIDE, most=MOST)


def same(first: Outcome, second: Outcome) -> str:
    """How the outcomes differ; "" if they do not."""
    if (first.refusal is None) != (second.refusal is None):
        return f"{first.refusal!r}, without {second.refusal!r}"
    if first.refusal is not None:
        return ""
    a, b = first.value, second.value
    return "" if (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()) else "other values"


def judged(entry: str, found: Outcome, declared: int, seconds: float) -> list[Fault]:
    """Faults of one call: exceptions, memory and time."""
    faults: list[Fault] = []
    if found.wrong:
        faults.append(("wrong_exceptions", f"{entry}: {found.wrong}"))
    if too_much(found, declared):
        faults.append(("peak_over_allowed", f"{entry}: {found.peak} bytes for {declared} declared"))
    if too_slow(found, declared) and found.seconds > seconds:
        faults.append(("slow", f"{entry}: {found.seconds:.2f} s for {declared} bytes declared"))
    return faults + [("code_run", f"{entry}: {what}") for what in found.touched]


def claimed(data: bytes) -> tuple[int, int]:
    """Bytes and values that a stream claims, 0 if more than are allowed."""
    try:
        shape, dtype, _ = head.read(Cursor(data, "the field"), MOST)
    except SzilardError:
        return 0, 0
    count = int(np.prod(shape, dtype=np.int64))
    return count * dtype.itemsize, count


def check_place(data: bytes) -> int:
    """Where the checksum of the integers is."""
    cursor = Cursor(data, "the field")
    head.read(cursor, MOST)
    return cursor.at + 11


@contextmanager
def plain() -> Iterator[None]:
    """Without the C++ kernels."""
    available = native.available
    native.available = lambda: False  # type: ignore[assignment]
    try:
        yield
    finally:
        native.available = available  # type: ignore[assignment]


@contextmanager
def checksums() -> Iterator[list[int]]:
    """Record the checksums that the decoder computes inside the block."""
    seen: list[int] = []

    class Noted:
        error = zlib.error

        @staticmethod
        def crc32(data: bytes) -> int:
            seen.append(zlib.crc32(data))
            return seen[-1]

    usual = opening.zlib
    opening.zlib = Noted  # type: ignore[assignment]
    try:
        yield seen
    finally:
        opening.zlib = usual
