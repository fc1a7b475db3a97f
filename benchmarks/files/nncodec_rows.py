"""The rows of NNCodec: computed, or read from the stored results.

Its grid has about two hundred files for each network, which depend only on the network, the images and the version of
NNCodec. So ``benchmarks/results/nncodec.jsonl`` stores one line for each row: arguments, bytes, drops on both sets of
images, and versions.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from files import nncodec_grid, nncodec_peer
from files.contest import Row, chosen, row_of
from files.judge import Judge
from szilard import atomic

KEPT = Path(__file__).parents[1] / "results" / "nncodec.jsonl"
TUNED = "NNCodec 2.1.3, tuned"
DEFAULT = "NNCodec 2.1.3, defaults"
UNTOUCHED = "NNCodec 2.1.3, default qp"
RATED = "NNCodec 2.1.3, with the rate term that its API leaves off"
POINT = "NNCodec 2.1.3, curve"


def coded_anew(judge: Judge, cache: Path, coarse: bool, progress: Callable[[str], None]) -> list[Row]:
    """All rows of a network, by running NNCodec.

    Args:
        cache: folder of its virtual environment.
        coarse: use every second quantisation parameter, and two values for other tensors.
    """
    with nncodec_peer.session(judge.case.network.state_dict(), cache) as session:

        def code(options: dict[str, Any], form: str) -> Any:
            return session.code(options, form)

        families = [
            (TUNED, nncodec_grid.tuned(code, coarse)),
            (DEFAULT, nncodec_grid.defaults(code, coarse)),
            (RATED, nncodec_grid.rated(code, coarse)),
        ]
        rows = [row for name, entries in families if (row := chosen(name, judge, entries, progress))]
        rows.append(row_of(UNTOUCHED, judge, nncodec_grid.untouched(code)))
        rows += [row_of(POINT, judge, entry) for entry in nncodec_grid.curve(code, coarse)]
    return rows


def keep(network: str, rows: list[Row], path: Path = KEPT) -> None:
    """Write the rows of a network to the file, replacing earlier ones."""
    versions = {
        "nncodec": nncodec_peer.VERSION,
        "torch": str(torch.__version__),
        "numpy": str(np.__version__),
    }
    others = [line for line in _lines(path) if line["network"] != network]
    lines = [{"network": network, **row.to_json(), "versions": versions} for row in rows]
    atomic.write(path, "".join(json.dumps(line) + "\n" for line in [*others, *lines]).encode())


def kept(network: str, path: Path = KEPT) -> list[Row]:
    """The rows of a network in the file; empty if there are none."""
    names = {field.name for field in fields(Row)}
    return [
        Row(**{k: v for k, v in line.items() if k in names})
        for line in _lines(path)
        if line["network"] == network
    ]


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
