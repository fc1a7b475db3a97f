"""The benchmark of denoising: its keys, on small pictures, with and without sporco."""

from __future__ import annotations

import sys

import pytest
import torch

from sensing import denoising


def pictures(count, side=40):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.nn.functional.interpolate(
            torch.rand(1, 1, 5, 5, generator=generator), (side, side), mode="nearest"
        )[0, 0]
        for _ in range(count)
    ]


@pytest.fixture
def small(monkeypatch):
    for name, value in {
        "COUNT": 4,
        "SIDE": 3,
        "CROP": 16,
        "TUNED_ON": 1,
        "TUNED_SIDE": 24,
        "PENALTIES": (0.1, 0.15, 0.2),
    }.items():
        monkeypatch.setattr(denoising, name, value)
    monkeypatch.setitem(sys.modules, "sporco", None)


def test_the_table_has_a_row_for_each_method_and_says_how_to_install_sporco(small):
    found = denoising.denoising(pictures(2), pictures(3)[2:], steps=8, learning=3)
    rows = found["rows"]
    fista = f"FISTA, {found['fista_iterations']} iterations"
    assert found["conv_alista_minus_fista_db"] == rows["ALISTA, learned filters"]["db"] - rows[fista]["db"]
    assert found["noisy_db"] == pytest.approx(22.1, abs=0.4)
    assert all(row["db"] > found["low_db"] for row in rows.values())
    assert all(row["seconds"] > 0 for row in rows.values())
    assert found["sporco_db"] is None
    assert found["sporco_install"].startswith("pip install sporco")
    assert rows[fista]["penalty"] in denoising.PENALTIES


def test_the_best_penalty_is_found_on_the_pictures_for_tuning():
    truth = pictures(1)[0]
    # The method that leaves least of the noise wins.
    assert denoising.best(lambda penalty: lambda high: high * abs(penalty - 0.14), [(truth, truth)]) == 0.23
    assert denoising.psnr(truth + 0.1, truth.clamp(0, 0.9)) > 19.9
