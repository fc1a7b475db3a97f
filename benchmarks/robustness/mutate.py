"""Structure-aware mutations of .szd files: bytes (shallow), and records, tables, metadata and streams (deep).

:func:`shallow` changes bytes of the whole file and may correct the file hash. :func:`deep` changes a draft, mostly
adapts its streams and raw bytes, and uses the content hash of the reference reader: such a file is valid unless it
breaks another rule of docs/format.md. Both depend only on a ``random.Random``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import szd_reference as reference

from robustness import codec, odd_json
from robustness.codec import ALIAS, LEVELS, Draft, Record

NUMBERS = [
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    9,
    15,
    16,
    17,
    20,
    63,
    64,
    65,
    127,
    128,
    255,
    256,
    257,
    1000,
    4095,
    4096,
    4097,
]
HUGE = [2**k + d for k in (13, 16, 20, 21, 23, 24, 30, 31, 32, 33, 40, 41, 62, 63, 64) for d in (-1, 0, 1)]
STEPS = [-2017, -2016, -2015, -1905, -1904, -1903, -400, -64, 0, 1, 500, 2046, 2047, 2048]
NAMES = [b"", b"a", b"a.crow", b"a.col", b"w.support", b"\x1b[2J", b"a\nb", b"\xff", b"\xed\xa0\x80",
b"x" * 1024, b"x" * 1025,
         b"p.coefficients", b"p.basis", "\u202e\u0391".encode(), b"0.weight", b"module.a"]  # fmt: skip


def shallow(data: bytes, rng: random.Random) -> bytes:
    """Flips, cuts and insertions; the file hash is corrected with probability 3/4."""
    resealed = rng.random() < 0.75
    spoilt = spoil(data[:-8] if resealed else data, rng)
    return codec.seal(spoilt) if resealed else spoilt


def spoil(data: bytes, rng: random.Random) -> bytes:
    """One to four changes of bytes."""
    spoilt = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(spoilt) + 1)
        how = rng.randrange(7)
        if how == 0 and at < len(spoilt):
            spoilt[at] ^= 1 << rng.randrange(8)
        elif how == 1 and at < len(spoilt):
            spoilt[at] = rng.choice([0, 1, 127, 128, 255])
        elif how == 2:
            del spoilt[at : at + rng.randint(1, 20)]
        elif how == 3:
            spoilt[at:at] = rng.randbytes(rng.randint(1, 20))
        elif how == 4 and rng.random() < 0.3:
            del spoilt[at:]
        elif how == 5:
            spoilt += rng.choice([rng.randbytes(rng.randint(1, 20)), bytes(rng.randint(1, 20))])
        elif how == 6 and data:
            start = rng.randrange(len(data))
            piece = data[start : start + rng.randint(1, 30)]
            spoilt[at : at + len(piece)] = piece
    return bytes(spoilt)


def deep(seeds: Sequence[Draft], rng: random.Random) -> bytes:
    """A file with changed content and correct hashes, if they can be computed."""
    draft = rng.choice(seeds).copy()
    for _ in range(rng.choices((1, 2, 3, 4), (6, 3, 2, 1))[0]):
        rng.choices(CHANGES, WEIGHTS)[0](draft, seeds, rng)
    style = rng.random()
    if style < 0.7:
        codec.fit_raw(draft, rng)
        codec.fit_streams(draft, rng, keep=rng.random() < 0.7)
        if rng.random() < 0.1:
            draft.adaptive = spoil(draft.adaptive, rng)
    data = odd_tables(draft, rng) if style > 0.93 else codec.write(draft)
    return codec.rehashed(data)


def odd_tables(draft: Draft, rng: random.Random) -> bytes:
    """Change bytes of one of the tables before compression."""
    if rng.random() < 0.4:
        return codec.write(draft, names=spoil(codec.names_table(draft), rng))
    return codec.write(draft, fields=spoil(codec.fields_table(draft), rng))


# -- changes of a draft ---------------------------------------------------------------------------------


def pick(draft: Draft, rng: random.Random) -> Record:
    if not draft.records:
        draft.records.append(Record(b"new", codec.CONSTANT, 8, [2], entry=b"\7"))
    return rng.choice(draft.records)


def number(before: int, rng: random.Random) -> int:
    """A boundary value, or a value close to the present one."""
    how = rng.random()
    if how < 0.4:
        return max(0, before + rng.choice([-2, -1, 1, 2]))
    return rng.choice(NUMBERS) if how < 0.85 else rng.choice(HUGE)


def change_number(draft: Draft, seeds: Sequence[Draft], rng: random.Random) -> None:
    record = pick(draft, rng)
    what = rng.choice(["alphabet", "target", "seed", "size", "bits", "coding"])
    setattr(record, what, rng.randrange(17) if what == "coding" else number(getattr(record, what), rng))


def change_signed(draft: Draft, seeds: Sequence[Draft], rng: random.Random) -> None:
    record = pick(draft, rng)
    what = rng.choice(["offset", "row_offset", "column_offset"])
    setattr(record, what, rng.choice([-1, 1]) * number(abs(getattr(record, what)), rng))


def change_step(draft: Draft, seeds: Sequence[Draft], rng: random.Random) -> None:
    record = pick(draft, rng)
    record.step = rng.choice([*STEPS, record.step + rng.randint(-40, 40), rng.randint(-2016, 2047)])


def change_shape(draft: Draft, seeds: Sequence[Draft], rng: random.Random) -> None:
    record = pick(draft, rng)
    how = rng.randrange(6)
    if how == 0 and record.shape:
        record.shape.pop(rng.randrange(len(record.shape)))
    elif how == 1:
        record.shape.insert(rng.randint(0, len(record.shape)), rng.choice([0, 1, 1, 2, 3]))
    elif how == 2:
        rng.shuffle(record.shape)
    elif how == 3:
        record.shape = rng.choice([[], [0], [0, 2**33], [2**32, 0], [2**31 - 1, 0], [0, 2**31], [0] * 8,
        [1] * 9, [2**33],
                                    [2**20, 0, 2**13], [46341, 46341], [1, 2**20], [2**20, 1]])  # fmt: skip
    elif record.shape:
        place = rng.randrange(len(record.shape))
        record.shape[place] = number(record.shape[place], rng)


def change_kind(draft: Draft, seeds: Sequence[Draft], rng: random.Random) -> None:
    record = pick(draft, rng)
    if rng.random() < 0.5:
        record.kind = rng.randrange(8)
        if record.kind in (codec.ALIAS, codec.MASK, codec.FULL_MASK) and rng.random() < 0.9:
            record.code = 0
    else:
        record.code = rng.choice([0, 1, 2, 3, rng.randrange(32)])
    if record.kind == codec.CONSTANT:
        size = codec.SIZES[record.code] if record.code < len(codec.SIZES) else 4
        record.entry = (record.entry + bytes(16))[:size]


def change_name(draft: Draft, seeds: Sequence[Draft], rng: random.Random) -> None:
    record, other = pick(draft, rng), pick(draft, rng)
    record.name = rng.choice(
        [*NAMES, other.name, other.name + b".crow", other.name + b".col", other.name + b".basis",
         other.name + b".coefficients", record.name.removesuffix(b".basis"), record.name[:-1]]
    )  # fmt: skip


def change_entries(draft: Draft, seeds: Sequence[Draft], rng: random.Random) -> None:
    record = pick(draft, rng)
    record.raw = spoil(record.raw, rng) if record.raw else record.raw
    if record.entry:
        record.entry = rng.choice(
            [bytes(len(record.entry)), b"\xff" * len(record.entry), rng.randbytes(len(record.entry))]
        )
    if record.kind == codec.PLANES:
        record.raw = rng.choice(
            [record.raw, codec.deflate(rng.randbytes(40)), codec.deflate(bytes(4096)), b"", b"\3\0"]
        )


def move_records(draft: Draft, seeds: Sequence[Draft], rng: random.Random) -> None:
    how, records = rng.randrange(5), draft.records
    if how == 0:
        rng.shuffle(records)
    elif how == 1 and records:
        records.pop(rng.randrange(len(records)))
    elif how == 2 and records:
        twin = Draft([rng.choice(records)]).copy().records[0]
        twin.name = rng.choice([twin.name, twin.name + b"2"])
        records.insert(rng.randint(0, len(records)), twin)
    elif how == 3:
        other = rng.choice(seeds).copy()
        records[rng.randint(0, len(records)) :] = rng.sample(
            other.records, rng.randint(0, len(other.records))
        )
    else:
        records.insert(
            rng.randint(0, len(records)),
            Record(b"tie%d" % rng.randrange(9), ALIAS, target=rng.randrange(6)),
        )


def make_product(draft: Draft, seeds: Sequence[Draft], rng: random.Random) -> None:
    """Factors of a product with matching or nearly matching shapes, and their entry in the metadata."""
    name = rng.choice([b"p", b"0.weight", b"q.crow"])
    groups, size, per = rng.choice([0, 1, 2, 3]), rng.choice([0, 1, 2, 3, 4, 64]), rng.choice([0, 1, 2])
    pieces = groups * per
    shape = rng.choice([[groups, per * size], [pieces, size], [pieces * size], [groups, per, size], [],
    [pieces, size, 1],
                         [0, 2**62], [0], [2**33, 0], [groups * per * size or 1]])  # fmt: skip
    code, at = rng.randrange(4), rng.randint(0, len(draft.records))
    basis = rng.choice(
        [[groups, size, size]] * 6 + [[], [size, size], [groups, size], [groups, size, size, 1], [0, 0, 0]]
    )
    draft.records[at:at] = [
        Record(name + b".coefficients", LEVELS, code, [pieces, size]),
        Record(name + b".basis", LEVELS, code, basis, rng.choice([-64, -200, 0, -1904, -1905, 2047])),
    ]
    draft.flags = rng.choice([draft.flags, draft.flags | 16, draft.flags & 239])
    meta = draft.meta if isinstance(draft.meta, dict) else {}
    products = meta.get(reference.PRODUCTS)
    draft.meta = {
        **meta,
        reference.PRODUCTS: {**(products if isinstance(products, dict) else {}), name.decode(): shape},
    }


def change_meta(draft: Draft, seeds: Sequence[Draft], rng: random.Random) -> None:
    meta = (
        draft.meta
        if isinstance(draft.meta, dict)
        else {"a": [1, {"b": "c"}], reference.PRODUCTS: {"p": [4, 3]}}
    )
    how = rng.random()
    if how < 0.7:
        shapes = [[0, 3], [3, 0], [12], [1] * 9, [2**62, 0], [4, 3, 1]]
        draft.meta = odd_json.text(odd_json.change(meta, rng, shapes), rng)
    elif how < 0.85:
        products = (
            dict(meta.get(reference.PRODUCTS, {})) if isinstance(meta.get(reference.PRODUCTS), dict) else {}
        )
        name = pick(draft, rng).name.decode(errors="replace")
        products[name.removesuffix(".basis").removesuffix(".coefficients")] = rng.choice(
            [[4, 3], [], [12], [0, 2**62]]
        )
        draft.meta = {**meta, reference.PRODUCTS: products}
    else:
        draft.meta = rng.choice([b"", b"{}", b"[]", b"null", b'{"a":' * 500, b"\xff", b'{"a":1,"a":2}', b" {} ", None,
                                  b'{"a":"' + b"x" * (2**20 - 8) + b'"}',
                                  b'{"a":"' + b"x" * (2**20 - 7) + b'"}'])  # fmt: skip


def change_streams(draft: Draft, seeds: Sequence[Draft], rng: random.Random) -> None:
    which = rng.choice(["adaptive", "adaptive", "static"])
    data = getattr(draft, which)
    fresh = rng.choice(
        [spoil(data, rng), rng.randbytes(rng.randint(0, 60)), bytes(rng.randint(0, 60)), b"\xff" * 40]
    )
    setattr(draft, which, fresh)


def change_prefix(draft: Draft, seeds: Sequence[Draft], rng: random.Random) -> None:
    if rng.random() < 0.6:
        draft.flags = rng.choice([1, 2, 4, 8, 15, 16, 16, 17, 31, 32, 48, 128, 255])
    else:
        draft.count = number(len(draft.records), rng)


Change = Callable[[Draft, Sequence[Draft], random.Random], None]
CHANGES: list[Change] = [
    change_number, change_signed, change_step, change_shape, change_kind, change_name, change_entries, move_records,
    make_product, change_meta, change_streams, change_prefix,
]  # fmt: skip
WEIGHTS = [4, 2, 2, 6, 3, 2, 2, 4, 3, 3, 3, 1]
