"""Structure-aware mutations of .szd files: bytes (shallow), and records, tables, metadata and streams (deep).

:func:`shallow` changes bytes of the whole file and makes the file's hash right, or not. :func:`deep` changes a draft,
mostly makes its streams and raw bytes fit again, and gives it the content's hash that the reader of the tests finds:
such a file is accepted unless a rule of docs/format.md refuses it. Both are functions of a ``random.Random`` alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import szd_reference as page

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


def shallow(data: bytes, more: random.Random) -> bytes:
    """Flips, cuts, insertions; three times in four the file's hash is made right."""
    resealed = more.random() < 0.75
    spoilt = spoil(data[:-8] if resealed else data, more)
    return codec.seal(spoilt) if resealed else spoilt


def spoil(data: bytes, more: random.Random) -> bytes:
    """One to four changes of bytes."""
    spoilt = bytearray(data)
    for _ in range(more.randint(1, 4)):
        at = more.randrange(len(spoilt) + 1)
        how = more.randrange(7)
        if how == 0 and at < len(spoilt):
            spoilt[at] ^= 1 << more.randrange(8)
        elif how == 1 and at < len(spoilt):
            spoilt[at] = more.choice([0, 1, 127, 128, 255])
        elif how == 2:
            del spoilt[at : at + more.randint(1, 20)]
        elif how == 3:
            spoilt[at:at] = more.randbytes(more.randint(1, 20))
        elif how == 4 and more.random() < 0.3:
            del spoilt[at:]
        elif how == 5:
            spoilt += more.choice([more.randbytes(more.randint(1, 20)), bytes(more.randint(1, 20))])
        elif how == 6 and data:
            start = more.randrange(len(data))
            piece = data[start : start + more.randint(1, 30)]
            spoilt[at : at + len(piece)] = piece
    return bytes(spoilt)


def deep(seeds: Sequence[Draft], more: random.Random) -> bytes:
    """A file whose content is changed and whose hashes are right, if it can have any."""
    draft = more.choice(seeds).copy()
    for _ in range(more.choices((1, 2, 3, 4), (6, 3, 2, 1))[0]):
        more.choices(CHANGES, WEIGHTS)[0](draft, seeds, more)
    style = more.random()
    if style < 0.7:
        codec.fit_raw(draft, more)
        codec.fit_streams(draft, more, keep=more.random() < 0.7)
        if more.random() < 0.1:
            draft.adaptive = spoil(draft.adaptive, more)
    data = odd_tables(draft, more) if style > 0.93 else codec.write(draft)
    return codec.rehashed(data)


def odd_tables(draft: Draft, more: random.Random) -> bytes:
    """One of the tables changed by bytes, before it is deflated."""
    if more.random() < 0.4:
        return codec.write(draft, names=spoil(codec.names_table(draft), more))
    return codec.write(draft, fields=spoil(codec.fields_table(draft), more))


# -- what changes a draft -------------------------------------------------------------------------------


def pick(draft: Draft, more: random.Random) -> Record:
    if not draft.records:
        draft.records.append(Record(b"new", codec.CONSTANT, 8, [2], entry=b"\7"))
    return more.choice(draft.records)


def number(before: int, more: random.Random) -> int:
    """A boundary, or close to what was there."""
    how = more.random()
    if how < 0.4:
        return max(0, before + more.choice([-2, -1, 1, 2]))
    return more.choice(NUMBERS) if how < 0.85 else more.choice(HUGE)


def change_number(draft: Draft, seeds: Sequence[Draft], more: random.Random) -> None:
    record = pick(draft, more)
    what = more.choice(["alphabet", "target", "seed", "size", "bits", "coding"])
    setattr(record, what, more.randrange(17) if what == "coding" else number(getattr(record, what), more))


def change_signed(draft: Draft, seeds: Sequence[Draft], more: random.Random) -> None:
    record = pick(draft, more)
    what = more.choice(["offset", "row_offset", "column_offset"])
    setattr(record, what, more.choice([-1, 1]) * number(abs(getattr(record, what)), more))


def change_step(draft: Draft, seeds: Sequence[Draft], more: random.Random) -> None:
    record = pick(draft, more)
    record.step = more.choice([*STEPS, record.step + more.randint(-40, 40), more.randint(-2016, 2047)])


def change_shape(draft: Draft, seeds: Sequence[Draft], more: random.Random) -> None:
    record = pick(draft, more)
    how = more.randrange(6)
    if how == 0 and record.shape:
        record.shape.pop(more.randrange(len(record.shape)))
    elif how == 1:
        record.shape.insert(more.randint(0, len(record.shape)), more.choice([0, 1, 1, 2, 3]))
    elif how == 2:
        more.shuffle(record.shape)
    elif how == 3:
        record.shape = more.choice([[], [0], [0, 2**33], [2**32, 0], [2**31 - 1, 0], [0, 2**31], [0] * 8,
        [1] * 9, [2**33],
                                    [2**20, 0, 2**13], [46341, 46341], [1, 2**20], [2**20, 1]])  # fmt: skip
    elif record.shape:
        place = more.randrange(len(record.shape))
        record.shape[place] = number(record.shape[place], more)


def change_kind(draft: Draft, seeds: Sequence[Draft], more: random.Random) -> None:
    record = pick(draft, more)
    if more.random() < 0.5:
        record.kind = more.randrange(8)
        if record.kind in (codec.ALIAS, codec.MASK, codec.FULL_MASK) and more.random() < 0.9:
            record.code = 0
    else:
        record.code = more.choice([0, 1, 2, 3, more.randrange(32)])
    if record.kind == codec.CONSTANT:
        size = codec.SIZES[record.code] if record.code < len(codec.SIZES) else 4
        record.entry = (record.entry + bytes(16))[:size]


def change_name(draft: Draft, seeds: Sequence[Draft], more: random.Random) -> None:
    record, other = pick(draft, more), pick(draft, more)
    record.name = more.choice(
        [*NAMES, other.name, other.name + b".crow", other.name + b".col", other.name + b".basis",
         other.name + b".coefficients", record.name.removesuffix(b".basis"), record.name[:-1]]
    )  # fmt: skip


def change_entries(draft: Draft, seeds: Sequence[Draft], more: random.Random) -> None:
    record = pick(draft, more)
    record.raw = spoil(record.raw, more) if record.raw else record.raw
    if record.entry:
        record.entry = more.choice(
            [bytes(len(record.entry)), b"\xff" * len(record.entry), more.randbytes(len(record.entry))]
        )
    if record.kind == codec.PLANES:
        record.raw = more.choice(
            [record.raw, codec.deflate(more.randbytes(40)), codec.deflate(bytes(4096)), b"", b"\3\0"]
        )


def move_records(draft: Draft, seeds: Sequence[Draft], more: random.Random) -> None:
    how, records = more.randrange(5), draft.records
    if how == 0:
        more.shuffle(records)
    elif how == 1 and records:
        records.pop(more.randrange(len(records)))
    elif how == 2 and records:
        twin = Draft([more.choice(records)]).copy().records[0]
        twin.name = more.choice([twin.name, twin.name + b"2"])
        records.insert(more.randint(0, len(records)), twin)
    elif how == 3:
        other = more.choice(seeds).copy()
        records[more.randint(0, len(records)) :] = more.sample(
            other.records, more.randint(0, len(other.records))
        )
    else:
        records.insert(
            more.randint(0, len(records)),
            Record(b"tie%d" % more.randrange(9), ALIAS, target=more.randrange(6)),
        )


def make_product(draft: Draft, seeds: Sequence[Draft], more: random.Random) -> None:
    """Factors that fit, or nearly, and their entry in the metadata."""
    name = more.choice([b"p", b"0.weight", b"q.crow"])
    groups, size, per = more.choice([0, 1, 2, 3]), more.choice([0, 1, 2, 3, 4, 64]), more.choice([0, 1, 2])
    pieces = groups * per
    shape = more.choice([[groups, per * size], [pieces, size], [pieces * size], [groups, per, size], [],
    [pieces, size, 1],
                         [0, 2**62], [0], [2**33, 0], [groups * per * size or 1]])  # fmt: skip
    code, at = more.randrange(4), more.randint(0, len(draft.records))
    basis = more.choice(
        [[groups, size, size]] * 6 + [[], [size, size], [groups, size], [groups, size, size, 1], [0, 0, 0]]
    )
    draft.records[at:at] = [
        Record(name + b".coefficients", LEVELS, code, [pieces, size]),
        Record(name + b".basis", LEVELS, code, basis, more.choice([-64, -200, 0, -1904, -1905, 2047])),
    ]
    draft.flags = more.choice([draft.flags, draft.flags | 16, draft.flags & 239])
    meta = draft.meta if isinstance(draft.meta, dict) else {}
    products = meta.get(page.PRODUCTS)
    draft.meta = {
        **meta,
        page.PRODUCTS: {**(products if isinstance(products, dict) else {}), name.decode(): shape},
    }


def change_meta(draft: Draft, seeds: Sequence[Draft], more: random.Random) -> None:
    meta = (
        draft.meta if isinstance(draft.meta, dict) else {"a": [1, {"b": "c"}], page.PRODUCTS: {"p": [4, 3]}}
    )
    how = more.random()
    if how < 0.7:
        shapes = [[0, 3], [3, 0], [12], [1] * 9, [2**62, 0], [4, 3, 1]]
        draft.meta = odd_json.text(odd_json.change(meta, more, shapes), more)
    elif how < 0.85:
        products = dict(meta.get(page.PRODUCTS, {})) if isinstance(meta.get(page.PRODUCTS), dict) else {}
        name = pick(draft, more).name.decode(errors="replace")
        products[name.removesuffix(".basis").removesuffix(".coefficients")] = more.choice(
            [[4, 3], [], [12], [0, 2**62]]
        )
        draft.meta = {**meta, page.PRODUCTS: products}
    else:
        draft.meta = more.choice([b"", b"{}", b"[]", b"null", b'{"a":' * 500, b"\xff", b'{"a":1,"a":2}', b" {} ", None,
                                  b'{"a":"' + b"x" * (2**20 - 8) + b'"}',
                                  b'{"a":"' + b"x" * (2**20 - 7) + b'"}'])  # fmt: skip


def change_streams(draft: Draft, seeds: Sequence[Draft], more: random.Random) -> None:
    which = more.choice(["adaptive", "adaptive", "static"])
    data = getattr(draft, which)
    fresh = more.choice(
        [spoil(data, more), more.randbytes(more.randint(0, 60)), bytes(more.randint(0, 60)), b"\xff" * 40]
    )
    setattr(draft, which, fresh)


def change_prefix(draft: Draft, seeds: Sequence[Draft], more: random.Random) -> None:
    if more.random() < 0.6:
        draft.flags = more.choice([1, 2, 4, 8, 15, 16, 16, 17, 31, 32, 48, 128, 255])
    else:
        draft.count = number(len(draft.records), more)


Change = Callable[[Draft, Sequence[Draft], random.Random], None]
CHANGES: list[Change] = [
    change_number, change_signed, change_step, change_shape, change_kind, change_name, change_entries, move_records,
    make_product, change_meta, change_streams, change_prefix,
]  # fmt: skip
WEIGHTS = [4, 2, 2, 6, 3, 2, 2, 4, 3, 3, 3, 1]
