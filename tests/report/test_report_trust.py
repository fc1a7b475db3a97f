"""Verdicts on chains: in words, on the page of a run, and from files that are wrong."""

from __future__ import annotations

import pytest

from szilard.run.result import check
from szilard.run.verdict import verdict

FOUND = {
    "chains": 4, "draws": 8, "diverged": 0, "gradients": 1000, "rhat": 1.004, "ess_bulk": 400.0, "ess_tail": 300.0,
    "worst": "likelihood of the probe",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "but 32 draws are worth 32 independent ones, too few for quantiles. Keep more draws."),
        ({"draws": 200}, "The chains agree (R̂ 1.00), and 800 draws are worth 400 independent ones."),
        ({"rhat": 1.03, "draws": 200}, "For published figures R̂ should be at most 1.01"),
        ({"ess_bulk": 12.0, "draws": 80}, "worth 12 independent ones, too few for quantiles. Run longer"),
        ({"rhat": 1.8}, "four local posteriors averaged, not one posterior"),
        ({"rhat": 1.8, "chains": 12}, "12 local posteriors averaged"),
        (
            {"rhat": None, "chains": 1},
            "One chain of 8 draws: whether it has explored the posterior cannot be told.",
        ),
        ({"rhat": None, "draws": 2}, "too few to compare the chains"),
    ],
)
def test_verdicts(changed, expected):
    assert expected in verdict({**FOUND, **changed})


@pytest.mark.parametrize(
    "changed",
    [
        {"chains": 0}, {"chains": 2.5}, {"draws": -1}, {"rhat": float("inf")}, {"rhat": "1"}, {"worst": 3},
        {"gradients": None},
    ],
)  # fmt: skip
def test_figures_that_are_wrong_are_left_out(changed):
    found, wrong = check({"test": {}, "chains": {**FOUND, **changed}})
    assert "chains" not in found
    assert wrong == ["chains"]


def test_figures_that_are_right_are_read():
    assert check({"test": {}, "chains": {**FOUND, "more": 1}})[0]["chains"] == FOUND
