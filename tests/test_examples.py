"""The examples run with the commands in their README."""

from __future__ import annotations

import re
import runpy
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from cli_tools import szilard

pytestmark = pytest.mark.pictures

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(script: Path) -> None:
    """Run ``python SCRIPT`` inside this process."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        torch.manual_seed(0)
        warnings.simplefilter("ignore")
        runpy.run_path(str(script), run_name="__main__")


@pytest.mark.parametrize("name", ["plain_loop", "lightning_module"])
def test_own_training_loop(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run(EXAMPLES / f"{name}.py")
    assert "'accuracy': 0.9" in capsys.readouterr().out


def test_own_network_and_csv(tmp_path, monkeypatch):
    folder = shutil.copytree(EXAMPLES / "own_network", tmp_path / "own_network")
    monkeypatch.chdir(folder)
    run(folder / "make_csv.py")
    commands = re.findall(r"^szilard (.+)$", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    fit, predict = (command.split() for command in commands)
    fitted = szilard(*fit, "--epochs", 5, "--no-baselines", "--quiet")
    assert fitted.code == 0, fitted.output
    predicted = szilard(*predict)
    assert predicted.code == 0, predicted.output
    assert len((folder / "predictions.csv").read_text().splitlines()) == 443
    assert (folder / "runs" / "diabetes" / "report.html").exists()
