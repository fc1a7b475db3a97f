"""HyperLISTA's three numbers: the search, and numbers of one matrix on others."""

import math

import pytest
import torch

from szilard.errors import SzilardError
from szilard.solve import HyperLISTA
from szilard.solve.hyperlista import DEFAULT
from szilard.solve.operators import as_operator
from szilard.solve.samples import CodePrior, batch_error_db
from szilard.solve.tuning import search


def units(A):
    return A / A.norm(dim=0)


def gaussian(m, n, seed=0):
    return units(torch.randn(m, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


def cosine(m, n):
    """Rows of a discrete cosine transform."""
    k = torch.arange(n, dtype=torch.float64)
    rows = torch.cos(math.pi * (k[None] + 0.5) * k[:, None] / n)
    return units(rows[torch.randperm(n, generator=torch.Generator().manual_seed(4))[:m]])


def correlated(m, n):
    """Columns that look like their neighbours."""
    A = gaussian(m, n, 2)
    return units(A + 0.5 * A.roll(1, 1))


def error(A, numbers, density=0.1, snr=None, layers=16):
    generator = torch.Generator().manual_seed(99)
    x, b = CodePrior(density, snr=snr).draw(as_operator(A), 48, generator)
    return batch_error_db(HyperLISTA(A, layers, numbers)(b).x, x)


def test_a_search_finds_a_minimum_and_is_the_same_every_time():
    wanted = torch.tensor([3.0, 0.2, 5.0])

    def score(numbers):
        return float((torch.tensor(numbers) / wanted).log().square().sum())

    found = search(score, score, (1.0, 1.0, 1.0), 200, seed=1)
    assert found.score < 0.05 < score((1.0, 1.0, 1.0))
    assert found.evaluations == 200
    assert search(score, score, (1.0, 1.0, 1.0), 200, seed=1) == found
    assert search(score, score, (1.0, 1.0, 1.0), 200, seed=2) != found


def test_scores_that_are_not_finite_lose():
    def score(numbers):
        return (
            float("nan") if numbers[0] > 1 else -float("inf") if numbers[1] > 1 else -numbers[0] * numbers[1]
        )

    found = search(score, score, (0.5, 0.5), 60, seed=0)
    assert max(found.numbers) <= 1
    assert found.score <= -0.25
    with pytest.raises(SzilardError, match="no numbers gave a finite error"):
        search(lambda _: float("nan"), lambda _: float("nan"), (1.0,), 3, seed=0)
    with pytest.raises(SzilardError, match="evaluations=0"):
        search(score, score, (0.5, 0.5), 0, seed=0)


def test_other_samples_decide_between_the_best():
    calls = []

    def judge(numbers):
        calls.append(numbers)
        return abs(numbers[0] - 1.0)

    found = search(lambda numbers: -numbers[0], judge, (1.0,), 20, seed=0)
    assert found.numbers == (1.0,)  # the start is always judged
    assert 2 <= len(calls) <= 9


def test_tuning_improves_a_case_far_from_the_default():
    A = gaussian(200, 250)
    solver = HyperLISTA(A).tune(0.2, samples=16, evaluations=40)
    assert error(A, solver.numbers, 0.2) < error(A, DEFAULT, 0.2) - 5


def test_tuning_is_the_same_for_one_seed_and_both_dtypes():
    A = gaussian(30, 60)
    one = HyperLISTA(A, 8).tune(0.06, 30, seed=3, samples=12, evaluations=12)
    state = torch.get_rng_state()
    again = HyperLISTA(A, 8).tune(0.06, 30, seed=3, samples=12, evaluations=12)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(one.numbers, again.numbers)
    single = HyperLISTA(A.float(), 8)
    assert single.tune(0.06, 30, seed=3, samples=12, evaluations=12) is single
    assert single.operator.dtype == torch.float32
    torch.testing.assert_close(single.numbers, one.numbers, rtol=1e-3, atol=0)


def test_columns_of_any_norm_are_tuned_as_those_of_unit_norm():
    A = gaussian(30, 60)
    one = HyperLISTA(A, 8).tune(0.06, samples=12, evaluations=12)
    with pytest.warns(UserWarning, match="scales them to 1"):
        scaled = HyperLISTA(A * torch.linspace(0.1, 9, 60).double(), 8)
    torch.testing.assert_close(scaled.tune(0.06, samples=12, evaluations=12).numbers, one.numbers)


@pytest.mark.parametrize(
    "A",
    [gaussian(125, 250), gaussian(100, 250), gaussian(200, 250), cosine(125, 250), correlated(125, 250)],
    ids=["half", "fewer rows", "more rows", "cosine", "correlated"],
)
def test_the_default_numbers_serve_other_matrices(A):
    assert error(A, DEFAULT, density=0.06) < -60


@pytest.mark.parametrize(("density", "snr", "wanted"), [(0.05, 40, -38), (0.05, 20, -18), (0.1, 20, -15)])
def test_the_error_stays_near_the_noise(density, snr, wanted):
    assert error(gaussian(125, 250), DEFAULT, density, snr) < wanted


@pytest.mark.parametrize("numbers", [(1.0, 2.0), (1.0, -1.0, 1.0), (1.0, float("nan"), 1.0)])
def test_numbers_that_are_none(numbers):
    with pytest.raises(SzilardError, match="three numbers"):
        HyperLISTA(gaussian(5, 8), numbers=numbers)


def test_options_out_of_range():
    solver = HyperLISTA(gaussian(5, 8))
    for options, words in (
        ({"density": 0.0}, "density=0.0"),
        ({"density": 1.0}, "density=1.0"),
        ({"samples": 0}, "samples=0"),
        ({"evaluations": 0}, "evaluations=0"),
        ({"amplitude": 0.0}, "amplitude=0.0"),
    ):
        with pytest.raises(SzilardError, match=words):
            solver.tune(**options)
