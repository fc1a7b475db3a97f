"""The guarantee on the drop: intervals with known values, and caution with few examples."""

from __future__ import annotations

import math
from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import szilard
from szilard.compression.intervals import counted, quantile, student
from szilard.compression.judge import Scores
from szilard.compression.promise import CHOSEN_BY_FEW, Promise
from szilard.compression.unrounded import unrounded
from szilard.errors import SzilardError, SzilardWarning

Z = quantile(0.9)


def scores(values, label_probability=None, **more):
    values = torch.as_tensor(values, dtype=torch.float64)
    sure = None if label_probability is None else torch.as_tensor(label_probability, dtype=torch.float64)
    return Scores(float(values.mean()), values, sure, **more)


def right(n, wrong=(), label_probability=None):
    values = torch.ones(n)
    values[list(wrong)] = 0
    return scores(values, label_probability)


def test_no_observed_change_still_gives_a_positive_bound():
    assert counted(torch.zeros(300), Z) == pytest.approx(-math.log(0.1) / 300, rel=0.02)


def test_students_quantile():
    assert student(Z, 11) == pytest.approx(1.372, abs=0.01)  # 10 degrees of freedom
    assert student(quantile(0.95), 31) == pytest.approx(1.697, abs=0.003)
    assert student(Z, 10**6) == pytest.approx(1.2816, abs=1e-4)


@given(st.integers(0, 20), st.integers(0, 20), st.floats(0.6, 0.99))
def test_intervals_widen_with_confidence_and_with_changes(lost, won, confidence):
    differences = torch.zeros(500)
    differences[:lost] = 1
    differences[100 : 100 + won] = -1
    width = counted(differences, quantile(confidence))
    assert width > 0
    assert counted(differences, quantile(confidence + 0.005)) > width
    differences[lost] = 1
    assert counted(differences, quantile(confidence)) > width


def test_scores_that_hardly_change_still_have_an_interval():
    before = scores(torch.tensor([1.0, 0.8]).repeat(1000))
    few = before.values.clone()
    few[:2] -= 0.2
    promise = Promise(before, 0.005, 0.9)
    assert promise.drop(before).upper == pytest.approx(
        -math.log(0.1) / 2000 * float(before.values.std()), rel=0.02
    )
    changed = promise.drop(scores(few))
    assert changed.upper - changed.mean >= Z * changed.se
    assert Promise(before, 0.005, 0).drop(before).upper == 0


def test_a_gain_on_few_examples_does_not_lower_the_bound():
    e = torch.linspace(-1, 1, 200)
    before = scores(1 - e.square(), relative=True)
    after = scores(1 - (0.9 * e).square(), relative=True)
    drop = Promise(before, 0.02, 0.9).drop(after)
    assert drop.mean < 0
    assert drop.upper == pytest.approx(student(Z, 200) * drop.se)
    many = CHOSEN_BY_FEW // 200 + 1
    before, after = (scores(one.values.repeat(many), relative=True) for one in (before, after))
    assert Promise(before, 0.02, 0.9).drop(after).upper < 0


def test_with_few_examples_lost_probability_raises_the_bound():
    n = 500
    before = right(n, [0], torch.full((n,), 0.98))
    less_confident = right(n, [0], torch.where(torch.arange(n) % 2 == 0, 0.98, 0.90))
    promise = Promise(before, 0.02, 0.9)
    assert promise.excess(less_confident) > 0  # no prediction changed, but probabilities fell
    assert promise.drop(less_confident).upper == pytest.approx(0.04, abs=0.004)
    assert promise.excess(right(n, [0, 1, 2], before.label_probability - 0.001)) <= 0
    assert (
        Promise(right(n, [0]), 0.02, 0.9).excess(right(n, [0])) <= 0
    )  # without probabilities only counts are used


def test_probabilities_far_below_the_score_do_not_narrow_the_interval():
    n = 500
    flat = torch.full((n,), 0.11)
    sure = torch.full((n,), 0.97)
    lost = range(4)
    assert Promise(right(n, [], sure), 0.02, 0.9).drop(right(n, lost, sure)).upper < (
        Promise(right(n, [], flat), 0.02, 0.9).drop(right(n, lost, flat)).upper
    )
    assert Promise(right(n, [], flat), 0.02, 0.9).drop(right(n, lost, flat)).upper == pytest.approx(
        0.008 + counted(torch.tensor([1.0] * 4 + [0.0] * 496), Z)
    )


def test_a_drop_of_0_allows_no_lost_answer():
    n = 150
    sure = torch.full((n,), 0.97)
    promise = Promise(right(n, [0], sure), 0.0, 0.9)
    assert promise.excess(right(n, [0], sure - 1e-3)) <= 0
    assert promise.excess(right(n, [1], sure)) > 0  # one is lost and another is won
    assert promise.excess(right(n, [0], sure - 0.01)) > 0
    assert Promise(right(n, [0], sure), 0.0, 0).excess(right(n, [1], sure)) <= 0


def test_a_drop_of_0_on_few_examples_is_no_larger_than_rounding_by_row():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)).eval()
    x = torch.randn(600, 16)
    with torch.no_grad():
        network[2].weight *= 40
        best = network(x).topk(2, 1)
        chosen = (best.values[:, 0] - best.values[:, 1]).argsort()[-150:]
        x, y = x[chosen], best.indices[chosen, 0]
    made = szilard.compress(network, [(x, y)], max_drop=0.0, progress=False)
    assert made.drop == 0
    rounded = [size for _, size, score in made.trials[-3:] if score == made.original_score]
    assert len(rounded) > 1
    assert len(made.data) <= min(rounded)


def test_exact_weights_need_no_examples():
    class Made:
        scores = right(20, [0, 1, 2])
        notes: ClassVar[list[str]] = []

    promise = Promise(right(20, [0, 1, 2]), 0.001, 0.9)
    with pytest.warns(SzilardWarning, match="bit for bit"):
        assert unrounded(lambda lam, passes: Made(), promise, 0.1) is not None


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4))

    def forward(self, x):
        found = self.body(x)
        return {"vector": found, "logits": found[:, :2]}


def test_the_judged_output_is_named():
    network, x = Two().eval(), torch.randn(700, 6)
    with torch.no_grad():
        y = network(x)["logits"]
    made = szilard.compress(network, [(x, y)], max_drop=0.05, progress=False)
    assert made.task.endswith("by its output logits")
    assert any("logits" in note for note in made.notes)
    with pytest.raises(SzilardError, match=r"the judged output logits: .* no better than guessing"):
        szilard.compress(network, [(x, torch.randn(700, 2))], progress=False)
    with pytest.raises(SzilardError, match="the judged output logits: labels of shape"):
        szilard.compress(network, [(x, torch.randn(700, 3))], progress=False)
    with pytest.raises(SzilardError, match=r"^the network does not take"):
        szilard.compress(network, torch.randn(700, 5), progress=False)


def test_without_data_the_output_that_differs_most_is_named():
    with pytest.warns(SzilardWarning, match="most in the output"):
        szilard.compress(Two().eval(), lam=1e-2, progress=False)


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = Two().body

    def forward(self, x):
        found = self.body(x)
        return found[:, :1], (found[:, 1:],)


def test_positions_in_a_tuple_are_named():
    x = torch.randn(700, 6)
    with pytest.raises(SzilardError, match=r"the judged output result\[0\]: "):
        szilard.compress(Pair().eval(), [(x, torch.randn(700, 1))], progress=False)


@pytest.mark.parametrize("value", [0.1, 0.0, -3e4])
def test_a_constant_target_is_left_out_with_a_warning(value):
    network, x = Two().body.eval(), torch.randn(900, 6)
    with torch.no_grad():
        y = network(x)[:, :2]
        network = nn.Sequential(*network[:2], nn.Linear(16, 2)).eval()
        network[2].weight.copy_(Two().body[2].weight[:2])
        network[2].bias.copy_(Two().body[2].bias[:2])
        network[2].weight[1] = 0
        network[2].bias[1] = value
        y[:, 1] = value
        y[:, 0] += 0.1 * y[:, 0].std() * torch.randn(900)
    with pytest.warns(SzilardWarning, match=r"target 1 .* of 2 .* left out of the score"):
        made = szilard.compress(network, [(x, y)], max_drop=0.02, progress=False)
    assert made.original_score == pytest.approx(0.99, abs=0.01)
    assert 0.95 < made.score < 1
    with pytest.raises(SzilardError, match="have the same targets, for which R² is not defined"):
        szilard.compress(network, [(x, torch.full_like(y, value or 3.0))], progress=False)
