"""Tables, messages and the progress bar in terminals of 60, 80 and 120 columns, and without colours or terminal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
import torch
from cli_tools import TINY, environment, szilard
from fake_clock import Ticking
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from torch import nn

import szilard as package
from szilard.cli import table
from szilard.cli.figures import COST, QUALITY
from szilard.cli.table import Column, Table
from szilard.cost import clock
from szilard.training.progress import fitted

pytestmark = pytest.mark.skipif(os.name != "posix", reason="terminals of a POSIX system")
WIDTHS = (60, 80, 120)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("terminal")
    assert szilard("fit", *TINY, "--density", "0.3", "--out", folder / "run", "--quiet").code == 0
    prefix = "model.encoder.backbone.blocks"
    state = {
        f"{prefix}.{k}": v
        for k, v in nn.Sequential(*[nn.Linear(70, 70) for _ in range(3)]).state_dict().items()
    }
    torch.save({"state_dict": state}, folder / "deep.pt")
    package.convert(folder / "deep.pt", folder / "deep.szd")
    torch.save({name: value + 1e-3 for name, value in state.items()}, folder / "other.pt")
    return folder


COMMANDS = {
    "measure": ["measure", "run"],
    "report": ["report", "run", "run"],
    "listing": ["inspect", "deep.pt"],
    "inspect": ["inspect", "deep.szd", "--tensors"],
    "verify": ["verify", "deep.szd", "--against", "other.pt"],
    "compress": ["compress", "run", "--lam", "1e-3", "-o", "o.szd"],
    "convert": ["convert", "deep.szd", "deep.safetensors"],
    "deploy": ["deploy", "run", "--backend", "eager"],
    "refused": ["measure", "run", "--data", "concrete", "--samples", "0"],
}


REAL = [("inspect", 60), ("inspect", 120), ("measure", 80)]  # each starts a process, which takes seconds
ALL = [(name, columns) for name in COMMANDS for columns in WIDTHS if name != "refused"]


@pytest.mark.parametrize(
    ("name", "columns"), [one if one in REAL else pytest.param(*one, marks=pytest.mark.slow) for one in ALL]
)
def test_command_in_a_real_terminal(folder, name, columns, monkeypatch):
    from terminal_tools import terminal

    monkeypatch.chdir(folder)
    seen = terminal(columns, *COMMANDS[name])
    assert seen.code == 0, seen.text
    _check(seen.lines, columns)
    if name == "measure":
        assert seen.text.count("SSVI, 30 % of weights") == 1 or "weights" in seen.text
        assert "accuracy ↑" in seen.text


def _check(lines, columns):
    text = "\n".join(lines)
    assert "…" not in text
    assert max(map(cell_len, lines)) <= columns, max(lines, key=cell_len)
    assert "\x1b" not in text


class TestSimulatedTerminal:
    """The same commands in this process, with a simulated terminal width."""

    @pytest.fixture(params=WIDTHS)
    def columns(self, request, monkeypatch):
        from szilard.cli import output

        monkeypatch.setattr(output, "columns", lambda stream: request.param)
        monkeypatch.setenv("TERM", "xterm")
        return request.param

    @pytest.mark.parametrize("name", list(COMMANDS))
    def test_every_command(self, folder, name, columns, monkeypatch):
        monkeypatch.chdir(folder)
        monkeypatch.setattr(clock, "CLOCK", Ticking(2**-6))
        typed = szilard(*COMMANDS[name])
        assert typed.code == (2 if name == "refused" else 0), typed.output
        text = re.sub(r"\x1b\[\d?m", "", typed.output)
        _check(text.splitlines(), columns)
        if name in ("listing", "inspect", "verify"):
            for number in range(3):
                assert f"model.encoder.backbone.blocks.{number}.weight" in text
            assert "19,600" in text or name != "listing"

    @pytest.fixture(scope="class")
    def whole(self, folder):
        """The table with --wide, and the figures of --json."""
        wide = szilard("measure", folder / "run", "--wide").output
        return wide, json.loads(szilard("measure", folder / "run", "--json").stdout)

    def test_no_number_is_truncated(self, folder, whole, columns, monkeypatch):
        """A figure is shown as in the table with --wide, or its column is named as left out."""
        monkeypatch.chdir(folder)
        narrow = szilard("measure", "run").output
        wide, found = whole
        for row in found["networks"]:
            for key, figure in (QUALITY | COST).items():
                value = row["quality"].get(key, row["cost"].get(key, {}).get("value"))
                if value is None:
                    continue
                assert figure.show(value) in wide.split()
                assert figure.show(value) in narrow.split() or figure.heading in " ".join(narrow.split())


def test_wide_leaves_nothing_out(folder, monkeypatch):
    from szilard.cli import output

    monkeypatch.setattr(output, "columns", lambda stream: 60)
    several = ["report", *[str(folder / "run")] * 3]
    narrow = " ".join(szilard(*several).output.split())
    assert "Not shown for lack of width" in narrow
    assert "--wide or report.html shows them" in narrow
    assert "Not shown" not in szilard(*several, "--wide").output


texts = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=30)


@given(
    st.integers(1, 8).flatmap(
        lambda n: st.lists(st.lists(texts, min_size=n, max_size=n), min_size=1, max_size=8)
    ),
    st.integers(20, 120),
    st.booleans(),
)
def test_random_tables_fit_or_name_the_missing_columns(cells, width, turns):
    columns = [Column([f"h{i}"], column, worth=None if i == 0 else i) for i, column in enumerate(cells)]
    lines = table.lines(Table(columns, transposes=turns), width)
    together = "\n".join(lines)
    assert "…" not in together or any("…" in cell for column in cells for cell in column)
    for line in lines:  # only a cell that is longer than the terminal may exceed its width
        assert (
            cell_len(line) <= width
            or cell_len(line.strip()) <= max(cell_len(c) for col in cells for c in col) + 3
        )
    for cell in cells[0]:  # names are always complete
        assert cell in together or all(part in together for part in cell.split())
    left = "Not shown" in together
    for i, column in enumerate(cells[1:], 1):
        for cell in column:
            assert cell in together or (left and f"h{i}" in together)


@given(
    st.sampled_from(["SSVI, 5 % of weights", "dense mean-field", "deterministic, 30 % of weights"]),
    st.integers(1, 1000), st.integers(1, 1000), st.floats(0, 99), st.floats(0, 99), st.integers(60, 200),
)  # fmt: skip
def test_the_progress_bar_fits_the_width(label, epoch, epochs, energy, cost, width):
    shown, figures, length = fitted(label, epoch, epochs, (energy, cost), "valid accuracy 0.900", width)
    assert len(shown) + length + len(figures) + 7 + 4 <= width
    assert length >= 6
    assert f"{epoch}/{epochs}" in figures
    assert f"F {energy + cost:.3f}" in figures
    if width >= 80:
        assert f"epoch {epoch}/{epochs}" in figures
    if width >= 130:
        assert "valid accuracy" in figures
        assert " = " in figures


@pytest.mark.slow
def test_the_progress_bar_in_a_terminal(folder):
    from terminal_tools import terminal

    seen = terminal(80, "fit", *TINY, "--no-baselines", "--epochs", 40, "--out", folder / "bar")
    assert seen.code == 0, seen.text
    bars = [line for line in re.split(r"[\r\n]", seen.text) if "━" in line and "F " in line]
    assert bars
    assert all(len(line) <= 80 for line in bars)
    assert re.search(
        r"━ +epoch 40/40  F -?\d+\.\d{3}( nats)?(?:  valid accuracy \d\.\d{3})? +\d:\d\d:\d\d", bars[-1]
    )


@pytest.mark.slow
def test_without_colours_there_are_no_control_characters(folder, monkeypatch):
    from terminal_tools import terminal

    monkeypatch.chdir(folder)
    seen = terminal(80, "fit", *TINY, "--no-baselines", "--out", "plain", NO_COLOR="1")
    assert seen.code == 0, seen.text
    assert "\x1b" not in seen.raw
    assert "\r" not in seen.raw.replace("\r\n", "\n")
    assert re.search(r"^SSVI, 5 % of weights: epoch 2/2, .*, \d+ s$", seen.text, re.MULTILINE)


@pytest.mark.slow
def test_without_a_terminal_there_are_no_control_characters(folder):
    command = [
        sys.executable,
        "-m",
        "szilard",
        "fit",
        *TINY,
        "--no-baselines",
        "--out",
        str(folder / "piped"),
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    assert not {"\x1b", "\r", "\b"} & set(done.stdout + done.stderr)
    assert json.loads(done.stdout)["networks"][0]["quality"]["accuracy"] > 0
