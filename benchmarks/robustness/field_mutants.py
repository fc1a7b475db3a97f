"""Structure-aware mutations of the drafts of fields: heads, lengths, sections, and streams that are coded anew.

Almost any change of the symbols is refused, because the coder must end where it began. :func:`coded_anew` therefore
does what an attacker would: it decodes with bins of its choice and writes the stream that has them.
"""

from __future__ import annotations

import contextlib
import math
import random
from dataclasses import replace

import numpy as np

from robustness.field_seeds import OUTSIDE, STEPS, Draft, plain_network, wild_network
from robustness.mutate import HUGE, NUMBERS, spoil
from szilard.codec import bins, bound_map, head, marks, opening, patches, slices, weights
from szilard.codec.features import INPUTS, LINEAR
from szilard.codec.fineness import Fineness
from szilard.codec.grid import MOST_LEVELS
from szilard.codec.lattice import FARTHEST
from szilard.codec.layout import Layout
from szilard.codec.network import MOST_BIAS, Network
from szilard.coding import Decoder, Encoder, Model
from szilard.coding.leb128 import encoded as varint
from szilard.coding.leb128 import zigzag
from szilard.errors import SzilardError

MOST = 1 << 16  #: values that the decoders allow
BOUNDS = (0.0, -1.0, np.nan, np.inf, 5e-324, 1e-310, 2.0**-1013, 1e-300, 1e-17, 1.0, 0.9999, 1e300, 1.7e308)
WEIGHTS, CONSTANTS, MARKS, SYMBOLS, PLAIN, ESCAPES, PATCHES, MAP = range(8)
LARGEST = (1 << 23) - 1


def dims(draft: Draft, rng: random.Random) -> Draft:
    """Another shape."""
    found = list(draft.dims)
    how = rng.randrange(5)
    place = rng.randrange(len(found))
    if how == 0:
        found[place] = rng.choice(NUMBERS[:20])
    elif how == 1:
        found[place] = rng.choice(HUGE)
    elif how == 2:
        found.insert(place, rng.choice((0, 1, 1, 2, 1 << 14)))
    elif how == 3:
        rng.shuffle(found)
    else:
        found = [max(1, length + rng.choice((-1, 1))) for length in found]
    return replace(draft, dims=tuple(found))


def start(draft: Draft, rng: random.Random) -> Draft:
    """Another byte of the head."""
    how = rng.randrange(8)
    if how == 0:
        return replace(draft, mode=rng.choice((0, 1, 2, 255)))
    if how == 1:
        return replace(draft, kind=rng.choice((0, 1, 2, 255)))
    if how == 2:
        return replace(draft, ndim=rng.choice((0, 1, 2, 3, 4, 5, 6, 255)))
    coded = bytearray(draft.coded)
    if len(coded) < 15:
        return replace(draft, magic=rng.choice((b"SZF0", b"SZF2", b"SZD1", b"")))
    if how == 3:
        coded[0] ^= 1 << rng.randrange(8)
    elif how == 4:
        coded[1] = rng.choice((0, 1, 2, 3, 4, 5, 6, 255))
    elif how == 5:
        coded[2] = rng.choice((63, 0o70, 0o71, 0o10, 0o01, 0o07, 0o20, rng.randrange(256)))
    elif how == 6:
        coded[3:11] = np.array([rng.choice(BOUNDS)]).astype("<f8").tobytes()
    else:
        coded[11:15] = rng.randbytes(4)
    return replace(draft, coded=bytes(coded))


def length(draft: Draft, rng: random.Random) -> Draft:
    """Another length of a section, or a varint that is not in its shortest form."""
    place = rng.randrange(max(len(draft.parts), 1))
    value = rng.choice(
        (varint(rng.choice(NUMBERS)), varint(rng.choice(HUGE)), b"\x80\x00", b"\x80" * 9, b"\xff" * 10)
    )
    return replace(draft, lengths={place: value})


def section(draft: Draft, rng: random.Random) -> Draft:
    """Changed, cut, exchanged or random bytes of a section."""
    parts = list(draft.parts) or [b""]
    place = rng.randrange(len(parts))
    how = rng.randrange(6)
    if how == 0 and parts[place]:
        parts[place] = spoil(parts[place], rng)
    elif how == 1:
        parts[place] = parts[place][: rng.randrange(len(parts[place]) + 1)]
    elif how == 2:
        other = rng.randrange(len(parts))
        parts[place], parts[other] = parts[other], parts[place]
    elif how == 3:
        parts[place] = rng.randbytes(rng.choice((0, 1, 8, 9, 60)))
    elif how == 4:
        parts[place] += rng.choice((bytes(1), bytes(200), rng.randbytes(4)))
    else:
        parts = parts[:-1] if rng.random() < 0.5 else [*parts, b""]
    return replace(draft, parts=tuple(parts))


def set_part(draft: Draft, place: int, data: bytes) -> Draft:
    """The draft with another section."""
    parts = [*draft.parts, *[b""] * (place + 1 - len(draft.parts))]
    parts[place] = data
    return replace(draft, parts=tuple(parts))


def chosen(draft: Draft, rng: random.Random) -> Draft:
    """A section that is valid by itself, with numbers at their limits."""
    if draft.mode != head.CODED or len(draft.parts) < 7:
        return section(draft, rng)
    count, r = math.prod(draft.dims), np.random.default_rng(rng.getrandbits(32))
    how = rng.choice((WEIGHTS, WEIGHTS, CONSTANTS, ESCAPES, PATCHES, MAP))
    if how == WEIGHTS:
        data = draft.parts[WEIGHTS]
        if rng.random() < 0.4 and len(data) > 6:
            place = rng.randrange(6)
            data = (
                data[:place]
                + bytes([rng.choice((0, 1, 12, 14, 20, 21, 31, 32, 64, 130, 192, 255))])
                + data[place + 1 :]
            )
        elif draft.coded[1] <= MOST_LEVELS:
            levels = 1 if draft.coded[0] & head.RASTER else draft.coded[1]
            data = network(rng).encode(levels)
        return set_part(draft, WEIGHTS, data)
    if how == CONSTANTS:
        return set_part(draft, CONSTANTS, rng.randbytes(rng.choice((0, 4, 8, 16, 40, 1000, 1004, 2008))))
    if how == ESCAPES:
        most = bins.MOST_BIN
        values = [rng.choice((most, -most, 2 * most, 1 << 44, 1 << 62, 1 << 63, 64, -64)) for _ in range(200)]
        return set_part(draft, ESCAPES, b"".join(map(zigzag, values)))
    if how == PATCHES:
        number = min(3000, rng.choice((1, 2, count, count + 1)))
        gaps = b"".join(varint(rng.choice((0, 0, 1, 1 << 28))) for _ in range(number))
        return set_part(draft, PATCHES, varint(number) + gaps + rng.randbytes(4 * number * (1 + draft.kind)))
    coder = Encoder()
    coder.levels(r.integers(-3, 4, min(max(count, 1), 4000)).astype(np.int32))
    changed = set_part(draft, MAP, bytes([rng.randrange(6), rng.randrange(4)]) + coder.finish())
    return replace(changed, coded=bytes([draft.coded[0] | head.MAPPED]) + draft.coded[1:])


def with_base(draft: Draft, rng: random.Random) -> Draft:
    """The draft with waves of our choice."""
    if draft.mode != head.CODED or len(draft.coded) < 15:
        return section(draft, rng)
    shape = draft.dims if len(draft.dims) > 1 else (1, *draft.dims)
    counts = [rng.choice((0, 1, 2, length, min(length, 256), length + 1)) for length in shape]
    counts = (
        [min(count, 1 << 12) for count in counts]
        if rng.random() < 0.3
        else [max(1, min(n, 3)) for n in counts]
    )
    kept, slices = min(counts[-1] * counts[-2], 3000), math.prod(counts[:-2])
    size, r = rng.choice((1, 1000, LARGEST)), np.random.default_rng(rng.getrandbits(32))
    coder = Encoder()
    coder.levels(r.integers(-size, size + 1, (kept, min(slices, 20))).astype(np.int32), Model.HISTORY)
    step, offset = rng.choice((0, 1, 100, 1 << 30, 1 << 31)), rng.choice((0, 1 << 20, -(1 << 45), 1 << 46))
    data = varint(step) + zigzag(offset) + b"".join(map(varint, (*counts, kept))) + coder.finish()
    flags = draft.coded[0]
    parts = draft.parts[: 7 + bool(flags & head.MAPPED)]
    return replace(draft, parts=(*parts, data), coded=bytes([flags | head.BASE]) + draft.coded[1:])


def network(rng: random.Random) -> weights.Weights:
    """Weights at their limits, with steps to which they are rounded."""
    how = rng.randrange(4)
    if how == 0:
        return weights.Weights(wild_network(rng.randrange(100)), STEPS)
    if how == 3:
        return weights.unchanged(rng.randrange(3))
    if how == 1:
        bias = rng.choice((-1, 1)) * rng.choice((0, 1 << 18, LARGEST))
        return weights.Weights(plain_network(rng.randrange(3), bias), STEPS)
    sign, steps = rng.choice((-1, 1)), {**STEPS, "biases": 20}
    most = Network(
        np.full((MOST_LEVELS, 3, LINEAR), sign * 32767), np.full((32, INPUTS), 8191), np.full((32, 32), 8191),
        np.full((2, 32), sign * 8191), np.full(66, MOST_BIAS), rng.randrange(3),
    )  # fmt: skip
    return weights.Weights(weights.rounded(most, steps), steps)


def coded_anew(draft: Draft, rng: random.Random) -> Draft:
    """The draft with marks, first bins and bins of our choice, which its head and weights can hold."""
    try:
        found = opening._parts(replace(draft, lengths={}).write(), MOST)
        if found.bound is None:
            return draft
        layout, flags = found.layout, found.flags
        used = opening._network_of(found.parts["weights"], flags, layout, OUTSIDE)
        r = np.random.default_rng(rng.getrandbits(32))
        side, height = Encoder(), layout.count * layout.slice_shape[0]
        if flags & head.MARKED:
            share, kinds = r.choice((0.05, 0.9)), 2 + len(found.parts["constants"]) // found.dtype.itemsize
            levels = np.where(r.random((height, layout.slice_shape[1])) < share, r.integers(0, kinds), 0)
            side.levels(levels.astype(np.int32))
        size = rng.choice((0, 3, 1000, LARGEST))
        side.levels(r.integers(-size, size + 1, (layout.count, layout.coarse().size)).astype(np.int32))
        sections = {**found.parts, "marks": side.finish()}
        given = Decoder(sections["marks"])
        marked = marks.read(given, found.parts["constants"], bool(flags & head.MARKED), layout, found.dtype)
        first = np.cumsum(given.levels(layout.count, layout.coarse().size).astype(np.int64), axis=1)
        fine = None
        if flags & head.MAPPED:
            fine = Fineness(bound_map.decode(found.parts["map"], layout), bound_map.steps())
    except SzilardError:
        return draft
    written, scales = bins_of(layout, used, first, marked.coded.reshape(layout.count, -1), fine, rng)
    coded = zip(("symbols", "plain bits", "escapes"), bins.encode(written, scales, used.shape), strict=True)
    sections |= dict(coded)
    sections["patches"] = patches.varint(0)
    return replace(draft, parts=tuple(sections.values()), lengths={})


def bins_of(
    layout: Layout, used: Network, first: np.ndarray, coded: np.ndarray, fine: Fineness | None,
    rng: random.Random,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Bins and scales of a lattice of our choice, up to where a decoder refuses it."""
    r = np.random.default_rng(rng.getrandbits(32))
    size = rng.choice((0, 1, 50, 1 << 20, FARTHEST >> 12, bins.MOST_BIN // 8, bins.MOST_BIN))
    rare = rng.choice((0.01, 1))
    values, scales = [np.empty(0, np.int64)], [np.empty(0, np.int64)]

    def choose(scale: np.ndarray) -> np.ndarray:
        here = np.where(r.random(len(scale)) < rare, r.integers(-size, size + 1, len(scale)), 0)
        values.append(here)
        scales.append(scale)
        return here

    with contextlib.suppress(SzilardError):
        slices.decode(layout, used, first.reshape(layout.count, *layout.coarse().shape), choose, coded, fine)
    return np.concatenate(values), np.concatenate(scales)


CHANGES = (dims, start, length, section, chosen, with_base)
