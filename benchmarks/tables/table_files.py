"""CSV files in many dialects and with common defects, and their true content."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ROWS = 160
COLOURS = ("blue", "green", "red")
Columns = dict[str, list[str]]


@dataclass(frozen=True)
class Table:
    """A file, the options to read it, and its content.

    Attributes:
        columns: cells in normalised spelling, by column name; ``a`` has a different number in every row.
        file: bytes of the file.
        options: options of ``szilard fit``.
        twin: name of the table for which training must give the same bits.
        refusal: whether the only right result is a refusal.
        mention: a refusal must contain one of these words.
        kept: rows that are used, or None for all.
        leave: columns whose values are not compared.
        group, time: columns by which the split must be made.
        suffix: suffix of the file's name.
        regression: whether the task is regression.
    """

    name: str
    columns: Columns
    file: bytes = b""
    options: tuple[str, ...] = ()
    twin: str | None = None
    refusal: bool = False
    mention: tuple[str, ...] = ()
    kept: list[int] | None = None
    leave: tuple[str, ...] = ()
    group: str | None = None
    time: str | None = None
    suffix: str = ".csv"
    regression: bool = False

    @property
    def rows(self) -> list[int]:
        """Indices of the rows that are used."""
        return list(range(len(self.columns["y"]))) if self.kept is None else self.kept


def text(
    columns: Columns,
    separator: str = ",",
    newline: str = "\n",
    spell: Callable[[str, str], str] = lambda name, cell: cell,
) -> str:
    """The cells as CSV; a cell that contains the separator, a quote or a newline is quoted."""

    def quoted(cell: str) -> str:
        return '"' + cell.replace('"', '""') + '"' if set(cell) & {separator, '"', "\n"} else cell

    head = separator.join(quoted(name) for name in columns)
    lines = [
        separator.join(quoted(spell(name, cell)) for name, cell in zip(columns, row, strict=True))
        for row in zip(*columns.values(), strict=True)
    ]
    return newline.join([head, *lines]) + newline


def base(rows: int = ROWS, seed: int = 0) -> Columns:
    """Two numeric columns, a colour, and a label that depends on them."""
    draw = random.Random(seed)
    order = draw.sample(range(rows), rows)
    a = [f"{(i - rows / 2) * 4 / rows:.4f}" for i in order]
    b = [f"{draw.gauss(0, 1):.4f}" for _ in range(rows)]
    colour = [COLOURS[i % 3] for i in draw.sample(range(rows), rows)]
    y = [
        "yes" if float(p) + 0.5 * float(q) + (c == "red") > 0.3 else "no"
        for p, q, c in zip(a, b, colour, strict=True)
    ]
    return {"a": a, "b": b, "colour": colour, "y": y}


def with_(columns: Columns, **more: Sequence[str]) -> Columns:
    """A copy with more columns; they replace those of the same name, or precede the target."""
    return {
        **{n: c for n, c in columns.items() if n != "y"}, **{n: [*c] for n, c in more.items() if n != "y"},
        "y": [*more.get("y", columns["y"])],
    }  # fmt: skip


def changed(cells: Sequence[str], every: int, to: str) -> list[str]:
    return [to if i % every == 4 else cell for i, cell in enumerate(cells)]


def made(name: str, columns: Columns, **options: object) -> Table:
    """A table; its file is comma-separated unless ``file`` is given."""
    options.setdefault("file", text(columns).encode())
    return Table(name, columns, **options)  # type: ignore[arg-type]


def numbers(columns: Columns, change: Callable[[str], str]) -> Callable[[str, str], str]:
    return lambda name, cell: change(cell) if name in ("a", "b") else cell


def comma(cell: str) -> str:
    return cell.replace(".", ",")


def english(cell: str) -> str:
    return f"{float(cell):,.2f}"


def german(cell: str) -> str:
    return english(cell).translate(str.maketrans(",.", ".,"))


def dialects() -> list[Table]:
    """One table in many spellings; all must be read as the same numbers."""
    b = base()
    plain = text(b)
    same: dict[str, bytes] = {
        "BOM": b"\xef\xbb\xbf" + plain.encode(),
        "CRLF": text(b, newline="\r\n").encode(),
        "CR line endings": text(b, newline="\r").encode(),
        "semicolons": text(b, ";").encode(),
        "tabs": text(b, "\t").encode(),
        "pipe characters": text(b, "|").encode(),
        "decimal commas, semicolons": text(b, ";", spell=numbers(b, comma)).encode(),
        "decimal commas, quoted": text(b, spell=numbers(b, comma)).encode(),
        "UTF-16": plain.encode("utf-16"),
        "every cell quoted": "\n".join(
            ",".join(f'"{c}"' for c in line.split(",")) for line in plain.splitlines()
        ).encode(),
        "empty lines": plain.replace("\n", "\n\n").encode(),
        "no final newline": plain.rstrip("\n").encode(),
        "spaces around cells": plain.replace(",", " , ").encode(),
        "trailing commas": "".join(line + ",\n" for line in plain.splitlines()).encode(),
    }
    tables = [made("plain", b)]
    tables += [made(name, b, file=file, twin="plain") for name, file in same.items()]
    tables.append(made("tabs, .tsv", b, file=text(b, "\t").encode(), twin="plain", suffix=".tsv"))
    accents = with_(b, y=["grün" if cell == "yes" else "rot" for cell in b["y"]])
    tables.append(made("accents", accents))
    tables.append(made("accents, latin-1", accents, file=text(accents).encode("latin-1"), twin="accents"))
    large = with_(b, b=[f"{1e4 * float(cell):.2f}" for cell in b["b"]])
    tables.append(made("large numbers", large))
    for name, change, separator in (("1,234.50", english, ","), ("1.234,50", german, ";")):
        spelled = text(
            large, separator, spell=lambda n, cell, change=change: change(cell) if n == "b" else cell
        )
        if change is german:
            spelled = text(
                large, separator,
                spell=lambda n, cell: german(cell) if n == "b" else comma(cell) if n == "a" else cell,
            )  # fmt: skip
        tables.append(made(name, large, file=spelled.encode(), twin="large numbers"))
    shades = [f"{cell}, dark\n{cell}" for cell in b["colour"]]
    odd = {"a": b["a"], 'Größe [λ], "m"': b["b"], "colour": shades, "y": b["y"]}
    tables.append(made("quotes and new lines in cells", odd))
    return tables


def missing() -> list[Table]:
    b = base()
    holes = changed(b["b"], 9, "")
    gone = with_(b, b=holes)
    whole = [i for i, cell in enumerate(holes) if cell]
    words = with_(b, b=changed(b["b"], 9, "NA"))
    return [
        made("missing numbers", gone, refusal=True, mention=("missing", "'b'")),
        made("NA", words, refusal=True, mention=("missing", "'b'")),
        made("missing, drop", gone, options=("--missing", "drop"), kept=whole),
        made("missing, mean", gone, options=("--missing", "mean"), leave=("b",)),
        made("missing categories, drop", with_(b, colour=changed(b["colour"], 9, "")),
             options=("--missing", "drop"), kept=whole),
        made("missing labels", with_(b, y=changed(b["y"], 9, "")), refusal=True, mention=("missing", "'y'")),
    ]  # fmt: skip


def special_columns() -> list[Table]:
    b = base()
    draw = random.Random(1)
    day = [f"2024-{1 + i % 12:02d}-{1 + i % 28:02d}" for i in range(ROWS)]
    hour = [f"{i}" for i in draw.sample(range(ROWS), ROWS)]
    person = [f"{draw.randrange(20)}" for _ in range(ROWS)]
    rare = ["yes" if i % 20 == 3 else "no" for i in range(ROWS)]
    return [
        made("dates", with_(b, day=day), refusal=True, mention=("date", "day")),
        made("dates, read", with_(b, day=day), options=("--date", "day"), leave=("day",)),
        made("dates, ignored", with_(b, day=day), options=("--ignore", "day"), twin="plain", leave=("day",)),
        made("ids", with_(b, id=[str(1000 + i) for i in range(ROWS)])),
        made("ids, ignored", with_(b, id=[str(1000 + i) for i in range(ROWS)]), options=("--ignore", "id"),
             twin="plain", leave=("id",)),
        made("ids as text", with_(b, id=[f"P{i:04d}" for i in range(ROWS)]), refusal=True, mention=("id",)),
        made("ids of 20 digits", with_(b, id=[str(10**19 + i) for i in range(ROWS)]), leave=("id",)),
        made("groups", with_(b, person=person), options=("--group", "person"), group="person",
             leave=("person",)),
        made("time", with_(b, hour=hour), options=("--time", "hour"), time="hour", leave=("hour",)),
        made("imbalance", with_(b, y=rare)),
        made("imbalance, balanced", with_(b, y=rare), options=("--class-weights", "balanced")),
        made("constant column", with_(b, c=["1"] * ROWS), refusal=True, mention=("'c'", "constant")),
        made("constant column, dropped", with_(b, c=["1"] * ROWS), options=("--drop-constant",), twin="plain",
             leave=("c",)),
        made("units in cells", with_(b, w=[f"{40 + i} kg" for i in range(ROWS)]), refusal=True, mention=("'w'",)),
        made("rare category", with_(b, colour=["violet" if i == 7 else c for i, c in enumerate(b["colour"])])),
        made("booleans", with_(b, flag=["TRUE" if i % 3 else "FALSE" for i in range(ROWS)])),
        made("free text", with_(b, note=[f"note number {i}" for i in range(ROWS)]), refusal=True,
             mention=("'note'",)),
    ]  # fmt: skip


def targets() -> list[Table]:
    b = base()
    price = [f"{250000 + 9000 * float(p) + 4000 * float(q):.2f}" for p, q in zip(b["a"], b["b"], strict=True)]
    none = ["None" if cell == "no" else "some" for cell in b["y"]]
    once = with_(b, y=["maybe" if i == 7 else cell for i, cell in enumerate(b["y"])])
    spaced = [f" {cell}{' ' * (i % 2)}" for i, cell in enumerate(b["y"])]
    return [
        made("regression target", with_(b, y=price), regression=True),
        made("integer regression target", with_(b, y=[str(round(float(p) / 100)) for p in price]), regression=True),
        made("regression target as classes", with_(b, y=price), options=("--task", "classification"), refusal=True,
             mention=("'y'", "class")),
        made("classes 0 and 1", with_(b, y=[str(int(cell == "yes")) for cell in b["y"]])),
        made("class named None", with_(b, y=none), leave=()),
        made("one class", with_(b, y=["yes"] * ROWS), refusal=True, mention=("class",)),
        made("class with one row", once),
        made("spaces around labels", b, file=text(with_(b, y=spaced)).encode(), twin="plain"),
    ]  # fmt: skip


def sizes() -> list[Table]:
    b = base()
    draw = random.Random(2)
    few = base(60, seed=3)
    wide = {f"w{i}": [f"{draw.gauss(0, 1):.3f}" for _ in range(60)] for i in range(300)}
    return [
        made("12 rows", base(12)),
        made("two rows", base(2), refusal=True),
        made("300 columns, 60 rows", with_(few, **wide)),
        made("target column only", {"y": b["y"]}, refusal=True, mention=("only",)),
    ]


def broken() -> list[Table]:
    b = base()
    plain = text(b)
    files: dict[str, bytes] = {
        "empty": b"",
        "header only": b"a,b,colour,y\n",
        "zero byte": plain.replace("yes", "y\0s", 1).encode(),
        "one line too long": (plain + "1,2,red,yes,5\n").encode(),
        "one line too short": (plain + "1,2\n").encode(),
        "duplicate column name": plain.replace("a,b", "a,a", 1).encode(),
        "inf": text(with_(b, b=changed(b["b"], 9, "inf"))).encode(),
        "1e400": text(with_(b, b=changed(b["b"], 9, "1e400"))).encode(),
        "PNG file": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20,
    }
    tables = [made(name, b, file=file, refusal=True) for name, file in files.items()]
    tables.append(made("no target column", {"a": b["a"], "b": b["b"], "y": b["y"]},
                       file=plain.replace(",y\n", ",z\n", 1).encode(), refusal=True, mention=("'y'",)))  # fmt: skip
    return tables


TABLES: dict[str, Table] = {
    table.name: table
    for table in (*dialects(), *missing(), *special_columns(), *targets(), *sizes(), *broken())
}


def backwards(table: Table) -> bytes:
    """The rows and the columns in reverse order, without the target, as a file to predict."""
    columns = {n: cells[::-1] for n, cells in reversed(list(table.columns.items())) if n != "y"}
    return text(columns).encode()
