"""What ``szilard inspect`` prints and returns for a store."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from szilard.cli import output
from szilard.cli.fields.sizes import ratio, shape, size
from szilard.cli.table import Column, Table, say_wrapped, show
from szilard.errors import printable

if TYPE_CHECKING:
    from szilard.fields import Inspected, InspectedVariable

_LETTERS = 60
#: What the parts of a stream are, in the order of the table.
_PARTS = {
    "metadata": "zarr.json without the weights",
    "weights": "of the predictor, once; a hash in each chunk",
    "head": "shape, bound and lengths, in each chunk",
    "marks": "NaN, infinities, and the coarsest values",
    "constants": "numbers that many values equal",
    "symbols": "errors of prediction, entropy coded",
    "plain bits": "low bits of large errors",
    "escapes": "errors beyond all bins",
    "patches": "values that rounding would move too far",
    "map": "the map of bounds",
    "base": "waves of low frequency below the values",
    "values": "chunks that are stored as they are",
}


def show_inspected(found: Inspected, *, wide: bool) -> None:
    """Print bounds, sizes and the bits of each part."""
    rows = list(found.variables.values())
    total = sum(one.bytes for one in rows) + sum(found.exact.values())
    count = len(rows) + len(found.exact)
    of = f"{size(total)} in {count} variable{'' if count == 1 else 's'}"
    say_wrapped(f"{printable(str(found.path), 200)}: {of}", bold=True)
    if rows:
        show(_variables(rows), wide=wide)
        output.say("")
        show(_bits(rows), wide=wide)
    if found.exact:
        sizes = sorted(found.exact.items(), key=lambda one: -one[1])
        shown = ", ".join(f"{printable(name, _LETTERS)} ({size(count)})" for name, count in sizes[:20])
        say_wrapped(f"Stored exactly: {shown}{f' and {len(sizes) - 20} more' if len(sizes) > 20 else ''}.")


def as_json(found: Inspected) -> dict[str, Any]:
    """The same as a table of JSON, in bytes."""
    rows = [
        {**asdict(one), "raw_bytes": one.raw_bytes, "bytes": one.bytes, "ratio": one.ratio}
        for one in found.variables.values()
    ]
    return {
        "path": str(found.path),
        "bytes": sum(one["bytes"] for one in rows) + sum(found.exact.values()),
        "variables": rows,
        "exact": found.exact,
    }


def _variables(rows: list[InspectedVariable]) -> Table:
    columns = [
        Column(["variable"], [printable(one.name, _LETTERS) for one in rows], right=False),
        Column(["type"], [one.dtype for one in rows], right=False, worth=10),
        Column(["shape"], [shape(one.shape) for one in rows], right=False, worth=30),
        Column(["chunk"], [shape(one.chunks) for one in rows], right=False, worth=20),
        Column(["chunks"], [_modes(one.modes) for one in rows], right=False, worth=40),
        Column(["bound"], [printable(one.bound, _LETTERS) for one in rows], right=False, worth=60),
        Column(["stored"], [size(one.bytes) for one in rows], worth=50),
        Column(["ratio"], [ratio(one.raw_bytes, one.bytes) for one in rows], worth=70),
    ]
    return Table(columns, transposes=True, elsewhere="--wide or --json shows them")


def _bits(rows: list[InspectedVariable]) -> Table:
    """Bits for each value by part: one row for each part that is there, or for each variable if those are many."""
    parts = [_parts(one) for one in rows]
    known = [*_PARTS, *sorted({name for one in parts for name in one} - set(_PARTS))]
    kept = [name for name in known if any(one.get(name) for one in parts)]
    cells = [[_each(one.get(name, 0), row) for one, row in zip(parts, rows, strict=True)] for name in kept]
    whole = [_each(row.bytes, row) for row in rows]
    if len(rows) <= 4:
        columns = [Column(["bits for each value"], kept, right=False)]
        columns += [
            Column([printable(row.name, _LETTERS)], [line[number] for line in cells], worth=40 - number)
            for number, row in enumerate(rows)
        ]
        columns.append(Column(["what it is"], [_PARTS.get(name, "") for name in kept], right=False, worth=10))
        return Table(columns, footer=["all", *whole, ""], elsewhere="--wide or --json shows them")
    columns = [Column(["bits for each value"], [printable(row.name, _LETTERS) for row in rows], right=False)]
    columns += [
        Column(name.split(), line, worth=90 if name == "symbols" else 10 + number)
        for number, (name, line) in enumerate(zip(kept, cells, strict=True))
    ]
    return Table([*columns, Column(["all"], whole, worth=100)], elsewhere="--wide or --json shows them")


def _parts(one: InspectedVariable) -> dict[str, int]:
    """Bytes of each part; they add up to those of the variable."""
    weights = one.weights + one.parts.get("weights", 0)
    return {"metadata": one.metadata - one.weights, **one.parts, "weights": weights}


def _each(count: int, row: InspectedVariable) -> str:
    values = max(row.raw_bytes * 8 // int(row.dtype.removeprefix("float")), 1)
    bits = 8 * count / values
    return f"{bits:.4f}" if count else "0"


def _modes(modes: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in modes.items()) or "none"
