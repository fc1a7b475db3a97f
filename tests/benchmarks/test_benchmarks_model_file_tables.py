"""The tables of the file benchmark."""

import model_file
from files import (
    nncodec_rows,
    our_files,
    section_tables,
)
from files.contest import Row
from uncertainty import posterior_files


def test_figures_and_their_names(tmp_path):
    row = Row(our_files.NAME, {}, 75, 0.4, 91.0, 0.45, 0.2, 0.1, 60.0, 0.1)
    rows = [
        row.to_json(),
        row.to_json() | {"name": our_files.PROMISED, "n_bytes": 80, "drop": 0.3},
        row.to_json() | {"name": nncodec_rows.TUNED, "n_bytes": 100},
        row.to_json() | {"name": nncodec_rows.DEFAULT, "n_bytes": 150},
    ]
    lenets = [{"name": "lenet5", "bytes": 3000, "error_percent": 0.9}]
    found = section_tables.figures({"resnet20": {"rows": rows}, "lenet": {"rows": lenets}})
    assert found["resnet20_vs_nncodec_tuned"] == 0.8  # of the file with the promised drop
    assert found["resnet20_plain_vs_nncodec_tuned"] == 0.75
    assert found["resnet20_vs_nncodec_default"] == 0.5
    assert (found["resnet20_drop_pt"], found["resnet20_plain_drop_pt"]) == (0.3, 0.45)
    assert found["resnet20_data_free_vs_nncodec_tuned"] is None
    assert (found["lenet5_bytes"], found["lenet5_error_percent"]) == (3000, 0.9)
    assert (found["lenet300_bytes"], found["lenet300_error_percent"]) == (None, None)


def test_a_section_measured_again_replaces_the_old_one(tmp_path):
    path = tmp_path / "model_file.jsonl"
    for name, value in (("lenet", 1), ("resnet20", 2), ("lenet", 3)):
        model_file.keep(path, {"section": name, "value": value})
    assert [s["section"] for s in model_file.load(path).values()] == ["resnet20", "lenet"]
    assert model_file.load(path)["lenet"]["value"] == 3


def test_the_table_of_posteriors_before_and_after():
    one = {
        "name": "ssvi",
        "before_bytes": 1000,
        "bytes": 100,
        "before": {"accuracy": 0.9, "nll": 0.30, "ece": 0.02},
        "after": {"accuracy": 0.89, "nll": 0.31, "ece": 0.03},
    }
    (line,) = posterior_files.body([one])
    assert line == ["ssvi", "1,000", "100", "90.00 → 89.00", "0.3000 → 0.3100", "0.0200 → 0.0300", ""]
