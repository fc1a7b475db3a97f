"""The report's section on sparse training: what the log's supports become, and what damaged lines leave out."""

from __future__ import annotations

import json

import pytest
from report_folders import classification

from szilard import report
from szilard.report.support_section import history
from szilard.run.read import MethodRun

pytestmark = pytest.mark.pictures("support_section")


def supports(density=0.05, replaced=0.1, alive=0.07, layers=None):
    layers = layers or {"first": [density, replaced, alive], "second": [2 * density, replaced, alive]}
    return {"density": density, "replaced": replaced, "ever_alive": alive, "layers": layers}


def log(run, key, lines):
    path = run / key / "metrics.jsonl"
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text(
        "".join(json.dumps(e | {"supports": s}) + "\n" for e, s in zip(entries, lines, strict=True))
    )


def section(run):
    for path in run.glob("*/result.json"):
        result = json.loads(path.read_text())
        result["cost"]["parameters"] = {"value": 4000, "source": "counted"}
        path.write_text(json.dumps(result))
    text = report.write(run).read_text()
    start = text.find("<h2>Sparse training")
    return text[start : text.index("</section>", start)] if start >= 0 else ""


@pytest.fixture
def run(tmp_path):
    return classification(tmp_path / "run", ("ssvi", "deterministic"))


def test_nothing_without_a_log_of_supports(run):
    assert section(run) == ""


def test_a_constant_number_of_entries(run):
    log(run, "ssvi", [supports(alive=0.05 + 0.01 * n) for n in range(3)])
    part = section(run)
    for title in (
        "Accuracy, by density",
        "Accuracy, by training FLOPs",
        "Entries replaced",
        "Entries ever alive",
    ):
        assert f">{title}<" in part
    assert part.count("<figure>") == 4


def test_a_number_of_entries_that_falls_is_shown_by_layer(run):
    log(run, "ssvi", [supports(density) for density in (0.5, 0.2, 0.05)])
    part = section(run)
    assert part.count("<figure>") == 5
    assert "density by layer" in part
    assert ">second<" in part


def test_entries_that_never_move_have_no_plots_of_moves(run):
    log(run, "ssvi", [supports(replaced=0.0)] * 3)
    part = section(run)
    assert "Entries replaced" not in part
    assert "Entries ever alive" in part


@pytest.mark.parametrize(
    "bad",
    [
        None, [], "x", {}, supports() | {"density": 1.5}, supports() | {"replaced": "0"},
        supports() | {"ever_alive": True}, supports() | {"layers": []}, supports() | {"density": None},
    ],
)  # fmt: skip
def test_a_damaged_line_is_left_out(bad):
    entries = [{"epoch": n, "supports": one} for n, one in enumerate([supports(0.5), bad, supports(0.05)])]
    found = history(MethodRun("ssvi", 0, history=entries))
    assert [epoch.epoch for epoch in found] == [0, 2]


def test_damaged_layers_are_left_out():
    entries = [{"epoch": 1, "supports": supports(layers={"a": [0.1, 0, 0], "b": [], "c": 3, "d": [2.0]})}]
    (epoch,) = history(MethodRun("ssvi", 0, history=entries))
    assert epoch.layers == {"a": 0.1}
