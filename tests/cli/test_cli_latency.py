"""szilard measure --latency: what it prints, at 80 columns and as JSON, and when it refuses."""

from __future__ import annotations

import importlib
import json
import re

import pytest
import torch
from cli_tools import TINY, szilard
from fake_clock import Ticking
from terminal_tools import terminal
from torch import nn

from szilard.cost import clock, fresh_process

TIME = re.compile(r"\d\S* [mµ]?s\b")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "digits"
    assert szilard("fit", *TINY, "--density", "0.3", "--out", out, "--quiet").code == 0
    return out


@pytest.fixture
def jobs(monkeypatch):
    """Jobs run here and are listed, by a clock that ticks 2**-6 s at each reading, 15.6 ms."""
    done = []

    def here(job, arguments, *, threads):
        done.append((job, threads))
        module, _, function = job.partition(":")
        return json.loads(json.dumps(getattr(importlib.import_module(module), function)(**arguments)))

    monkeypatch.setattr(fresh_process, "in_fresh_process", here)
    monkeypatch.setattr(clock, "CLOCK", Ticking(2**-6))
    return done


@pytest.fixture
def noisy(jobs, monkeypatch):
    monkeypatch.setattr(clock, "CLOCK", Ticking(2**-6, share=0.3))


def test_a_run_in_one_fresh_process(run, jobs):
    typed = szilard("measure", run, "--latency", "--json", "--threads", 2, "--batch", 4)
    assert typed.code == 0, typed.output
    assert jobs == [("szilard.cli.latency_runs:measure_here", 2)]
    rows = json.loads(typed.stdout)["networks"]
    assert [row["method"] for row in rows] == ["ssvi", "deterministic", "mean-field"]
    for row in rows:
        time = row["latency"]
        assert time["median"] == time["p10"] == time["p90"] == 2**-6
        assert (time["batch"], time["threads"], time["calls_per_reading"]) == (4, 2, 1)
        assert time["runtime"] == f"plain PyTorch {torch.__version__.partition('+')[0]}"
        assert time["noise"]["spread"] == 1
        assert 1 <= time["noise"]["share"] <= 1.5  # the clock ticks once more for the processor's seconds
        assert time["noise"]["reasons"] == []
        assert "layers" not in time
        assert row["cost"]["seconds_per_inference"] == {
            "value": 2**-6, "source": "measured", "batch": 4, "threads": 2,
        }  # fmt: skip
    assert torch.get_num_threads() == 1


def test_tables(run, jobs):
    typed = szilard("measure", run / "ssvi", "--latency", "--by-layer")
    assert typed.code == 0, typed.output
    lines = typed.output.splitlines()
    heading = next(line for line in lines if line.startswith("Time per inference"))
    version = torch.__version__.partition("+")[0]
    assert heading == f"Time per inference, batch 1, plain PyTorch {version}, 1 thread"
    row = lines[lines.index(heading) + 3]
    assert row.startswith("SSVI, 30 % of weights")
    assert re.findall(TIME, row) == ["15.6 ms"] * 3
    layers = lines[next(i for i, line in enumerate(lines) if line.startswith("Time of each layer")) :]
    assert [line.split()[1] for line in layers if re.search(r"1 +15\.6 ms\s+100\.0 %$", line)] == [
        "Flatten", "Linear", "ReLU", "Linear",
    ]  # fmt: skip
    assert layers[-1] == (
        "Sum of the layers: 62.5 ms; whole network: 15.6 ms; error of this table: +300.0 %."
    )
    assert "seconds" in typed.output  # the column of the main table
    assert not szilard("measure", run / "ssvi").output.count("Time per inference")


def test_many_layers_are_cut_to_the_slowest():
    from szilard.cli import latency_tables

    rows = [{"name": f"l{n}", "kind": "Linear", "calls": 1, "seconds": 1.0 + n % 60} for n in range(60)]
    quiet = {"reasons": []}
    found = {"rows": rows, "total": 1830.0, "network": 1830.0, "error": 0.0, "noise": quiet}
    time = {
        "median": 1830.0, "p10": 1830.0, "p90": 1830.0, "readings": 3, "calls_per_reading": 4, "batch": 1, "threads": 3,
        "runtime": "r", "noise": quiet, "layers": found,
    }  # fmt: skip
    first, table = latency_tables.tables([{"name": "n", "latency": time}])
    assert first.title.endswith("r, 3 threads")
    assert "up to 4 consecutive calls" in first.notes[0]
    assert list(table.columns[0].cells) == [f"l{n}" for n in range(10, 60)]
    assert table.notes == [
        "10 faster layers, 55 s together, are in --json.",
        "Sum of the layers: 30 min; whole network: 30 min; error of this table: ±0.0 %.",
    ]


def test_weights_of_somebody_else(jobs, tmp_path):
    (tmp_path / "n.py").write_text(
        "from torch import nn\ndef build(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    torch.save(network.state_dict(), tmp_path / "w.pt")
    words = (tmp_path / "w.pt", "--network", f"{tmp_path / 'n.py'}:build", "--data", "digits")
    typed = szilard("measure", *words, "--latency", "--by-layer", "--json")
    assert typed.code == 0, typed.output
    time = json.loads(typed.stdout)["networks"][0]["latency"]
    assert [(layer["name"], layer["kind"]) for layer in time["layers"]["rows"]] == [
        ("0", "Flatten"),
        ("1", "Linear"),
    ]
    assert time["layers"]["total"] == 2 * 2**-6
    assert time["layers"]["error"] == 2**-6


def test_a_compressed_file(run, jobs, tmp_path):
    assert szilard("compress", run, "--out", tmp_path / "d.szd", "--lam", 1e-4).code == 0
    typed = szilard("measure", tmp_path / "d.szd", "--latency", "--json")
    assert typed.code == 0, typed.output
    assert json.loads(typed.stdout)["networks"][0]["latency"]["median"] == 2**-6


def test_a_noisy_machine_is_refused(run, noisy):
    typed = szilard("measure", run, "--latency")
    typed.refused(
        r"the machine is too noisy to measure latency now: the process had a processor for 45 % of the time "
        r"\(at least 90 % is needed\); stop other programs and measure again, or use --noisy for figures that are "
        r"labelled as noisy$"
    )
    assert not typed.stdout


def test_noisy_figures_are_labelled(run, noisy):
    typed = szilard("measure", run / "ssvi", "--latency", "--noisy", "--by-layer")
    assert typed.code == 0, typed.output
    assert "Time per inference (noisy machine), batch 1" in typed.output
    assert "Time of each layer, run alone (noisy machine), SSVI" in typed.output
    said = "The machine was too noisy for these figures: the process had a processor for "
    assert typed.output.count(said) == 2
    row = json.loads(szilard("measure", run / "ssvi", "--latency", "--noisy", "--json").stdout)["networks"][0]
    assert "seconds_per_inference" not in row["cost"]  # costs are compared without a label
    assert len(row["latency"]["noise"]["reasons"]) == 1


def test_mistakes(run):
    szilard("measure", run, "--by-layer").refused(
        "--by-layer is an option of --latency; add --latency, or leave"
    )
    szilard("measure", run, "--batch", 2).refused("--batch is an option of --latency")
    szilard("measure", run, "--latency", "--batch", 0).refused("--batch must be at least 1, not 0")
    szilard("measure", run, "--latency", "--threads", -1).refused("--threads must be at least 1, not -1")
    szilard("measure", run, "--latency", "--threads", 100_000).refused(
        "--threads is 100000, and this process may use"
    )


@pytest.mark.slow  # three processes; the table itself is tested above
def test_the_real_command_in_a_terminal_of_80_columns(run):
    seen = terminal(80, "measure", run / "mean-field", "--latency", "--noisy", "--by-layer")
    assert seen.code == 0, seen.text
    assert max(map(len, seen.lines)) <= 80
    assert "Time per inference" in seen.text
    assert seen.text.count("Time of each layer") == 1
    times = [line for line in seen.lines if len(re.findall(TIME, line)) == 3]
    assert len(times) == 1, seen.text


def test_other_commands_of_a_run_know_a_measured_inference(run, tmp_path):
    """A result with and without the figure opens, and the report has a column if a method has it."""
    path = run / "ssvi" / "result.json"
    before = path.read_text()
    assert "time / inference" not in (run / "report.html").read_text()
    result = json.loads(before)
    result["cost"]["seconds_per_inference"] = {
        "value": 0.00125,
        "source": "measured",
        "batch": 1,
        "threads": 1,
    }
    path.write_text(json.dumps(result))
    try:
        typed = szilard("report", run, "--json")
        assert typed.code == 0, typed.output
        rows = json.loads(typed.stdout)["networks"]
        assert rows[0]["cost"]["seconds_per_inference"]["threads"] == 1
        assert "seconds_per_inference" not in rows[1]["cost"]
        page = (run / "report.html").read_text()
        assert "time / inference" in page
        assert "1.25 ms" in page
    finally:
        path.write_text(before)
