"""The report: whole, safe and self-contained from whatever a run folder holds."""

import json
import re

import numpy as np
import pytest

from szilard import report
from szilard.errors import SzilardError
from szilard.report import charts, words
from szilard.report.read import read


def result(name, **extra):
    return {
        "method": name,
        "name": name,
        "data": "digits",
        "task": "classification",
        "network": "mlp",
        "ood": "elsewhere",
        "classes": ["<b>zero</b>", "one"],
        "n_train": 1000,
        "epochs": 3,
        "samples": 8,
        "seed": 0,
        "test": {"accuracy": 0.9, "nll": 0.3, "ece": 0.02, "auroc_max_probability": 0.8, "auroc_best": 0.8},
        "cost": {
            "bits": {"value": 8000, "source": "counted"},
            "macs": {"value": 1000, "source": "counted"},
            "joules_inference": {"value": 1e-9, "source": "estimated"},
            "seconds": {"value": 2.0, "source": "measured"},
        },
        "density": {"first": 0.05, "second": 1.0},
    } | extra


def arrays(gaussian=True):
    g = np.random.default_rng(0)
    found = {
        "risk_coverage_coverage": np.linspace(0.01, 1, 100),
        "risk_coverage_risk": np.linspace(0, 0.1, 100),
        "reliability_edges": np.linspace(0, 1, 16),
        "reliability_confidence": np.linspace(0.03, 0.97, 15),
        "reliability_accuracy": np.linspace(0.03, 0.9, 15),
        "reliability_count": np.arange(15),
        "test_max_probability": g.uniform(size=50),
        "ood_max_probability": g.uniform(size=40),
        "uncertain_images": g.uniform(size=(16, 8, 8)),
        "uncertain_true": np.zeros(16, int),
        "uncertain_guess": np.arange(16) % 2,
        "uncertain_probability": g.uniform(size=16),
    }
    if gaussian:
        start, end = np.full(30, -2.0), np.full(30, -3.0)
        found |= {"log_std_start_0": start, "log_std_end_0": end}
        found |= {"snr_start_0": np.full(30, 2.0), "snr_end_0": g.uniform(0.1, 9, 30)}
    return found


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run <1>"
    folder.mkdir()
    (folder / "run.toml").write_text('methods = ["ssvi", "deterministic"]\n[data]\nname = "digits"\n')
    for name, scale in (("ssvi", 0.5), ("deterministic", 1.0)):
        (folder / name).mkdir()
        line = {
            "epoch": 1,
            "step": 8,
            "free_energy": 2.0,
            "energy": 1.5,
            "cost": 0.5,
            "valid": {"accuracy": 0.5, "nll": 1.0},
        }
        (folder / name / "metrics.jsonl").write_text(
            "".join(json.dumps(line | {"epoch": e, "free_energy": 2.0 / e}) + "\n" for e in (1, 2, 3))
        )
        made = result(name)
        made["cost"]["bits"]["value"] *= scale
        (folder / name / "result.json").write_text(json.dumps(made))
        np.savez(folder / name / "arrays.npz", **arrays(name == "ssvi"))
    return folder


def test_a_whole_run(run):
    page = report.write(run)
    assert page == run / "report.html"
    html = page.read_text()
    assert html.count("<svg") == 8
    assert html.count("<figure>") == 16
    assert "&lt;b&gt;zero&lt;/b&gt;" in html
    assert "<b>zero</b>" not in html
    assert "run &lt;1&gt;" in html
    for kind in ("counted", "estimated", "measured"):
        assert f">{kind}</th>" in html
    assert "ln σ ended 1.00" in html
    assert not list(run.glob("*.tmp"))


def test_the_page_asks_nothing_of_the_network(run):
    html = report.write(run).read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', html)
    assert "<script" not in html
    assert "@import" not in html
    assert not re.findall(r"url\((?!#)", html)


def test_ids_of_the_drawings_do_not_meet(run):
    html = report.write(run).read_text()
    names = re.findall(r'\bid="([^"]+)"', html)
    assert len(names) == len(set(names))


def test_it_is_the_same_page_twice(run):
    assert report.write(run).read_text() == report.write(run).read_text()


def test_the_table(run):
    rows = report.table(run)
    assert [row["method"] for row in rows] == ["ssvi", "deterministic"]
    assert rows[0]["accuracy"] == "0.900"
    assert rows[0]["memory"] == "500 B"
    assert rows[1]["seconds"] == "2.0 s"


def test_the_headline_is_computed(run):
    assert words.headline(read(run)) == (
        "ssvi reaches 90.0 % accuracy on digits, where the dense deterministic network reaches 90.0 % accuracy; its "
        "negative log likelihood is 0.300 against 0.300 nats; it takes 0.5× the memory and 1× the multiply-adds."
    )


def test_what_is_damaged_is_said_and_left_out(run):
    (run / "ssvi" / "arrays.npz").write_bytes(b"PK\x03\x04 cut short")
    text = (run / "ssvi" / "metrics.jsonl").read_text()
    (run / "ssvi" / "metrics.jsonl").write_text(text[:-20])
    (run / "deterministic" / "result.json").unlink()
    html = report.write(run).read_text()
    assert "ssvi/arrays.npz is missing or damaged" in html
    assert "cut short after 2 lines" in html
    assert "deterministic has not finished" in html


def test_pickled_arrays_are_not_loaded(run):
    np.savez(run / "ssvi" / "arrays.npz", evil=np.array([{"a": 1}], dtype=object))
    assert "missing or damaged" in report.write(run).read_text()


def test_an_unfinished_run_and_no_run(run, tmp_path):
    for name in ("ssvi", "deterministic"):
        (run / name / "result.json").unlink()
    assert "No method has finished yet" in report.write(run).read_text()
    with pytest.raises(SzilardError, match="no run folder"):
        report.write(tmp_path / "nothing")


def test_regression(run):
    g = np.random.default_rng(1)
    made = result("ssvi", task="regression", test={"rmse": 1.5, "nll": 2.0, "coverage95": 0.95}, density={})
    (run / "ssvi" / "result.json").write_text(json.dumps(made))
    target = g.normal(size=30)
    np.savez(
        run / "ssvi" / "arrays.npz", test_target=target, test_mean=target + 0.1, test_variance=np.ones(30),
        risk_coverage_coverage=np.linspace(0.1, 1, 30), risk_coverage_risk=np.ones(30),
    )  # fmt: skip
    assert charts.predicted(read(run)) is not None
    assert "an RMSE of 1.5" in report.write(run).read_text()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 "), (999.9, "1 k"), (1_234_567, "1.23 M"), (1.89e-6, "1.89 µ"), (5, "5 "), (0.5, "500 m")],
)
def test_prefixes(value, text):
    assert words.si(value) == text
