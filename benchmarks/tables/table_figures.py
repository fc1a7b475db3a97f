"""Figures of tables: is uncertainty larger for an unseen category, and are printed tables complete at 80 columns?"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tables.table_files import TABLES, base, text, with_
from tables.table_runs import Tried, command, predicted

WIDTH = 80
UNSEEN = "ultraviolet"
PATIENCE = 240  # time limit of one command, seconds


def unseen_category(seeds: Iterable[int]) -> dict[str, Any]:
    """Mean epistemic uncertainty of SSVI for rows with a category that is not in the training set, divided by that for
    the same rows with known categories; for each seed."""
    columns = base(400, seed=5)
    ratios = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            tried = Tried(TABLES["plain"], Path(folder))
            tried.file.write_bytes(text(columns).encode())
            command(
                "fit", "--data", tried.file, "--target", "y", "--network", "mlp:32", "--method", "ssvi", "--density",
                "0.3", "--no-baselines", "--epochs", "40", "--seed", str(seed), "--out", tried.run("run"), "--quiet",
            )  # fmt: skip
            known, unseen = (_epistemic(tried, colour) for colour in (None, UNSEEN))
        ratios.append(unseen / known)
    return {
        "rises": min(ratios) > 1,
        "ratios": [round(r, 3) for r in ratios],
        "mean": statistics.fmean(ratios),
    }


def _epistemic(tried: Tried, colour: str | None) -> float:
    columns = base(200, seed=6)
    if colour is not None:
        columns = with_(columns, colour=[colour] * 200)
    file = tried.folder / "new.csv"
    file.write_bytes(text(columns).encode())
    return statistics.fmean(float(row["epistemic"]) for row in predicted(tried, "ssvi", file))


# -- a terminal -----------------------------------------------------------------------------------------


def whole() -> dict[str, Any]:
    """Whether commands in a terminal of 80 columns print complete numbers, and no line that is longer."""
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        run = str(Path(folder) / "run")
        network = str(Path(folder) / "run" / "ssvi" / "network.pt")
        small = str(Path(folder) / "small.szd")
        commands = {
            "fit": ["fit", "--data", "digits", "--epochs", "15", "--network", "mlp:32", "--out", run],
            "measure": ["measure", run],
            "compress": ["compress", network, "--out", small],
            "inspect": ["inspect", small],
            "inspect --tensors": ["inspect", small, "--tensors"],
            "report": ["report", run],
        }
        for name, arguments in commands.items():
            code, printed = in_terminal(arguments, WIDTH)
            if code:
                faults.append(f"{name} ended with {code}: {printed.strip()[-120:]}")
                continue
            wanted = _figures(Path(run)) if name in ("fit", "measure") else []
            faults += [f"{name}: {fault}" for fault in faults_of(printed, WIDTH, wanted)]
    return {"whole": not faults, "faults": faults[:12]}


def in_terminal(arguments: list[str], width: int) -> tuple[int, str]:
    """Exit code and output of a command in a terminal with ``width`` columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    given = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "szilard", *arguments], stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True,
        env=given | {"TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(theirs)
    held = bytearray()
    with contextlib.suppress(OSError):  # the terminal was closed
        while chunk := os.read(ours, 65536):
            held += chunk
    os.close(ours)
    return process.wait(PATIENCE), held.decode(errors="replace")


def faults_of(printed: str, width: int, wanted: list[float]) -> list[str]:
    """Lines that are too long, truncated numbers, and figures of ``wanted`` that are missing (as 0.912 or 91.2)."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed)
    lines = [part for line in plain.replace("\r\n", "\n").split("\n") for part in line.split("\r")]
    faults = [
        f"a line of {len(line)} columns: {line.strip()[:60]}" for line in lines if len(line.rstrip()) > width
    ]
    for line in lines:
        if re.search(r"\d\S*…|…\s*│|│\s*…", line):
            faults.append(f"truncated: {line.strip()[:70]}")
    whole_text = " ".join(lines)
    for figure in wanted:
        if not any(
            shown in whole_text for shown in (f"{figure:.3f}", f"{100 * figure:.1f}", f"{100 * figure:.2f}")
        ):
            faults.append(f"{figure:.3f} is missing or truncated")
    return list(dict.fromkeys(faults))


def _figures(run: Path) -> list[float]:
    """Test accuracy of each network of a run."""
    found = [json.loads(path.read_text()) for path in sorted(run.glob("*/result.json"))]
    return [result["test"]["accuracy"] for result in found]
