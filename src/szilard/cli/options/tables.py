"""Options that say how a table is read."""

from __future__ import annotations

from typing import Annotated

import typer

_TABLE = "Tables (CSV files)"

Ignore = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN", help="Leave out a column, such as an id. Repeat for more.", rich_help_panel=_TABLE
    ),
]
Missing = Annotated[
    str | None,
    typer.Option(
        metavar="HOW",
        help="Rows with missing cells: refuse (default), drop, or mean (fill in the mean of the training split).",
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
        help="Put all rows with the same value in this column into the same split: train, validation or test.",
        rich_help_panel=_TABLE,
    ),
]
Time = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Order rows by this column: train on the earliest, test on the latest.",
        rich_help_panel=_TABLE,
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
        help="The numbers in this column are categories, such as shop numbers, not quantities. Repeat for more.",
        rich_help_panel=_TABLE,
    ),
]
ClassWeights = Annotated[
    str | None,
    typer.Option(
        metavar="HOW",
        help="balanced: give rare classes the same total weight as frequent ones.",
        rich_help_panel=_TABLE,
    ),
]
