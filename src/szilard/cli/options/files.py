"""Arguments that name a run or a file of weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RunOrNetwork = Annotated[
    Path,
    typer.Argument(
        metavar="RUN_OR_NETWORK",
        help="A run folder, the folder of one method in it, or a file: network.pt, .szd, or weights with --network.",
    ),
]
