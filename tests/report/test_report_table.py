"""The table, its formats, and the summary above it, against numbers computed by hand."""

import json
import math

import numpy as np
import pytest
from report_folders import classification, regression

from szilard import report
from szilard.report import figure_names, summary
from szilard.run.read import read


@pytest.fixture
def run(tmp_path):
    return classification(tmp_path / "run")


def cells(row):
    return {cell.figure: cell for cell in row.cells}


def test_rows_are_the_methods_in_order(run):
    rows = report.table(run)
    assert [row.key for row in rows] == ["ssvi", "deterministic", "mean-field"]
    assert [row.name for row in rows] == ["SSVI, 5 % of weights", "deterministic", "mean-field"]
    assert [row.is_baseline for row in rows] == [False, True, False]
    assert len({tuple(cell.heading for cell in row.cells) for row in rows}) == 1


def test_each_cost_has_its_source(run):
    found = {cell.figure: cell.source for cell in report.table(run)[0].cells}
    assert found["accuracy"] == "quality"
    assert found["macs"] == "counted"
    assert found["joules_inference"] == "estimated"
    assert found["seconds"] == "measured"


def test_figures_relative_to_the_baseline(run):
    ssvi, base, _ = map(cells, report.table(run))
    assert (ssvi["accuracy"].text, ssvi["accuracy"].beside) == ("90.00 %", "−6.00 pp")
    assert (ssvi["nll"].text, ssvi["nll"].beside) == ("0.300", "1.5×")
    assert (ssvi["bits"].text, ssvi["bits"].beside) == ("1.00 kB", "0.1×")
    assert (base["joules_inference"].text, base["joules_inference"].beside) == ("2.00 nJ", "")
    assert ssvi["auroc_best"].beside == "±0.000"


def test_the_best_of_a_column_must_be_better_than_all_others(run):
    ssvi, base, field = map(cells, report.table(run))
    assert [c["accuracy"].best for c in (ssvi, base, field)] == [False, False, False]  # two of them tie
    assert [c["bits"].best for c in (ssvi, base, field)] == [True, False, False]
    assert not any(c["ece"].best for c in (ssvi, base, field))  # all equal: none is best


@pytest.mark.parametrize(("wrong", "clear"), [(1, False), (3, False), (6, True)])
def test_a_difference_by_chance_is_not_marked_as_best(tmp_path, wrong, clear):
    """``wrong`` of 100 predictions differ; the difference counts from 2 standard errors on."""
    run = classification(tmp_path / "run", ("ssvi", "deterministic"))
    labels = np.arange(100) % 10
    for key, errors in (("ssvi", 0), ("deterministic", wrong)):
        predictions = labels.copy()
        predictions[:errors] = (predictions[:errors] + 1) % 10
        p = np.full((100, 10), 0.01, np.float16)
        p[np.arange(100), predictions] = 0.91
        path = run / key / "arrays.npz"
        arrays = dict(np.load(path)) | {"test_mean_probabilities": p, "test_labels": labels}
        np.savez(path, **arrays)
        result = json.loads((run / key / "result.json").read_text())
        result["test"]["accuracy"] = 1 - errors / 100
        (run / key / "result.json").write_text(json.dumps(result))
    found = {row.key: cells(row)["accuracy"].best for row in report.table(run)}
    assert found == {"ssvi": clear, "deterministic": False}


def test_coverage_and_time_are_never_marked_as_best(tmp_path):
    run = regression(tmp_path / "run")
    path = run / "deterministic" / "result.json"
    path.write_text(path.read_text().replace('"coverage95": 0.9', '"coverage95": 0.99'))
    ssvi, base = map(cells, report.table(run))
    assert (ssvi["coverage95"].best, base["coverage95"].best) == (False, False)
    assert ssvi["rmse"].heading == "RMSE ↓"
    assert not any(cell.best for cell in (ssvi["seconds"], base["seconds"]))  # measured by a clock
    assert ssvi["rmse"].beside == "0.5×"
    assert ssvi["nll"].beside == "±0.000"  # NLL: a difference, not a ratio


def test_the_summary(run):
    assert summary.title(read(run)) == "mlp on digits"
    assert summary.comparison(read(run)) == (
        "Compared with deterministic, SSVI (5 % of weights) is 6.0 points less accurate (90.0 % against 96.0 %), has a "
        "higher NLL (0.300 against 0.200 nats) and detects photographs equally well (AUROC 0.800 against 0.800). "
        "It needs 10× less memory, 10× fewer multiply-adds per inference and 10× fewer training FLOPs."
    )


def test_a_difference_within_sampling_error_is_described_as_such(run):
    # 6 of 100 predictions differ: the difference is 6 points, its standard error 100 sqrt(.06 (1 - .06) / 100) = 2.4.
    main, base, _ = read(run).finished
    assert summary._noise(main, base) == pytest.approx(math.sqrt(0.06 * 0.94 / 100))
    assert summary._accuracy(main, base) == "is 6.0 points less accurate (90.0 % against 96.0 %)"
    main.result["test"]["accuracy"] = base.test["accuracy"] - 0.01
    assert summary._accuracy(main, base).startswith(
        "is equally accurate within sampling error (95.0 % against 96.0 %, ±"
    )


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        (
            ("ssvi",),
            "SSVI (5 % of weights) reaches 90.0 % accuracy and an NLL of 0.300 nats; the run has no other method.",
        ),
        (("ssvi", "mean-field"), "Compared with mean-field, SSVI (5 % of weights) is"),
        (("deterministic", "ssvi"), "Compared with SSVI (5 % of weights), deterministic is"),
    ],
)
def test_the_summary_of_other_runs(tmp_path, methods, words):
    assert summary.comparison(read(classification(tmp_path / "run", methods))).startswith(words)


def test_the_summary_of_a_regression(tmp_path):
    text = summary.comparison(read(regression(tmp_path / "run")))
    assert "has an RMSE of 1 against 2" in text
    assert "has the same NLL" in text
    assert "It needs as much memory" in text


def test_the_facts(run):
    assert dict(summary.facts(read(run))) == {
        "training examples": "1,000", "test inputs": "100", "epochs": "3", "draws per prediction": "8",
        "out-of-distribution": "photographs", "seed": "7",
    }  # fmt: skip


def test_seed_0_is_shown(run):
    for path in run.glob("*/result.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"seed": 0}))
    assert dict(summary.facts(read(run)))["seed"] == "0"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (5, "5"), (359, "359"), (0.5, "500 m"), (999.9, "1.00 k"), (999_600, "1.00 M"), (1_234_567, "1.23 M"),
        (1.89e-6, "1.89 µ"), (12_345, "12.3 k"), (-2000, "-2.00 k"), (3e18, "3000 P"), (1e-20, "0.00 f"),
    ],
)  # fmt: skip
def test_prefixes(value, text):
    assert figure_names.si(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0032, "3.20 ms"), (41.3, "41.3 s"), (720.0, "12 min"), (9000.0, "2.5 h")]
)
def test_durations(value, text):
    assert figure_names.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "base", "text"), [(1, 2, "0.5×"), (300, 2, "150×"), (1, 0, ""), (-1, 2, ""), (0, 2, "0×")]
)
def test_ratios(value, base, text):
    assert figure_names.times(value, base) == text


@pytest.mark.parametrize(("value", "text"), [(0.02345, "+0.023"), (-0.0861, "−0.086"), (0.0001, "±0.000")])
def test_differences(value, text):
    assert figure_names.signed(value, 3) == text


def few(folder, key, intervals, by_class=None):
    path = folder / key / "result.json"
    more = {"intervals": intervals} | ({} if by_class is None else {"by_class": by_class})
    path.write_text(json.dumps(json.loads(path.read_text()) | more))


def of_class(name, examples, precision, interval):
    return {
        "class": name, "examples": examples, "answered": 1, "precision": precision, "recall": None,
        "precision_interval": interval, "recall_interval": [0, 1],
    }  # fmt: skip


def test_few_test_inputs_give_intervals(run):
    few(run, "ssvi", {"accuracy": [0.825, 0.9444], "nll": [-0.2, 0.4], "unknown": [0, 1]})
    ssvi, base, _ = map(cells, report.table(run))
    assert ssvi["accuracy"].interval == "82.50–94.44 %"
    assert ssvi["nll"].interval == "−0.200 to 0.400"  # "to" instead of a dash beside a minus sign
    assert ssvi["ece"].interval == ssvi["bits"].interval == base["accuracy"].interval == ""
    page = report.write(run).read_text()
    assert "<small>82.50–94.44 %</small>" in page
    assert "Ranges: 95 % intervals of figures from 100 test examples." in page


def test_many_test_inputs_give_no_intervals(run):
    assert "Ranges" not in report.write(run).read_text()
    assert not any(cell.interval for row in report.table(run) for cell in row.cells)


@pytest.mark.parametrize(("examples", "open_"), [((90, 10), True), ((55, 45), False)])
def test_the_class_table_is_open_if_classes_are_unequal(run, examples, open_):
    rows = [of_class("<b>", examples[0], 0.5, [0.25, 0.75]), of_class("b", examples[1], None, [0, 1])]
    few(run, "ssvi", {}, rows)
    few(
        run, "deterministic", {}, [*rows, of_class("c", 1, 1, [0, 1])]
    )  # other classes are not shown beside these
    page = report.write(run).read_text()
    part = page[page.index("<h2>Precision and recall by class</h2>") :].partition("</section>")[0]
    assert ("<details>" not in part) is open_
    assert "50.0 %<small>25.0–75.0 %</small>" in part
    assert "<td>–</td>" in part
    assert "&lt;b&gt;" in part
    assert part.count(">precision</th>") == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00211, "0.00211"), (449.2, "449.2"), (143850.4, "143,850"), (2e8, "2e+08"), (-1234, "−1,234")],
)
def test_numbers_of_any_size(value, text):
    assert figure_names.digits(value) == text
