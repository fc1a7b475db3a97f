"""Spectra, means and structure of benchmarks/field.py, and its figures and tables, against known answers."""

from __future__ import annotations

import numpy as np
import pytest

from climate import field_figures, field_tables, fields, utility
from climate.field_tables import OURS
from pages import field_blocks
from pages.results import ROOT, NotMeasured

HEIGHT, WIDTH = 40, 96
LATITUDE = np.linspace(90, -90, HEIGHT)


def wave(number, size=1.0):
    along = np.cos(2 * np.pi * number * np.arange(WIDTH) / WIDTH)
    return np.broadcast_to(size * along, (1, HEIGHT, WIDTH)).copy()


@pytest.mark.parametrize("number", [3, 20])
def test_a_wave_has_its_power_at_its_wavenumber(number):
    rings, power = utility.spectrum(wave(number))
    assert rings.tolist() == list(range(1, WIDTH // 2 + 1))
    total = power * rings
    assert total[number - 2 : number + 1].sum() > 0.9 * total.sum()
    assert utility.spectrum(wave(number, 2.0))[1] == pytest.approx(4 * power)


def test_a_stronger_wave_is_an_error_of_its_octave_alone():
    field = wave(3) + wave(20)
    rings, before = utility.spectrum(field)
    after = utility.spectrum(wave(3) + wave(20, 1.1))[1]
    found = dict(zip(utility.octaves(rings), utility.power_errors(before, after, rings), strict=True))
    assert list(found) == ["1-1", "2-3", "4-7", "8-15", "16-31", "32-48"]
    assert found["16-31"] == pytest.approx(0.21, abs=0.003)
    assert abs(found["2-3"]) < 0.001


def test_bands_of_a_flat_spectrum_are_flat():
    rings = np.arange(1, 50)
    flat = utility.smoothed(np.full(49, 2.5), rings)
    assert flat == pytest.approx(2.5)
    assert utility.smoothed(rings.astype(float), rings)[:4].tolist() == [1, 2, 3, 4.5]


def test_area_means_weigh_by_the_cosine_of_the_latitude():
    field = np.broadcast_to(np.where(np.abs(LATITUDE) > 60, 1.0, 0.0)[:, None], (HEIGHT, WIDTH))
    share = 1 - np.sin(np.deg2rad(60))  # of the sphere
    assert utility.area_means(field[None], LATITUDE)[0] == pytest.approx(share, abs=0.01)
    assert utility.area_means(np.full((2, HEIGHT, WIDTH), 3.0), LATITUDE) == pytest.approx(3.0)


def test_measures_of_a_shifted_field_are_its_shift():
    original = fields.smooth_noise((HEIGHT, WIDTH), 10.0, 0)[None]
    found = utility.measures(original, original + np.float32(0.05), 0.1, LATITUDE)
    assert found["bias"] == pytest.approx(0.5, abs=0.001)
    assert found["quantile"] == pytest.approx(0.5, abs=0.001)
    assert found["rms"] == pytest.approx(0.5, abs=0.001)
    assert sum(found["errors"]) == pytest.approx(1, abs=1e-3)
    assert max(abs(change) for change in found["power"].values()) < 1e-4
    assert len(found["waves"]) == len(found["spectrum"]) == len(found["error_spectrum"])


def test_dssim_is_one_for_the_same_slice_and_falls_with_noise():
    field = fields.smooth_noise((HEIGHT, WIDTH), 1.0, 0).astype(np.float64)
    noise = np.random.default_rng(0).standard_normal(field.shape)
    found = [utility.dssim(field, field + size * noise) for size in (0, 0.01, 0.1)]
    assert found[0] == pytest.approx(1)
    assert 1 > found[1] > 0.98 > found[2] > 0


def best():
    return {"power": {"1-1": 0.001, "2-3": -0.02}, "quantile": 0.5, "bias": 0.01, "rms": 0.4, "dssim": 0.99}


def row(codec, size, holds=True, violations=0):
    return {"codec": codec, "options": "usual", "layout": "2-D slices", "bytes": size, "holds": holds,
            "violations": violations}  # fmt: skip


def results(ratio=1.2):
    """Results in which every store of ours has 1,000 bytes."""
    cells = [
        {
            "cell": name,
            "bytes": 1000,
            "raw": 50_000,
            "violations": 0,
            "best": best(),
            "encode_seconds": 0.005,
            "decode_seconds": 0.001 * (1 + number),
        }
        for number, name in enumerate(fields.BY_NAME)
    ]
    rows = [
        row("SZ3", 1000 * ratio),
        row("SPERR", 10, holds=False),
        row("BitRound + zstd", 3000, violations=2),
    ]
    return {
        "cells": cells,
        "peers": [{"cell": name, "rows": rows, "best": {"SZ3": best()}} for name in fields.BY_NAME],
        "fit_once": [
            {
                "variable": "u",
                "share": share,
                "other_month": 110,
                "own_month": 100,
                "loss_percent": loss,
                "violations": 0,
            }
            for share, loss in ((1e-2, 3.0), (1e-3, 1.0))
        ],
        "promises": [{"arrays": 250, "violations": 1, "messages": []}],
        "speed": [{"encode_mb_per_s": speed, "decode_mb_per_s": 2 * speed} for speed in (20.0, 30.0)],
    }


def test_figures_are_ratios_to_the_best_peer_that_keeps_the_bound():
    found = field_figures.figures(results())
    assert found["ratio_vs_best"] == pytest.approx(1.2)
    assert found["ratio_vs_best_era5"] == pytest.approx(1.2)
    assert found["wind_vs_bitround_worst"] == pytest.approx(3)
    assert found["fit_once_loss_percent"] == 3.0
    assert found["fit_once_loss_percent_median"] == 2.0
    assert (found["bound_violations"], found["arrays_checked"]) == (1, 250 + 17 + 2)
    assert (found["encode_mb_per_s"], found["decode_mb_per_s"]) == (20.0, 40.0)
    assert (found["cell_encode_mb_per_s"], found["cell_decode_mb_per_s"]) == pytest.approx((10.0, 50 / 17))
    assert found["peak_mb"] is None
    assert found["decoders_identical"] is None


def test_the_geometric_mean_leaves_out_the_cell_beside():
    found = results()
    entry = next(entry for entry in found["cells"] if fields.BY_NAME[entry["cell"]].beside)
    entry["bytes"] = 2000
    known = field_figures.figures(found)
    assert known["ratio_vs_best"] == pytest.approx(1.2)
    assert known["z_beside"] == pytest.approx(0.6)
    assert known["z_worst"] == pytest.approx(1.2)
    assert any(
        line.startswith(f"{entry['cell']}: MISSED 0.75 by 0.150, against SZ3")
        for line in field_figures.missed(found)
    )


def test_a_missed_gate_says_by_how_much():
    found = results(1.01)
    assert field_figures.verdict("ratio_vs_best", 1.01) == "MISSED by 0.04"
    assert field_figures.verdict("ratio_vs_best", 1.10) == "reached"
    assert field_figures.verdict("ratio_vs_best", 1.15) == "goal reached"
    assert field_figures.verdict("fit_once_loss_percent", 6.0) == "MISSED by 1"
    lines = field_figures.missed(found)
    assert any(line.startswith("ratio_vs_best is 1.01") for line in lines)
    assert any(line.startswith("bound_violations is 1") for line in lines)


def test_tables_have_all_columns():
    found = results()
    for columns, body in (
        (field_tables.CELL_COLUMNS, field_tables.cell_body(found)),
        (field_tables.UTILITY_COLUMNS, field_tables.utility_body(found)),
        (field_tables.FIGURE_COLUMNS, field_tables.figure_body(found)),
        (field_tables.BROKEN_COLUMNS, field_tables.broken_body(found)),
        (field_tables.FIT_COLUMNS, field_tables.fit_body(found)),
    ):
        assert body
        assert {len(line) for line in body} == {len(columns)}
    first = field_tables.cell_body(found)[0]
    assert first[:3] == ["ERA-Interim u 0.01", "50.0", "41.7"]
    assert first[3] == ""  # SPERR does not keep the bound
    assert [line[1] for line in field_tables.utility_body(found, (1e-2,))] == [OURS, "SZ3"] * 5
    assert field_tables.utility_body(found)[0][3:5] == ["-2.00", "2-3"]
    assert len(field_tables.broken_body(found)) == len(fields.BY_NAME)


def test_blocks_say_what_is_missed_and_what_is_not_measured(monkeypatch):
    monkeypatch.setattr(field_blocks, "section", lambda: {"runs": {}, **results(1.01)})
    text = field_blocks.reading()
    assert "1.010 times ours" in text
    assert "- ratio_vs_best is 1.01, and the gate is ≥ 1.05: MISSED by 0.04" in text
    assert field_blocks.BLOCKS["field-cells"]().count("\n") == 1 + len(fields.BY_NAME)
    with pytest.raises(NotMeasured, match="float32 MB"):
        field_blocks.BLOCKS["field-memory"]()
    page = (ROOT / "docs" / "field_results.md").read_text() + (ROOT / "README.md").read_text()
    assert all(f"<!-- begin {name} -->" in page for name in field_blocks.BLOCKS)
