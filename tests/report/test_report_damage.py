"""Missing or damaged files are named in the report, which shows everything else."""

import json
import stat
import zipfile

import numpy as np
import pytest
from report_folders import change, classification

from szilard import report
from szilard.errors import SzilardError
from szilard.report import curves, summary
from szilard.run.read import read
from szilard.run.result import check

pytestmark = pytest.mark.pictures


@pytest.fixture
def run(tmp_path):
    return classification(tmp_path / "run", ("ssvi", "deterministic"))


def text_of(run):
    return report.write(run).read_text(encoding="utf-8")


def test_a_complete_run_has_no_notes(run):
    assert 'class="notes"' not in text_of(run)


@pytest.mark.usefixtures("undrawn")
def test_a_last_line_cut_short(run):
    path = run / "ssvi" / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    html = text_of(run)
    assert "ssvi/metrics.jsonl has a line cut short or damaged" in html
    assert "Free energy F" in html


@pytest.mark.parametrize(
    "line", ["[1, 2]", "null", '{"epoch": "one"}', '{"epoch": 4, "valid": 3}', "\x00\xff"]
)
def test_an_invalid_line_of_the_log(run, line):
    with open(run / "ssvi" / "metrics.jsonl", "a", encoding="latin-1") as file:
        file.write(line + "\n")
    found = read(run)
    assert curves.plots(found)[0].title == "Free energy F"
    assert len(found.methods[0].history) == (4 if "4" in line else 3)


def test_nan_figures(run):
    path = run / "ssvi" / "result.json"
    result = json.loads(path.read_text())
    result["test"] |= {"nll": float("nan"), "ece": None}
    result["cost"]["macs"] = {"value": None, "source": "counted"}
    path.write_text(json.dumps(result))
    first = report.table(run)[0].cells
    assert {c.figure: c.text for c in first if c.value is None} == {"nll": "–", "ece": "–", "macs": "–"}
    assert "nan" not in text_of(run).lower()


@pytest.mark.usefixtures("undrawn")
def test_a_method_that_has_not_finished(run):
    (run / "ssvi" / "result.json").unlink()
    html = text_of(run)
    assert "ssvi has not finished" in html
    assert "unfinished, epoch 3 of 3" in html
    assert [row.finished for row in report.table(run)] == [False, True]


def test_a_method_without_a_folder(run):
    path = run / "run.toml"
    path.write_text(path.read_text().replace('"ssvi"', '"ssvi", "sparse-deterministic"'))
    assert read(run).notes == [
        "sparse-deterministic has not started; szilard fit with --resume continues it."
    ]


@pytest.mark.usefixtures("undrawn")
def test_no_method_has_finished(run):
    for path in run.glob("*/result.json"):
        path.unlink()
    html = text_of(run)
    assert "No method has finished yet." in html
    assert "Free energy F" in html


def test_a_run_that_has_not_started(tmp_path):
    (tmp_path / "run.toml").write_text('methods = ["ssvi"]\n')
    html = text_of(tmp_path)
    assert "No method has finished yet." in html
    assert "not started" in html


@pytest.mark.parametrize("content", ["{", "[]", '{"test": 3}', "null", "\x00"])
def test_a_damaged_result(run, content):
    (run / "ssvi" / "result.json").write_text(content)
    assert [row.finished for row in report.table(run)] == [False, True]
    assert any("ssvi/result.json" in note for note in read(run).notes)


@pytest.mark.parametrize(
    "content", ["methods = 3", 'methods = [3, "../ssvi", ""]', "methods = [", "[data]\nname = 3"]
)
def test_a_damaged_run_toml(run, content):
    (run / "run.toml").write_text(content)
    assert {row.key for row in report.table(run)} == {"ssvi", "deterministic"}
    assert "mlp on digits" in summary.title(read(run))


def test_no_run_toml(run):
    (run / "run.toml").unlink()
    assert "run.toml is missing" in read(run).notes[0]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"no archive at all"])
def test_arrays_that_are_not_an_archive(run, content):
    (run / "ssvi" / "arrays.npz").write_bytes(content)
    found = read(run)
    assert "ssvi/arrays.npz cannot be read" in found.notes[0]
    assert [len(m.arrays) > 0 for m in found.methods] == [False, True]


def test_arrays_cut_short(run):
    path = run / "ssvi" / "arrays.npz"
    path.write_bytes(path.read_bytes()[:3000])
    html = text_of(run)
    assert "ssvi/arrays.npz cannot be read" in html
    assert html.count("Reliability diagram of") == 1


def test_a_bare_array_in_place_of_the_archive(run):
    with open(run / "ssvi" / "arrays.npz", "wb") as file:
        np.save(file, np.ones(3))
    assert "ssvi/arrays.npz cannot be read" in read(run).notes[0]


def test_conditions_of_a_measured_cost_are_counts_or_nothing():
    def read_back(**conditions):
        cost = {"seconds_per_inference": {"value": 0.5, "source": "measured", **conditions}}
        found, wrong = check({"test": {}, "cost": cost})
        assert wrong == []
        return found["cost"]["seconds_per_inference"]

    assert read_back() == {"value": 0.5, "source": "measured"}
    assert read_back(batch=8, threads=2) == {"value": 0.5, "source": "measured", "batch": 8, "threads": 2}
    for odd in (0, -1, 1.5, True, "1", None, [], {}):
        assert read_back(batch=odd, threads=3) == {"value": 0.5, "source": "measured", "threads": 3}


def test_one_damaged_array_omits_one_figure(run):
    path = run / "ssvi" / "arrays.npz"
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["ood_max_probability.npy"] = b"\x93NUMPY rubbish"
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    html = text_of(run)
    assert "ssvi/arrays.npz is damaged; left out: ood_max_probability." in html
    assert html.count("Max-probability of") == 1
    assert html.count("Reliability diagram of") == 2


@pytest.mark.usefixtures("undrawn")
def test_pickles_are_not_opened(run, tmp_path):
    class Malicious:
        def __reduce__(self):
            return (open, (str(tmp_path / "opened"), "w"))

    change(run, "ssvi", risk_coverage_risk=np.array([Malicious()], dtype=object))
    assert "left out: risk_coverage_risk" in text_of(run)
    assert not (tmp_path / "opened").exists()


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("reliability_count", np.ones(3), "diagram of its predictions"),
        ("uncertain_true", np.array(["a"] * 16), "most uncertain inputs"),
        ("ood_max_probability", np.array(["a"]), "histograms of out-of-distribution inputs"),
        ("log_std_end_0", np.array(["a"]), "histograms of its weights"),
    ],
)
def test_arrays_of_the_wrong_shape_or_kind(run, name, value, what):
    change(run, "ssvi", **{name: value})
    html = text_of(run)
    assert f"{what} cannot be drawn" in html
    assert "Quality and cost" in html


def test_arrays_of_nan(run):
    nan = np.full(30, np.nan)
    change(
        run,
        "ssvi",
        log_std_end_0=nan,
        reliability_accuracy=np.full(15, np.nan),
        risk_coverage_risk=np.full(100, np.nan),
    )
    assert "Quality and cost" in text_of(run)


def test_no_run(tmp_path):
    for make in (report.write, report.table):
        with pytest.raises(
            SzilardError, match="is not a run folder; name a folder that szilard fit has written"
        ):
            make(tmp_path)
        with pytest.raises(SzilardError, match="does not exist"):
            make(tmp_path / "nothing")
        (tmp_path / "file").write_text("")
        with pytest.raises(SzilardError, match="is not a run folder"):
            make(tmp_path / "file")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.usefixtures("undrawn")
def test_a_failed_write_leaves_the_old_page(run, monkeypatch):
    page = report.write(run)
    before = page.read_bytes()
    assert page.stat().st_mode & stat.S_IRUSR

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(SzilardError, match=r"report\.html"):
        report.write(run)
    assert page.read_bytes() == before
