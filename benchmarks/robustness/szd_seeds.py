"""Small valid .szd files to mutate: drafts written from docs/format.md alone, and files of szilard."""

from __future__ import annotations

import random

import szd_reference as reference

from robustness import codec
from robustness.codec import ALIAS, CONSTANT, FULL_MASK, LEVELS, MASK, PLANES, RANDOM, RAW, Draft, Record

META = {
    "network": "mlp:3",
    "classes": ["Σ", "ok"],
    "shift": [0.25, -1e-3],
    "deep": {"a": [None, True, {"b": 2**40}]},
}


def drafts() -> list[Draft]:
    """Valid drafts of a few records each: every kind, type and coding of levels."""
    found = [Draft([])]
    for code, name in enumerate(reference.TYPES):
        size = reference.SIZES[name]
        entry = b"\1" if name == "bool" else bytes(range(size))
        planes = b"".join(bytes([place % 2]) * 3 for place in range(size))
        found.append(
            Draft(
                [
                    Record(b"raw", RAW, code, [3]),
                    Record(b"raw.planes", PLANES, code, [3], raw=codec.deflate(planes)),
                    Record(b"same", CONSTANT, code, [2, 2], entry=entry),
                    Record(b"tie", ALIAS, target=code % 3),
                ]
            )
        )
    for coding in range(16):
        if coding & 9 != 9:
            found.append(levels(coding))
    found += supports() + randoms() + products()
    for number, draft in enumerate(found):
        rng = random.Random(number)
        codec.fit_raw(draft, rng)
        if codec.fit_streams(draft, rng) is None:  # random levels that are too large, or an invalid table
            _try_again(draft, rng)
        draft.content = codec.rehashed(codec.write(draft))[-24:-8]
    return found


def _try_again(draft: Draft, rng: random.Random) -> None:
    for _ in range(2000):
        if codec.fit_streams(draft, rng, keep=False) is not None:
            return
    raise RuntimeError(f"no streams fit {draft.records}")


def levels(coding: int) -> Draft:
    """Matrices, a vector, a scalar and an empty tensor under one coding, in each type that can hold levels."""
    shapes = [[4, 3, 2], [6], [2, 2], []]
    records = [
        Record(
            b"w%d" % code,
            LEVELS,
            code,
            shapes[code],
            -150 + 10 * code,
            coding=coding,
            alphabet=2,
            offset=-code,
        )
        for code in range(4)
    ]
    if coding & 8:  # random bytes are rarely a valid table; one is enough
        records = records[coding % 3 : coding % 3 + 1]
    else:
        records.append(Record(b"none", LEVELS, 0, [0, 4], coding=coding & 1))
    return Draft([*records, Record(b"tied", ALIAS, target=0)], META)


def supports() -> list[Draft]:
    mask, full = Record(b"a.support", MASK, shape=[5, 7]), Record(b"b.support", FULL_MASK, shape=[3, 4])
    empty = [
        Record(b"c%d" % i, FULL_MASK, shape=list(shape)) for i, shape in enumerate([(0, 4), (4, 0), (0, 0)])
    ]
    ties = [Record(b"t1", ALIAS, target=1), Record(b"t2", ALIAS, target=0)]
    return [
        Draft([mask, *ties, Record(b"a.mean", LEVELS, 0, [9], -100)]),
        Draft([full, mask]).copy(),
        Draft([*empty, Record(b"d", MASK, shape=[1, 1])]),
        Draft([Record(b"one", MASK, shape=[6, 6])], adaptive=b"\0" * 8),  # which is full: all ones
        Draft([Record(b"one", MASK, shape=[6, 6])], adaptive=b"\xff" * 8),
    ]


def randoms() -> list[Draft]:
    return [
        Draft([Record(b"r", RANDOM, code, [5, 3], -150, seed=code * 77, size=size, bits=bits)], META)
        for code, size, bits in ((0, 1, 8), (1, 4, 12), (2, 256, 20), (3, 15, 9))
    ]


def products() -> list[Draft]:
    found = []
    for code, groups, size, pieces, shape, flags in (
        (0, 1, 3, 4, [4, 3], 16), (1, 2, 2, 8, [2, 2, 4], 0), (2, 1, 1, 3, [3], 16), (3, 2, 4, 4, [4, 4, 1], 0),
        (0, 1, 2, 0, [0, 2], 16), (0, 2, 2, 4, [4, 2], 16),
    ):  # fmt: skip
        parts = [
            Record(b"p.coefficients", LEVELS, code, [pieces, size]),
            Record(b"p.basis", LEVELS, code, [groups, size, size], -100),
        ]
        bias = Record(b"bias", CONSTANT, 0, [2], entry=bytes(4))
        found.append(Draft([*parts, bias], {reference.PRODUCTS: {"p": shape}}, flags=flags))
    return found


def written() -> list[Draft]:
    """Files that szilard writes, with its own choice of tables and models."""
    import numpy as np

    from szilard import file

    numbers = np.random.default_rng(0)
    powers = (np.sign(numbers.standard_normal((12, 10))) * 2.0 ** numbers.integers(0, 5, (12, 10))).astype(
        np.int32
    )
    dense = (3 * numbers.standard_normal((12, 10))).round().astype(np.int32)
    mask = numbers.random((9, 8)) < 0.3
    documents = [
        file.Document([file.Levels("0.weight", "float32", (12, 10), powers, -64)], {"network": None}),
        file.Document(
            [
                file.Levels("1.weight", "float16", (12, 10), dense, -90, None, np.arange(10, dtype=np.int8)),
                file.Levels("1.bias", "float32", (12,), dense[:, 0] + 100, -90),
                file.Mask("2.support", (9, 8), mask),
                file.Mask("3.support", (9, 8), mask | True),
                file.Alias("4.weight", "1.weight"),
            ],
            META,
        ),
    ]
    return [codec.read(file.dumps(document)) for document in documents]
