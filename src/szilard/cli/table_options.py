"""Options of tables, declared once; None means that nothing was typed."""

from __future__ import annotations

from typing import Annotated, Any

import typer

_TABLE = "Tables (CSV files)"

Ignore = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN", help="Leave a column out, such as an id. Repeat for more.", rich_help_panel=_TABLE
    ),
]
Missing = Annotated[
    str | None,
    typer.Option(
        metavar="HOW",
        help="Rows with missing cells: refuse (the default), drop, or mean (of the training rows).",
        rich_help_panel=_TABLE,
    ),
]
Date = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN",
        help="Turn a column of dates into numbers; COLUMN=dmy or COLUMN=mdy for 03/04/2024. Repeat for more.",
        rich_help_panel=_TABLE,
    ),
]
Group = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Rows of one value here stay together in train, valid or test.",
        rich_help_panel=_TABLE,
    ),
]
Time = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN", help="Train on the earliest rows here, test on the latest.", rich_help_panel=_TABLE
    ),
]
Decimal = Annotated[
    str | None,
    typer.Option(
        metavar="MARK",
        help="The decimal mark, . or , where numbers such as 1,234 leave it open.",
        rich_help_panel=_TABLE,
    ),
]
Categorical = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN",
        help="Numbers here are codes, such as the number of a shop, and no quantities. Repeat for more.",
        rich_help_panel=_TABLE,
    ),
]
ClassWeights = Annotated[
    str | None,
    typer.Option(
        metavar="HOW", help="balanced: rare classes count as much as frequent ones.", rich_help_panel=_TABLE
    ),
]


def typed(
    ignore: list[str] | None,
    missing: str | None,
    date: list[str] | None,
    group: str | None,
    time: str | None,
    decimal: str | None,
    categorical: list[str] | None,
) -> dict[str, Any]:
    """Arguments of :func:`szilard.data.load`; None where nothing was typed."""
    return {
        "ignore": ignore or None, "missing": missing, "date": date or None, "group": group, "time": time,
        "decimal": decimal, "categorical": categorical or None,
    }  # fmt: skip
