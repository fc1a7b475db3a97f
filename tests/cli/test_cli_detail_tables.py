"""The detail tables below the main table: intervals, classes and targets, complete at every terminal width."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from szilard.cli import detail_tables, output, table
from szilard.report.classes import are_unequal

WIDTHS = (60, 80, 120)


def of_class(name, examples):
    return {
        "class": name, "examples": examples, "answered": examples, "precision": 0.75, "recall": None,
        "precision_interval": [0.5123, 0.9], "recall_interval": [0.0, 1.0],
    }  # fmt: skip


def row(name="SSVI, 5 % of weights", n=40, **more):
    ends = {"accuracy": [0.7052, 0.9], "nll": [0.25, 0.75], "brier": [0.1, 0.4], "ece": [0.01, 0.2]}
    return {"name": name, "n_test": n, "intervals": ends, "quality": {}, "cost": {}} | more


def printed(rows, columns, monkeypatch, capsys):
    monkeypatch.setattr(output, "columns", lambda stream: columns)
    monkeypatch.setenv("TERM", "dumb")
    detail_tables.show(rows)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("columns", WIDTHS)
def test_figures_are_not_truncated_and_each_class_is_on_one_line(columns, monkeypatch, capsys):
    classes = [of_class("an ordinary customer", 30), of_class("one who leaves", 8)]
    rows = [row(by_class=classes), row("deterministic"), row("dense mean-field")]
    lines = printed(rows, columns, monkeypatch, capsys)
    assert max(map(cell_len, lines)) <= columns
    words = " ".join(lines).split()
    for figure in ("70.52–90.00", "0.100–0.400", "0.010–0.200", "0.750", "(0.512–0.900)"):
        assert figure in words, figure
    assert lines[:2] == [
        "",
        "95 % intervals, 40 test examples",
    ]  # a blank line separates it from the table above
    start = lines.index("Classes, SSVI, 5 % of weights")
    assert lines[start - 1] == ""
    if columns > 60:
        found = next(line for line in lines if line.startswith("one who leaves"))
        assert found.split()[3:] == ["8", "0.750", "(0.512–0.900)", "-"]


def test_without_a_terminal_nothing_is_left_out(monkeypatch, capsys):
    lines = printed([row(by_class=[of_class("x" * 90, 40), of_class("y", 4)])], None, monkeypatch, capsys)
    assert any(line.startswith("x" * 90) for line in lines)  # a name is never truncated
    assert not any("Not shown" in line for line in lines)


def test_negative_intervals_are_written_with_to(monkeypatch, capsys):
    lines = printed([row(intervals={"nll": [-1.25, -0.75]})], 80, monkeypatch, capsys)
    assert any(line.endswith("-1.250 to -0.750") for line in lines)


def test_many_examples_and_balanced_classes_need_no_table(monkeypatch, capsys):
    many = row(intervals=None, n=10_000, by_class=[of_class("a", 30), of_class("b", 11)])
    assert printed([many], 80, monkeypatch, capsys) == []
    assert printed([], 80, monkeypatch, capsys) == []


def test_different_numbers_of_examples_are_shown_in_a_column(monkeypatch, capsys):
    lines = printed([row(), row("other", 50), row("large", 5000, intervals=None)], 120, monkeypatch, capsys)
    assert lines[1] == "95 % intervals"
    assert "large" not in " ".join(lines)
    assert {"40", "50"} <= set(" ".join(lines).split())


@given(st.lists(st.integers(0, 50), max_size=6))
def test_classes_are_unequal_from_three_to_one(sizes):
    rows = [of_class(str(number), size) for number, size in enumerate(sizes)]
    expected = len(sizes) > 1 and max(sizes) / max(1, min(sizes)) >= 3
    assert are_unequal(rows) is expected


@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=30), st.integers(0, 99)), min_size=1, max_size=8),
    st.integers(40, 140),
)
def test_random_rows_fit_the_width(named, width):
    rows = [row(name, n) for name, n in named]
    for made in detail_tables.tables(rows):
        for line in table.lines(made, width):
            names = [cell_len(cell) for cell in made.columns[0].cells]
            assert cell_len(line) <= max(width, max(names) + 3)


def test_each_target_has_a_row(monkeypatch, capsys):
    of_target = {"r2": 0.75, "rmse": 5.5e-9, "coverage95": 0.95, "intervals": {"rmse": [4.5e-9, 7e-9]}}
    rows = [of_target | {"target": "width"}, of_target | {"target": "a long name of a height", "r2": None}]
    for columns in (60, 80):
        lines = printed([row(by_target=rows)], columns, monkeypatch, capsys)
        assert max(map(cell_len, lines)) <= columns
        found = next(line for line in lines if line.startswith("width"))
        assert {"0.750", "5.5e-09"} <= set(found.split())
        assert any(line.startswith("a long name of a height") for line in lines)
    assert "4.5e-09–7e-09" in found


def test_multilabel_tables_are_headed_labels(monkeypatch, capsys):
    rows = [of_class("cloudy", 30), of_class("wet", 5)]
    quality = {"accuracy_by_label": 0.8, "accuracy_all": 0.5}
    lines = printed([row(by_class=rows, quality=quality)], 80, monkeypatch, capsys)
    assert "Labels, SSVI, 5 % of weights" in lines
    assert any("accuracy by label" in line for line in lines)
