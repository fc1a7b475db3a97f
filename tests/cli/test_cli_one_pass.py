"""szilard measure --one-pass: ways to predict are compared, and saved for the report of the run."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest
import torch
from cli_tools import TINY, szilard
from fake_clock import Ticking

from szilard import data
from szilard.cli import one_pass_tables
from szilard.cost import clock, fresh_process
from szilard.model import one_pass
from szilard.training import load_network


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "digits"
    assert szilard("fit", *TINY, "--density", "0.3", "--method", "ssvi", "--out", out, "--quiet").code == 0
    return out


@pytest.fixture
def here(monkeypatch):
    """Jobs run in this process, by a clock that ticks 2**-6 s at each reading, 15.6 ms."""

    def job_here(job, arguments, *, threads):
        module, _, function = job.partition(":")
        return json.loads(json.dumps(getattr(importlib.import_module(module), function)(**arguments)))

    monkeypatch.setattr(fresh_process, "in_fresh_process", job_here)
    monkeypatch.setattr(clock, "CLOCK", Ticking(2**-6))


def test_the_ways_are_those_of_predict(run):
    typed = szilard("measure", run, "--one-pass", "--json")
    assert typed.code == 0, typed.output
    rows = json.loads(typed.stdout)["networks"]
    # a deterministic network has nothing to compare
    assert ["one_pass" in row for row in rows] == [True, False, True]
    found = rows[0]["one_pass"]
    loaded = data.load("digits", n_train=100)
    saved = load_network(str(run / "ssvi" / "network.pt"))
    assert found["inputs"] == 300
    assert found["of_inputs"] == len(loaded.test)
    assert found["ood"] == loaded.judged_ood_name
    chosen = torch.linspace(0, len(loaded.test) - 1, 300).long()
    x, y = loaded.test.x[chosen], loaded.test.y[chosen]
    by_way = {(way["kind"], way["draws"]): way for way in found["predictions"]}
    assert list(by_way) == [("point", 0), ("moments", 0), *(("draws", n) for n in (1, 3, 10, 30, 100))]
    for way, predicted in (
        (("draws", 3), saved.method.predict(saved.network, x, samples=3)),
        (("moments", 0), saved.method.predict_one_pass(saved.network, x)),
    ):
        wanted = float((predicted.labels == y).double().mean())
        assert by_way[way]["quality"]["accuracy"] == pytest.approx(wanted)
        assert 0 < by_way[way]["quality"]["auroc_best"] <= 1
        assert by_way[way]["seconds"] is None
    drawn = saved.method.predict(saved.network, x, samples=100).epistemic().mean() * 100 / 99
    one = saved.method.predict_one_pass(saved.network, x).epistemic().mean()
    assert found["epistemic_ratio"] == pytest.approx(float(one / drawn), rel=1e-4)
    pairs = found["deviations"]
    assert len(pairs["moments"]) == len(pairs["sampled"]) == 500
    assert np.corrcoef(np.log(pairs["moments"]), np.log(pairs["sampled"]))[0, 1] > 0.8
    kept = json.loads((run / "ssvi" / "one_pass.json").read_text())
    assert {key: kept[key] for key in found} == found
    assert szilard("report", run).code == 0
    assert "<h2>One pass instead of draws" in (run / "report.html").read_text()


@pytest.mark.parametrize(
    ("ratio", "error", "warning"),
    [
        (0.66, 0.0, "too little"),
        (0.68, 0.0, ""),
        (1.4, 0.0, ""),
        (1.6, 0.0, "too much"),
        (0.65, 0.1, ""),
        (0.4, 0.05, "too little"),
        (0.0, 0.0, "too little"),
        (2.0, 0.4, ""),
        (None, None, ""),
    ],
)
def test_a_ratio_far_from_one_by_more_than_its_error_is_a_warning(ratio, error, warning):
    pairs = {"moments": [1.0], "sampled": [1.0], "draws": 100, "outputs": 1}
    found = {"predictions": [], "time": None, "deviations": pairs, "inputs": 300, "of_inputs": 359}
    both = {"epistemic_ratio": ratio, "epistemic_ratio_error": error}
    (table,) = one_pass_tables.tables([{"name": "n", "one_pass": found | both}])
    text = " ".join(table.notes)
    shown = (
        ""
        if ratio is None
        else f"Epistemic uncertainty: one pass / 100 draws = {ratio:.2f} ±{error:.2f} (means over 300"
    )
    assert shown in text
    assert ("Warning" in text) == bool(warning)
    assert warning in text


def test_times_of_every_way(run, here, monkeypatch):
    monkeypatch.setattr(one_pass, "DRAWS", (1, 3, 100))
    typed = szilard("measure", run / "ssvi" / "network.pt", "--one-pass", "--latency", "--batch", 2, "--json")
    assert typed.code == 0, typed.output
    found = json.loads(typed.stdout)["networks"][0]["one_pass"]
    assert (found["time"]["batch"], found["time"]["threads"], found["time"]["noise"]) == (2, 1, [])
    for way in found["predictions"]:
        # A draw seems to take a tick, so that 100 draws seem to take 1.6 s, and are left out.
        assert way["seconds"] == (None if way["draws"] == 100 else 2**-6)
    assert {way["runtime"] for way in found["predictions"]} > {"PyTorch"}
    (table,) = one_pass_tables.tables([{"name": "n", "one_pass": found}])
    assert list(table.columns[-1].cells) == ["15.6 ms"] * 4 + ["-"] + ["15.6 ms"] * (
        len(found["predictions"]) - 5
    )
    assert "Draws that take more than 1 s a call are not timed." in table.notes


def test_a_noisy_machine_saves_nothing(run, here, monkeypatch):
    (run / "ssvi" / "one_pass.json").unlink(missing_ok=True)
    monkeypatch.setattr(clock, "CLOCK", Ticking(2**-6, share=0.3))
    szilard("measure", run, "--one-pass", "--latency").refused("too noisy to measure latency now")
    assert not (run / "ssvi" / "one_pass.json").exists()


def test_what_has_nothing_to_compare(run, tmp_path):
    szilard("measure", run / "deterministic", "--one-pass").refused("no weight of .* has uncertainty")
    (tmp_path / "n.py").write_text(
        "from torch import nn\n\n\nclass N(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.a = nn.Linear(64, 10)\n\n    def forward(self, x):\n"
        "        return self.a(x.flatten(1)).cumsum(1)\n\n\ndef build():\n    return N()\n"
    )
    own = (
        "--network",
        f"{tmp_path / 'n.py'}:build",
        "--no-baselines",
        "--density",
        1,
        "--out",
        tmp_path / "own",
    )
    assert szilard("fit", *TINY, "--epochs", 1, *own, "--quiet").code == 0
    szilard("measure", tmp_path / "own", "--one-pass").refused(
        "has no prediction in one pass: there is no rule for the mean and variance of cumsum; leave out --one-pass$"
    )
    torch.save(torch.nn.Linear(64, 10).state_dict(), tmp_path / "w.pt")
    szilard("measure", tmp_path / "w.pt", "--network", "mlp", "--one-pass").refused("holds plain weights")


def test_other_data_are_not_saved(run):
    (run / "ssvi" / "one_pass.json").unlink(missing_ok=True)
    typed = szilard("measure", run / "ssvi", "--one-pass", "--data", "digits")
    assert typed.code == 0, typed.output
    assert "One pass and draws" in typed.output
    assert not (run / "ssvi" / "one_pass.json").exists()
