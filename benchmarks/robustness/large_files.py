"""Small files that decode to large tensors, of every kind of record, near the size limit of the readers."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robustness import codec
from robustness.codec import CONSTANT, FULL_MASK, PLANES, RANDOM, RAW, Draft, Record
from robustness.hostile_szd import MOST, Expected, Fault, digests, entry_points, judged, opened
from robustness.watch import watched

ENTRIES = MOST // 4  # of float32
EDGE = ENTRIES - 64


SLOW_DOORS = ("load", "verify", "inspect --tensors")  # the others call these


def cases() -> list[tuple[str, Callable[[], bytes]]]:
    """Names of the cases, and functions that make the files."""
    side = 4000
    found: list[tuple[str, Callable[[], bytes]]] = [
        ("full mask, square", lambda: szd(Record(b"a", FULL_MASK, shape=[side, side]))),
        ("full mask, one row", lambda: szd(Record(b"a", FULL_MASK, shape=[1, EDGE]))),
        ("full mask, one column", lambda: szd(Record(b"a", FULL_MASK, shape=[EDGE // 2, 1]))),
        ("full mask, rows without columns", lambda: szd(Record(b"a", FULL_MASK, shape=[EDGE, 0]))),
        ("full mask, columns without rows", lambda: szd(Record(b"a", FULL_MASK, shape=[0, 2**31]))),
        ("constants", lambda: szd(*(constant(code, 4) for code in range(4)))),
        ("a constant of bytes", lambda: szd(constant(8, 1))),
        (
            "zeros with huge sizes",
            lambda: szd(*(Record(b"z%d" % i, RAW, i, [0, 2**33]) for i in range(17))),
        ),
        ("planes of one byte", lambda: szd(planes(8, MOST - 64))),
        ("planes of complex128", lambda: szd(planes(11, MOST // 16 - 8))),
        (
            "many tensors",
            lambda: szd(*(Record(b"%d" % i, CONSTANT, 0, [2000], entry=bytes(4)) for i in range(8000))),
        ),
        (
            "ties",
            lambda: szd(constant(0, 1), *(Record(b"t%d" % i, codec.ALIAS, target=0) for i in range(8000))),
        ),
    ]
    for size, bits in ((1, 8), (256, 20)):
        found.append(
            (f"random, blocks of {size}, {bits} bits", lambda size=size, bits=bits: szd(*randoms(size, bits)))
        )
    for name in ("ones", "all but one", "rows", "sparse"):
        for rows in (side, 4, 1):
            found.append((f"mask, {name}, {rows} rows", lambda name=name, rows=rows: mask(name, rows)))
    for dtype in ("float32", "float16", "bfloat16", "float64"):
        for rows in (1, 3000):
            found.append(
                (f"levels, {dtype}, {rows} rows", lambda dtype=dtype, rows=rows: levels(dtype, rows, False))
            )
        found.append((f"levels with scales, {dtype}", lambda dtype=dtype: levels(dtype, 3000, True)))
    found += [(f"static levels, {rows} rows", lambda rows=rows: static(rows)) for rows in (1, 3000)]
    found += [(f"product of pieces of {size}", lambda size=size: product(size)) for size in (1, 2, 16, 64)]
    return found


def check(number: int, folder: Path) -> list[Fault]:
    """Test case ``number`` with every function that reads a file."""
    name, make = cases()[number]
    data = make()
    with digests() as seen:
        first = watched(lambda: opened(data))
    if first.refusal is not None and seen:
        data = codec.with_content(data, seen[-1])
        first = watched(lambda: opened(data))
    wanted = Expected()
    wanted.tables = codec.reference.tables(data)
    faults = [(key, f"{name}: {text}") for key, text in judged("loads", first, wanted)]
    if first.refusal is None and wanted.tables.declared > MOST:
        faults.append(
            ("peak_over_allowed", f"{name}: opened {wanted.tables.declared} bytes where {MOST} are allowed")
        )
    first.value = None if first.refusal is not None or first.wrong else first.value
    return faults + [
        (key, f"{name}: {text}")
        for key, text in entry_points(data, folder, wanted, first, names=SLOW_DOORS, values=False)
    ]


# -- what makes them ------------------------------------------------------------------------------------


def szd(*records: Record) -> bytes:
    """A file of records that need no stream; the content hash is not computed."""
    return codec.write(Draft(list(records)))


def constant(code: int, parts: int) -> Record:
    size = codec.SIZES[code]
    return Record(b"c%d" % code, CONSTANT, code, [MOST // parts // size - 8], entry=bytes(range(1, size + 1)))


def planes(code: int, entries: int) -> Record:
    return Record(b"p", PLANES, code, [entries], raw=codec.deflate(bytes(entries * codec.SIZES[code])))


def randoms(size: int, bits: int) -> list[Record]:
    rng, entries = random.Random(0), 2**21
    blocks = -(-entries // size)
    raw = rng.randbytes(-(-blocks * bits // 8))
    unused = -blocks * bits % 8
    raw = raw[:-1] + bytes([raw[-1] >> unused << unused])
    return [
        Record(b"r%d" % seed, RANDOM, 0, [entries], -150, seed=seed, size=size, bits=bits, raw=raw)
        for seed in range(8)
    ]


def dumped(*records: Any, meta: dict | None = None) -> bytes:
    from szilard import file

    return file.dumps(file.Document(list(records), meta or {}))


def mask(name: str, rows: int) -> bytes:
    import numpy as np

    from szilard import file

    found = np.ones((rows, 15_900_000 // rows), bool)
    if name == "all but one":
        found[-1, -1] = False
    elif name == "rows":
        found[::2] = False
        found[-1, -1] = not found[-1, -1]
    elif name == "sparse":
        found[:] = False
        found[rows // 2, 7] = True
    return dumped(file.Mask("m", found.shape, found))


def levels(dtype: str, rows: int, scaled: bool) -> bytes:
    import numpy as np

    from szilard import file

    size = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8}[dtype]
    found = np.zeros((rows, (MOST // size - 64) // rows), np.int32)
    found[0, 0], found[-1, -1] = 3, -2
    sizes = found.shape if scaled else (None, None)
    scales = [None if n is None else (np.arange(n) % 3).astype(np.int8) for n in sizes]
    return dumped(file.Levels("w", dtype, found.shape, found, -150, *scales))


def static(rows: int) -> bytes:
    """The levels with the fewest bits for a given table."""
    import numpy as np

    from szilard import file

    found = np.zeros((rows, EDGE // 4 // rows), np.int32)
    found.reshape(-1)[:: 1 << 7] = (
        np.arange(found.size // 128 + 1)[: len(found.reshape(-1)[:: 1 << 7])] % 300 + 1
    )
    return dumped(file.Levels("w", "float32", found.shape, found, -150))


def product(size: int) -> bytes:
    import numpy as np

    from szilard import file

    pieces = (MOST // 4 - 4096) // size
    codes = np.zeros((pieces, size), np.int32)
    codes[0, 0] = codes[-1, -1] = 8
    basis = np.ones((1, size, size), np.int32)
    basis[0, 0, 0] = 2
    return dumped(file.Product("w", "float32", (pieces, size), codes, basis, -150))
