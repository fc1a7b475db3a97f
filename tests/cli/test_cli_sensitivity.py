"""szilard measure --sensitivity: the chart, its files and its JSON."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from cli_tools import TINY, szilard
from test_cli_json import check, documented

from szilard.cli import output, sensitivity_chart, sensitivity_run
from szilard.compression.policies import sensitivity

BUILD = """
from torch import nn
def build():
    layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
    return layers
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A network whose first layer is sensitive, measured in a folder of its own."""
    folder = tmp_path_factory.mktemp("sensitivity")
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 10)
    )
    torch.save(network.state_dict(), folder / "net.pt")
    (folder / "n.py").write_text(BUILD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.chdir(folder)
        words = ("measure", "net.pt", "--network", "n.py:build", "--data", "digits", "--sensitivity")
        yield folder, words, szilard(*words, "--json")


def test_json_is_documented_and_kept(measured):
    folder, _, typed = measured
    assert typed.code == 0, typed.output
    found = json.loads(typed.stdout)
    check(found, documented("szilard measure", 1))
    assert json.loads((folder / "net.sensitivity.json").read_text()) == found
    assert (found["file"], found["report"]) == ("net.sensitivity.json", "net.sensitivity.html")
    assert found["inputs"] == 256
    first, last = found["layers"]
    assert first["name"] == "1"
    assert first["half"] > first["eight"] > 0
    assert last["half"] is None  # the classes
    assert "3" in found["whole"]
    half = [one["nats"] for one in found["options"] if one["option"] == 4]
    assert half == [first["half"]]
    assert "<h2>Sensitivity</h2>" in (folder / "net.sensitivity.html").read_text()


def test_the_chart_fits_80_columns_and_nothing_is_measured_twice(measured, monkeypatch):
    _, words, _typed = measured
    monkeypatch.setattr(output, "columns", lambda stream: 80)
    monkeypatch.setattr(sensitivity.PolicyEffect, "kl", None)  # would fail
    shown = szilard(*words)
    assert shown.code == 0, shown.output
    assert max(map(len, shown.stdout.splitlines())) <= 80
    rows = [line for line in shown.stdout.splitlines() if line.startswith(("1 ", "3 "))]
    assert "█" * 16 in rows[0]
    assert rows[1].split()[1] == "-"
    assert "3 keeps all channels" in shown.stdout


def test_bars_are_shares_of_the_largest():
    assert sensitivity_chart._cells([0.4, 0.2, None, 0.0125]) == [
        "████████████████    0.4",
        "████████            0.2",
        "                      -",
        "▌                0.0125",
    ]
    assert sensitivity_chart._cells([0.0, float("inf")]) == ["                   0", "████████████████ inf"]


def test_a_run_and_its_mean_weights(tmp_path, monkeypatch, measured):
    run = tmp_path / "run"
    assert szilard("fit", *TINY, "--method", "ssvi", "--no-baselines", "--out", run, "--quiet").code == 0
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shown = szilard("measure", run, "--sensitivity")
    assert shown.code == 0, shown.output
    assert "its mean weights are used" in shown.output
    assert {path.name for path in (run / "ssvi").glob("sensitivity*")} == {
        "sensitivity.json",
        "sensitivity.html",
    }
    assert szilard("measure", run).code == 0  # the folder is a run as before
    shutil.rmtree(run)


def test_bad_input(measured):
    folder, words, _ = measured
    szilard(*words, "--latency").refused("--sensitivity and --latency are two measurements")
    szilard(*words, "--one-pass").refused("--sensitivity and --one-pass are two measurements")
    szilard(*words[:4], "--sensitivity").refused("add --data")
    szilard("measure", folder / "none", "--sensitivity").refused("there is no run or file")


def test_files_are_beside_the_network(tmp_path):
    assert sensitivity_run._beside(tmp_path / "network.pt", ".json") == tmp_path / "sensitivity.json"
    assert sensitivity_run._beside(tmp_path / "a.b.safetensors", ".html") == tmp_path / "a.b.sensitivity.html"
