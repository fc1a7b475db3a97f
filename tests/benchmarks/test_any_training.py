"""The training benchmark detects faults and accepts correct runs."""

from __future__ import annotations

import json

import pytest
import torch

import any_training
from szilard.methods import SSVI
from tables import table_cells, table_figures, table_files
from zoo_training import training_cells
from zoo_training.lessons import LESSONS
from zoo_training.training_cells import STAGES, Cell

TABLES = table_files.TABLES


def test_an_ordinary_network_is_right_in_every_stage():
    found = training_cells.cells(LESSONS["MLP"])
    assert [(cell.stage, cell.verdict, cell.message) for cell in found] == 2 * [
        (s, "right", "") for s in STAGES
    ]
    assert 0.9 < (found[0].figure or 0) <= 1.01


def test_a_wrong_loss_is_detected(monkeypatch):
    divergence = SSVI._divergence
    monkeypatch.setattr(SSVI, "_divergence", lambda self, network: 1.01 * divergence(self, network))
    cells = {cell.stage: cell for cell in training_cells.cells(LESSONS["MLP"], ("ssvi",))}
    assert cells["train"].verdict == "wrong"
    assert "divergence" in cells["train"].message


def test_a_run_that_loses_its_step_on_resumption_is_detected(monkeypatch):
    load = SSVI.load_state_dict

    def forgetful(self, state):
        load(self, state)
        self.step = 0

    monkeypatch.setattr(SSVI, "load_state_dict", forgetful)
    cells = {cell.stage: cell for cell in training_cells.cells(LESSONS["MLP"], ("ssvi",))}
    assert cells["resume"].verdict == "wrong"


def test_a_crash_is_recorded():
    def work():
        raise KeyError("x")

    cell = training_cells.judged("network", "ssvi", "train", work)
    assert cell.verdict == "crashed"
    assert cell.message.startswith("KeyError: 'x' (test_any_training.py:")


def test_enough_networks_and_tables():
    assert len(LESSONS) >= 40
    assert len(TABLES) >= 30
    for table in TABLES.values():
        assert table.twin is None or table.twin in TABLES
        assert len({len(cells) for cells in table.columns.values()}) == 1


def test_a_misread_column_is_detected(tmp_path):
    tried = table_cells.Tried(TABLES["plain"], tmp_path)
    tried.file.write_bytes(tried.table.file)
    table_cells.prepare(tried)
    assert tried.data is not None
    other = table_files.with_(tried.table.columns, b=["1"] * 160)
    with pytest.raises(table_cells.Wrong, match="'b' was read as"):
        table_cells._check_cells(
            table_files.made("other", other), tried.data, tried.data.train.x, tried.rows["train"]
        )
    for stage in ("train", "cost"):
        table_cells.STAGE[stage](tried, "ssvi")


def test_a_refusal_must_name_its_cause(tmp_path):
    tried = table_cells.Tried(TABLES["missing labels"], tmp_path)
    good = Cell("t", "both", "prepare", "refused", "line 3, column 'y' is missing; fill it in")
    bad = Cell("t", "both", "prepare", "refused", "something is the matter")
    assert table_cells._as_expected(tried, good).verdict == "refused"
    assert table_cells._as_expected(tried, bad).verdict == "wrong"
    taken = Cell("t", "both", "prepare", "right")
    assert table_cells._as_expected(tried, taken).verdict == "wrong"


@pytest.mark.parametrize(
    ("printed", "faults"),
    [
        ("│ SSVI │ 0.912 │\r\n", 0),
        ("│ SSVI │ 91.2 │", 0),
        ("│ SSVI │ 0.9… │", 2),
        ("│ SSVI │ 0… │ 0.912", 1),
        ("x" * 81 + " 0.912", 1),
    ],
)
def test_truncated_numbers_are_detected(printed, faults):
    assert len(table_figures.faults_of(printed, 80, [0.912])) == faults


def test_figures_are_json_with_every_key():
    section = {
        "networks": [Cell("a", "ssvi", "prepare", "wrong", "x", 1.02).to_json()],
        "terminal": {"whole": True},
    }
    found = json.loads(json.dumps(any_training.figures(section)))
    assert found["cells"] == found["wrong"] == 1
    assert found["crashed"] == 0
    assert found["density_error_max"] == 1.02
    assert found["tables_whole_at_80"] is True
    assert found["lora_step_vs_full"] is None
    assert any_training.missing(section, "lora_step_vs_full")


def test_energy_averages_over_examples_with_a_label():
    lesson = LESSONS["pixels, some without a label"]
    data = lesson.case.data()
    output = torch.zeros(4, 3, 8, 8)
    y = data.y[:4]
    counted = (y != -100).flatten(1).sum(1)
    wanted = float(counted.sum() / (counted > 0).sum()) * torch.tensor(3.0).log()
    from zoo_training.lesson import energy

    assert energy(lesson, data, output, y) == pytest.approx(float(wanted))
