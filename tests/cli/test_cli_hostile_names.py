"""Names with formulas, markup and control characters are escaped in tables, reports and predictions."""

from __future__ import annotations

import csv
import io

import pytest
from cli_tools import szilard

pytestmark = pytest.mark.pictures

HOSTILE = [
    "=cmd|' /C calc'!A0",
    "[red]x[/red]\x1b[2J",
    "<script>alert(1)</script>\u202e$\\frac{",
    "-1 or less",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run on a table with hostile classes, column and file names; the classes are easy to predict."""
    folder = tmp_path_factory.mktemp("e")
    rows = [[f"{10 * (i % 4) + 0.01 * i:.2f}", f"{i % 7}", HOSTILE[i % 4]] for i in range(160)]
    with open(folder / "[red].csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["a\x1b[2J[red]", "=b\u202e", "y\u200b"], *rows])
    typed = szilard(
        "fit", "--data", folder / "[red].csv", "--target", "y\u200b", "--network", "mlp:16", "--density", 1,
        "--lr", 0.05, "--epochs", 12, "--batch-size", 16, "--samples", 8,
        "--option", "lr_log_std=1", "--no-baselines", "--out", folder / "[bold]run\u202e",
    )  # fmt: skip
    assert typed.code == 0, typed.output
    assert "[red].csv, test set" in typed.output
    assert not set(typed.output) & set("\x1b\u202e\u200b")
    return folder


def test_report_page(folder):
    html = (folder / "[bold]run\u202e" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in html
    assert not set(html) & set("\x1b\u202e\u200b")


def test_report_of_two_runs(folder):
    run = folder / "[bold]run\u202e"
    typed = szilard("report", run, run)
    assert typed.code == 0, typed.output
    assert r"[bold]run\u202e: SSVI" in typed.output
    assert not set(typed.output) & set("\x1b\u202e\u200b")


def test_predictions(folder):
    typed = szilard("predict", folder / "[bold]run\u202e", folder / "[red].csv", "--samples", 8)
    assert typed.code == 0, typed.output
    assert not set(typed.output) & set("\x1b\u202e\u200b\r")
    found = list(csv.DictReader(io.StringIO(typed.output)))
    assert len(found) == 160
    shown = [
        "'" + HOSTILE[0],
        r"[red]x[/red]\x1b[2J",
        r"<script>alert(1)</script>\u202e$\frac{",
        "'-1 or less",
    ]
    right = [row["label"] == shown[i % 4] for i, row in enumerate(found)]
    assert sum(right) > 100
    assert {row["label"] for row in found} == set(shown)


def test_error_message(folder):
    (folder / "b.csv").write_text("x\x1b[2J\u202e,y\n1,2\n", encoding="utf-8")
    typed = szilard("predict", folder / "[bold]run\u202e", folder / "b.csv")
    typed.refused(r"has no column 'a\\x1b\[2J\[red\]'.* it has x\\x1b\[2J\\u202e, y")
