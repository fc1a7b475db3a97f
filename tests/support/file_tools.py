"""Documents and Hypothesis strategies for the tests of .szd files."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from szilard.file import Alias, Constant, Document, Levels, Mask, Raw, Record, arrays, digest, dtypes

PLAIN = tuple(dtypes.BY_NAME)
OLD = PLAIN[:17]  #: those that the golden file has, of version 0.1
LEVELLED = tuple(name for name, dtype in dtypes.BY_NAME.items() if dtype.holds_levels)


def numbers(seed: int, *shape: int, spread: float = 2.0) -> np.ndarray:
    """Levels like those of a weight, mostly small. Integer arithmetic makes them the same on every machine."""
    draws = np.random.default_rng(seed).integers(-1000, 1001, (3, *shape)).prod(0, dtype=np.int64)
    return (draws * spread / 10**9 * 4).round().astype(np.int32)


def everything() -> Document:
    """A small document with every kind of record, every type of version 0.1, and every way of coding levels."""
    powers = np.sign(numbers(1, 40, 30)) * (1 << np.minimum(abs(numbers(2, 40, 30)), 5))
    mask = numbers(7, 6, 9) > 0
    nnz = int(mask.sum())
    heads, scales = np.arange(-4, 4, dtype=np.int8), numbers(6, 10).astype(np.int8)
    records: list[Record] = [
        Levels("conv.weight", "float32", (8, 3, 3, 3), numbers(3, 8, 3, 3, 3), -70, heads),
        Levels("conv.bias", "float32", (8,), numbers(4, 8, spread=20) + 100, -110),
        Constant("bn.running_mean", "float32", (8,), bytes(4)),
        Constant("bn.num_batches_tracked", "int64", (), (12345).to_bytes(8, "little")),
        Levels("fc.weight", "float32", (40, 30), powers.astype(np.int32), -64),
        Levels("fc2.weight", "bfloat16", (12, 10), numbers(5, 12, 10, spread=300), -90, None, scales),
        Levels("fc3.weight", "float16", (2, 3), np.array([[1, -2, 3], [0, 70000, 5]], np.int32), -150),
        Levels("fc4.weight", "float64", (), np.array(-7, np.int32), 3),
        Levels("fc5.weight", "float32", (0, 4), np.zeros((0, 4), np.int32), 0),
        Raw("position_ids", "int64", (1, 40), np.arange(40, dtype="<i8").tobytes()),
        Mask("sparse.weight.support", (6, 9), mask),
        Levels("sparse.weight.mean", "float32", (nnz,), numbers(8, nnz), -77),
        Mask("full.weight.support", (3, 4), np.ones((3, 4), bool)),
        Alias("tied.weight", "fc.weight"),
        Alias("tied.support.col", "sparse.weight.support.col"),
    ]
    for name in OLD:
        dtype = dtypes.BY_NAME[name]
        entries = bytes([1, 0, 1]) if name == "bool" else bytes(range(3 * dtype.size))
        records.append(Raw(f"raw.{name}", name, (3,), entries))
    return Document(records, {"network": "mlp:30,40", "classes": ["Σ", "ok"], "shift": 0.25})


def reseal(data: bytes) -> bytes:
    """The bytes with a corrected file hash, so that a reader parses the content."""
    body = data[: -digest.FILE_BYTES]
    return body + digest.of_file(body)


def same(one: Document, other: Document) -> bool:
    """The same tensors under the same names in the same order and types, ties and metadata."""
    if [type(record) for record in one.records] != [type(record) for record in other.records]:
        return False
    types = [[getattr(record, "dtype", None) for record in document.records] for document in (one, other)]
    targets = [[getattr(record, "target", None) for record in document.records] for document in (one, other)]
    here, there = arrays(one), arrays(other)
    return (
        types[0] == types[1]
        and targets[0] == targets[1]
        and list(here) == list(there)
        and all(
            here[name].shape == there[name].shape and here[name].tobytes() == there[name].tobytes()
            for name in here
        )
        and dict(one.meta) == dict(other.meta)
    )


# -- Hypothesis strategies ------------------------------------------------------------------------------

shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)
scripts = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
names = st.text(scripts, max_size=12)
texts = st.text(scripts, max_size=5)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
)
json = st.recursive(
    scalars | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def records(draw, name: str, before: list[str]) -> Record:
    """A record of any kind with any content."""
    kind = draw(st.sampled_from(["raw", "constant", "levels", "levels", "mask", "alias"]))
    shape = draw(shapes)
    count = int(np.prod(shape))
    if kind == "alias" and before:
        return Alias(name, draw(st.sampled_from(before)))
    if kind == "mask":
        shape = (draw(st.integers(0, 6)), draw(st.integers(0, 6)))
        bits = draw(st.lists(st.booleans(), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]))
        return Mask(name, shape, np.array(bits, bool).reshape(shape))
    if kind == "levels":
        most = draw(st.sampled_from([1, 5, 300, 2**23 - 1]))
        step = draw(st.integers(-300, 0))
        levels = draw(st.lists(st.integers(-most, most), min_size=count, max_size=count))
        shape_2d = (1, count) if len(shape) < 2 else (shape[0], count // max(shape[0], 1))
        scales = [
            np.array(draw(st.lists(st.integers(-20, 20), min_size=n, max_size=n)), np.int8)
            if count and draw(st.booleans())
            else None
            for n in shape_2d
        ]
        dtype = draw(st.sampled_from(LEVELLED)) if most <= 300 and step < -150 else "float32"
        return Levels(name, dtype, shape, np.array(levels, np.int32).reshape(shape), step, *scales)
    dtype = dtypes.BY_NAME[draw(st.sampled_from(PLAIN))]
    values = st.integers(0, 1 if dtype.name == "bool" else 255)
    if kind == "constant" and count:
        entry = bytes(draw(st.lists(values, min_size=dtype.size, max_size=dtype.size)))
        return Constant(name, dtype.name, shape, entry)
    size = count * dtype.size
    return Raw(name, dtype.name, shape, bytes(draw(st.lists(values, min_size=size, max_size=size))))


@st.composite
def documents(draw) -> Document:
    """Any document, mostly small."""
    found: list[Record] = []
    before: list[str] = []
    taken: set[str] = set()
    for name in draw(st.lists(names, max_size=6, unique=True)):
        if taken & {name, f"{name}.crow", f"{name}.col"}:
            continue
        record = draw(records(name, before))
        parts = [f"{name}.crow", f"{name}.col"] if isinstance(record, Mask) else [name]
        taken.update(parts)
        if not isinstance(record, Alias):
            before += parts
        found.append(record)
    return Document(found, draw(st.dictionaries(texts, json, max_size=3)))
