"""The section of the report on a prior from another run."""

from __future__ import annotations

import json

import pytest
import report_folders

from szilard import report
from szilard.run import result as results

TOLD = {
    "source": "ssvi on <mnist>",
    "chosen": "prior with 2 σ, T 0.01",
    "without": "no transfer, T 0.1",
    "fine_tuning": "fine-tuning, lr 0.001",
    "folds": 4,
    "nll": {"no transfer, T 0.1": 1.5, "prior with 2 σ, T 0.01": 0.25, "fine-tuning, lr 0.001": 0.75},
}


def with_prior(folder, told):
    report_folders.classification(folder, ("ssvi",))
    path = folder / "ssvi" / "result.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"prior": told}))
    return folder


def control(folder, name, method, nll):
    path = folder / name / method
    path.mkdir(parents=True)
    (path / "result.json").write_text(json.dumps({"test": {"nll": nll}}) if nll else "[")


def test_the_page_has_all_ways_and_the_controls(tmp_path):
    with_prior(tmp_path / "run", TOLD)
    control(tmp_path / "run", "fan-in", "ssvi", 1.25)
    control(tmp_path / "run", "fine-tuning", "deterministic", 0.875)
    page = report.write(tmp_path / "run").read_text()
    assert "The prior is ssvi on &lt;mnist&gt;." in page
    section = page[page.index("Prior from another run") :]
    places = [section.index(f'<th scope="row">{name}') for name in sorted(TOLD["nll"], key=TOLD["nll"].get)]
    assert places == sorted(places)  # best first
    for cells in (
        "<td>1.500</td><td>1.250</td><td>control</td>",
        "<td>0.750</td><td>0.875</td><td>control</td>",
    ):
        assert cells in section
    assert "<td>0.250</td>" in section
    assert "<td>run</td>" in section


def test_a_damaged_control_is_noted(tmp_path):
    with_prior(tmp_path / "run", TOLD)
    control(tmp_path / "run", "fan-in", "ssvi", None)
    page = report.write(tmp_path / "run").read_text()
    assert "fan-in/ssvi/result.json is not a result; its figure is left out." in page


@pytest.mark.parametrize(
    "told",
    [
        3,
        [],
        {},
        {**TOLD, "folds": "4"},
        {**TOLD, "nll": [1]},
        {**TOLD, "chosen": None},
        {**TOLD, "source": {}},
    ],
)
def test_an_invalid_prior_is_left_out_and_named(tmp_path, told):
    found, wrong = results.check({"test": {}, "prior": told})
    assert "prior" not in found
    assert wrong == ["prior"]
    page = report.write(with_prior(tmp_path / "run", told)).read_text()
    assert "Prior from another run" not in page
    assert "invalid values, left out: prior" in page


def test_a_page_without_a_prior_has_no_such_section(tmp_path):
    assert (
        "Prior from another run"
        not in report.write(report_folders.classification(tmp_path / "run")).read_text()
    )
