"""Parts of benchmarks/compressed_sensing.py, on generated pictures."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sensing import (
    classical,
    contest,
    dictionary,
    guarded,
    photographs,
    quality,
    sensing_figures,
    unrolled,
    variation,
)
from sensing.measuring import NOISE, Cell, generator
from sensing.photographs import PIXELS, SIDE, Photograph, centred, drawn, joined


def picture(height: int = 32, width: int = 48, seed: int = 0) -> Photograph:
    """Waves and an edge."""
    y, x = torch.meshgrid(torch.linspace(0, 6, height), torch.linspace(0, 9, width), indexing="ij")
    luma = 0.5 + 0.2 * torch.sin(x + seed) * torch.cos(y) + 0.2 * (x > y + 1)
    return Photograph(f"p{seed}", luma)


def test_patches_go_back_to_their_places():
    one = picture()
    assert one.patches.shape == (6, PIXELS)
    assert torch.equal(one.patches[1], one.luma[:SIDE, SIDE : 2 * SIDE].reshape(-1))
    assert torch.equal(joined(one.patches, (32, 48)), one.luma)


def test_luma_is_cut_to_whole_patches():
    pixels = np.zeros((40, 50, 3), np.uint8)
    pixels[..., 1] = 255
    found = photographs.photograph("green", pixels)
    assert found.luma.shape == (32, 48)
    assert float(found.luma.mean()) == pytest.approx(0.587, abs=1e-6)


def test_drawn_patches_are_parts_of_a_picture_in_some_orientation():
    one = picture(20, 23)
    windows = one.luma.unfold(0, SIDE, 1).unfold(1, SIDE, 1).reshape(-1, SIDE, SIDE)
    turned = [windows.rot90(turn, (1, 2)) for turn in range(4)]
    known = {bytes(w.contiguous().numpy()) for t in turned for w in (*t, *t.flip(2))}
    found = drawn([one], 40, generator(1))
    assert all(bytes(patch.contiguous().numpy()) in known for patch in found)
    assert torch.equal(found, drawn([one], 40, generator(1)))


def test_cosines_are_orthonormal_and_the_first_is_constant():
    C = dictionary.cosines()
    assert torch.allclose(C.t() @ C, torch.eye(PIXELS), atol=1e-5)
    assert torch.allclose(C[:, 0], torch.full((PIXELS,), 1 / SIDE), atol=1e-6)


def test_the_matrix_follows_from_the_seed_and_keeps_the_size_of_patches():
    cell = Cell(25, 0.0, 3)
    assert cell.matrix.shape == (64, PIXELS)
    assert torch.equal(cell.matrix, Cell(25, NOISE, 3).matrix)
    assert not torch.equal(cell.matrix, Cell(25, 0.0, 4).matrix)
    assert float(cell.matrix.square().sum(0).mean()) == pytest.approx(1, abs=0.05)


def test_noise_has_its_deviation():
    y = torch.zeros(200, PIXELS)
    assert not Cell(25, 0.0, 0).measured(y, generator(0)).any()
    assert float(Cell(25, NOISE, 0).measured(y, generator(0)).std()) == pytest.approx(NOISE, rel=0.05)


def test_psnr_of_a_known_error_and_ssim_of_the_same_picture():
    truth = torch.full((32, 32), 0.5)
    assert quality.psnr(truth + 0.1, truth) == pytest.approx(20, abs=1e-4)
    assert quality.psnr(torch.full((32, 32), 3.0), torch.ones(32, 32)) == math.inf  # cut to white
    one = picture()
    assert quality.ssim(one.luma, one.luma) == pytest.approx(1, abs=1e-5)
    assert quality.ssim(one.luma.flip(0), one.luma) < 0.9


def test_dictionary_learning_codes_better_than_its_first_patches():
    pictures = [picture(48, 48, seed) for seed in range(3)]
    y, _ = centred(drawn(pictures, 200, generator(9)))

    def rest(D: torch.Tensor) -> float:
        x = dictionary.FISTA(D, 0.1, 60)(y).x
        return float((0.5 * (y - x @ D.t()).square().sum(1) + 0.1 * x.abs().sum(1)).mean())

    first, later = (dictionary.learned(pictures, steps, atoms=24) for steps in (0, 12))
    assert torch.allclose(later.norm(dim=0), torch.ones(24), atol=1e-5)
    assert rest(later) < 0.9 * rest(first)
    assert torch.equal(later, dictionary.learned(pictures, 12, atoms=24))


def test_fista_is_chosen_by_its_best_psnr_and_the_fewest_iterations_near_it():
    cell = Cell(50, NOISE, 0)
    C = dictionary.cosines()
    y, _ = centred(drawn([picture(64, 64)], 30, generator(2)))
    found = classical.chosen(cell.matrix @ C, C, cell.measured(y, generator(3)), y)
    best = max(map(max, found.psnr))
    row = found.psnr[classical.PENALTIES.index(found.penalty)]
    place = classical.STOPS.index(found.iterations)
    assert max(row) == best
    assert row[place] >= best - classical.NEAR
    assert all(value < best - classical.NEAR for value in row[:place])


@pytest.mark.filterwarnings("ignore:columns of A have norms")
@pytest.mark.parametrize("name", list(unrolled.WAYS))
def test_training_makes_patches_better(name):
    pictures = [picture(48, 48, seed) for seed in range(2)]
    D = dictionary.cosines()[:, :64].contiguous()
    cell = Cell(10, 0.0, 0)
    y, _ = centred(drawn(pictures, 100, generator(5)))
    b = cell.measured(y, generator(6))
    errors = []
    for steps in (0, 25):
        network = unrolled.trained(unrolled.WAYS[name], cell, D, pictures, steps, layers=3)
        errors.append(float((network(b)[0] - y).square().sum()))
    assert errors[1] < 0.95 * errors[0]


def test_certificates_are_checked_anew():
    cell = Cell(25, NOISE, 0)
    D = dictionary.cosines()[:, :100].contiguous()
    A = cell.matrix @ D
    x = torch.zeros(4, 100)
    x[0, 3], x[1, [5, 9]] = 2.0, torch.tensor([1.0, -2.0])
    x[2:] = 0.3 * torch.randn(2, 100, generator=generator(4))
    solver = guarded.HyperLISTA(A / A.norm(dim=0))
    one = guarded.guard(solver, cell, 0.05)
    scaled = A / A.norm(dim=0)
    b = x @ scaled.t()
    b = b + NOISE * torch.randn(b.shape, generator=generator(8))
    found = guarded.answer(one, b)
    assert found.certificate[:2] == ("support", "support")
    assert guarded.counted(found, scaled, b, cell, 0.05) == {
        "samples": 4,
        "fell": found.counts["fallback"],
        "uncertified": 0,
    }
    wrong = found._replace(x=found.x + 0.5, certificate=("support", "support", "lasso", "none"))
    assert guarded.counted(wrong, scaled, b, cell, 0.05)["uncertified"] == 4


def test_total_variation_is_better_than_the_means():
    pytest.importorskip("pylops")
    one, cell = picture(64, 64), Cell(25, 0.0, 0)
    y, means = centred(one.patches)
    problem = variation.Problem(cell, cell.measured(y, generator(0)), means, (64, 64))
    found = variation.reconstructed(problem, 0.1, outer=20)
    flat = joined(means.expand(-1, PIXELS), (64, 64))
    assert quality.psnr(found, one.luma) > quality.psnr(flat, one.luma) + 5


SETTINGS = {
    contest.FISTA_LEARNED: {"penalty": 0.02, "iterations": 50},
    contest.VARIATION: {"weight": 0.1, "psnr": {}},
}


def row(seed: int, ratio: int, noise: float, cpss: float, **more: float) -> dict[str, object]:
    """A row with a PSNR and seconds for each method."""
    psnr = {contest.FISTA_LEARNED: 29.0, sensing_figures.CPSS: cpss, contest.VARIATION: 28.0} | more
    methods = {
        name: {
            **{
                quality_of: {key: {"a": value, "b": value + 2} for key in ("Kodak", "scikit-learn")}
                for quality_of in ("psnr", "ssim")
            },
            "seconds": 2.0,
        }
        for name, value in psnr.items()
    }
    methods[sensing_figures.CPSS]["seconds"] = 0.5
    counts = {"samples": 10, "fell": 4, "uncertified": seed}
    return {"seed": seed, "ratio": ratio, "noise": noise, "methods": methods, "guard": counts}


def test_figures_average_seeds_and_name_what_is_missed():
    rows = [row(0, 25, 0.0, 29.2), row(1, 25, 0.0, 29.6), row(0, 10, 0.0, 20.0), row(0, 25, 0.1, 30.0)]
    found = sensing_figures.figures(rows, [{"conv_alista_minus_fista_db": -0.25}])
    assert found["cs25_cpss_minus_fista_db"] == pytest.approx(0.4)
    assert found["cs25_noise_cpss_minus_fista_db"] == pytest.approx(1.0)
    assert found["cs25_fista_time_vs_cpss"] == pytest.approx(4)
    assert found["cs25_best_minus_tv_db"] == pytest.approx(1.4)
    assert found["fallback_share"] == pytest.approx(0.4)
    assert found["uncertified_returned"] == 1
    missed = sensing_figures.missed(found)
    for name in sensing_figures.GATES:
        assert any(line.startswith(f"{name} is") and "gate" in line for line in missed)
    assert any(line.startswith("conv_alista_minus_fista_db is -0.25, and the goal is ≥ 0") for line in missed)


def test_denoising_has_a_row_for_each_method_and_null_for_a_peer_that_is_missing():
    rows = [
        {
            "noisy_db": 22.0,
            "fista_iterations": count,
            "rows": {
                "ALISTA, learned filters": {"db": 29.0 + count, "seconds": 0.5},
                f"FISTA, {count} iterations": {"db": 28.0, "seconds": 0.25 * count},
            },
            "sporco_db": None,
        }
        for count in (3, 5)
    ]
    body = {line[0]: line[1:] for line in sensing_figures.denoising_body(rows)}
    assert body["ALISTA, learned filters"] == ["33.00 ±1.00", "0.5"]
    assert body["FISTA, 3 or 5 iterations, as long as ALISTA"] == ["28.00 ±0.00", "1"]
    assert body["sporco, ADMM"] == ["null", ""]
    rows[0] |= {"sporco_db": 27.5, "sporco_seconds": 12.0}
    assert sensing_figures.denoising_body(rows)[-1] == ["sporco, ADMM", "27.50", "12"]
    assert sensing_figures.denoising_body([]) == []


def test_tables_put_the_best_first():
    rows = [row(seed, 25, 0.0, 29.5) | {"settings": SETTINGS, "steps": 7} for seed in range(2)]
    body = sensing_figures.body(rows, 25, False)
    assert [line[0] for line in body[:3]] == [sensing_figures.CPSS, contest.FISTA_LEARNED, contest.VARIATION]
    assert body[0][1:] == ["30.50 ±0.00", "30.500 ±0.000"] * 2 + ["0.5", f"{unrolled.LAYERS} layers, 7 steps"]
    assert body[1][-1] == "λ 0.02, 50 iterations"
    assert all(line[1] == "null" for line in body[3:])
    assert sensing_figures.body(rows, 10, False) == []


def test_figures_of_nothing_are_none():
    assert set(sensing_figures.figures([]).values()) == {None}


def test_a_picture_keeps_its_bytes():
    values = torch.arange(256).reshape(16, 16) / 255
    assert np.allclose(contest.unpacked(contest.packed(values)), values.numpy(), atol=1e-7)
