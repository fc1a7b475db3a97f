"""The report's section on one pass: what it plots, what it leaves out and why."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from report_folders import classification, regression

from szilard import report
from szilard.run import one_pass

pytestmark = pytest.mark.pictures("one_pass_section")
WAYS = [("point", 0, "PyTorch"), ("moments", 0, "PyTorch"), *(("draws", n, "PyTorch") for n in (1, 10, 100))]


def content(folder, *, timed=True, ood="photographs", noise=(), quality=None):
    """Deviations of one pass are half of those of draws; a compiled pass takes a tenth of the time."""
    seconds = {"point": 1e-3, "moments": 2e-3}
    rows = [
        {
            "kind": kind,
            "draws": draws,
            "runtime": runtime,
            "quality": quality
            or {"accuracy": 0.9, "nll": 0.3, **({"auroc_best": 0.8 + draws / 1000} if ood else {})},
            "seconds": seconds.get(kind, draws * 1e-3) if timed else None,
        }
        for kind, draws, runtime in WAYS
    ]
    rows.append(rows[1] | {"runtime": "native", "seconds": 2e-4 if timed else None})
    time = {"batch": 1, "threads": 2, "runtime": "PyTorch 9.9", "noise": list(noise)}
    sampled = np.geomspace(0.01, 1, 50)
    return {
        "result": hashlib.sha256((folder / "result.json").read_bytes()).hexdigest(),
        "inputs": 300,
        "of_inputs": 1000,
        "ood": ood,
        "predictions": rows,
        "deviations": {
            "outputs": 900, "draws": 100, "moments": (sampled / 2).tolist(), "sampled": sampled.tolist()
        },
        "time": time if timed else None,
    }  # fmt: skip


def page(run, found, key="ssvi"):
    (run / key / "one_pass.json").write_text(json.dumps(found))
    text = report.write(run).read_text()
    start = text.find("<h2>One pass instead of draws")
    return text[start : text.index("</section>", start)] if start >= 0 else "", text


@pytest.fixture
def run(tmp_path):
    return classification(tmp_path / "run", ("ssvi", "mean-field"))


def test_quality_against_time_and_deviations(run):
    part, text = page(run, content(run / "ssvi"))
    assert part.count("<figure>") == 2
    assert "OOD AUROC, best score, by time of one call" in part
    assert "batch 1, PyTorch 9.9, 2 threads" in part
    assert (
        "one pass 2.00\u00a0ms (200\u00a0µs in native), mean weights 1.00\u00a0ms, 100 draws 100\u00a0ms"
        in part
    )
    assert "50 of 900 outputs; one pass / draws = 0.50 (geometric mean); the sd of 100 draws" in part
    assert "has a standard error of 7\u00a0%" in part
    assert [label in part for label in ("1 ms", "10 ms", "100 ms")] == [True] * 3
    assert report.write(run).read_text() == text
    assert "NaN" not in text


def test_a_run_that_was_not_compared_has_no_section(run):
    assert "One pass" not in report.write(run).read_text()


def test_without_times_the_plot_is_left_out_and_the_section_says_so(run):
    part, _ = page(run, content(run / "ssvi", timed=False))
    assert part.count("<figure>") == 1
    assert "Times have not been measured: szilard measure RUN --one-pass --latency adds them." in part
    assert "by time" not in part


def test_noisy_times_are_labelled(run):
    part, _ = page(run, content(run / "ssvi", noise=["a loop varied 3-fold"]))
    assert "(measured on a noisy machine: a loop varied 3-fold)" in part


def test_without_out_of_distribution_inputs_another_figure_is_plotted(run, tmp_path):
    part, _ = page(run, content(run / "ssvi", ood=None))
    assert "NLL, nats, by time of one call" in part
    assert "AUROC needs out-of-distribution inputs, which this run does not have" in part
    other = regression(tmp_path / "other")
    part, _ = page(other, content(other / "ssvi", ood=None, quality={"rmse": 2.0}))
    assert "RMSE, by time of one call" in part


def test_all_methods_share_the_plot_of_time(run):
    page(run, content(run / "mean-field"), "mean-field")
    part, _ = page(run, content(run / "ssvi"))
    assert part.count("<figure>") == 3
    assert part.count("by time of one call</h3>") == 1


def test_another_training_is_left_out_with_a_note(run):
    found = content(run / "ssvi")
    (run / "ssvi" / "result.json").write_text((run / "ssvi" / "result.json").read_text() + " ")
    part, text = page(run, found)
    assert not part
    assert "ssvi/one_pass.json is of another training than result.json" in text


@pytest.mark.parametrize(
    "change",
    [
        {"predictions": 3},
        {"predictions": [{"kind": "other", "quality": {}}]},
        {"deviations": {"moments": [1.0], "sampled": [], "draws": 3, "outputs": 3}},
        {"deviations": {"moments": [0.0], "sampled": [1.0], "draws": 3, "outputs": 3}},
        {"time": []},
        {"inputs": -1},
        {"ood": 5},
        {"result": None},
    ],
)
def test_a_damaged_file_is_refused(run, change):
    found = content(run / "ssvi")
    assert one_pass.check(found)["inputs"] == 300
    with pytest.raises(ValueError, match=r"has|is|does"):
        one_pass.check(found | change)


def test_a_damaged_file_is_left_out_with_a_note(run):
    part, text = page(run, content(run / "ssvi") | {"inputs": None})
    assert not part
    assert "ssvi/one_pass.json is damaged, so its figures of one pass are left out" in text
