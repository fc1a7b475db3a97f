"""How compress interprets outputs, the guarantees it gives, and the cases it refuses."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import nn

import szilard
from szilard.compression.calibration import Calibration
from szilard.compression.judge import Scores, judge
from szilard.compression.outputs import judged_output
from szilard.compression.promise import Promise
from szilard.errors import SzilardError
from szilard.likelihood import choose


def regression():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)).eval()
    with torch.no_grad():
        network[2].bias.copy_(torch.tensor([30.0, 0.0, -30.0]))
    x = torch.randn(900, 6)
    with torch.no_grad():
        return network, x, network(x)


@pytest.mark.parametrize("labelled", [True, False])
def test_regression_with_several_targets(labelled):
    network, x, y = regression()
    made = szilard.compress(network, [(x, y)] if labelled else x, max_drop=0.005)
    with torch.no_grad():
        error = (made.network(x) - y).square().mean(0) / y.var(0)
    assert float(error.mean()) < 0.01
    assert made.task.startswith("regression")
    assert 0 <= made.drop <= 0.005
    assert made.judged_on == 900 - 512


def test_a_network_no_better_than_guessing_is_refused():
    x = torch.randn(900, 6)
    with pytest.raises(SzilardError, match="no better than guessing"):
        szilard.compress(nn.Linear(6, 3), [(x, torch.arange(900) % 3)])


def test_a_nan_score_stops_the_search():
    calls = []

    def evaluate(network):
        calls.append(1)
        return float("nan") if len(calls) > 1 else 1.0

    with pytest.raises(SzilardError, match="is nan"):
        szilard.compress(regression()[0], evaluate=evaluate, max_drop=0.1)
    assert len(calls) == 2


class Random(nn.Linear):
    def forward(self, x):
        return nn.functional.dropout(super().forward(x))


@pytest.mark.parametrize(
    ("network", "data", "words"),
    [
        (Random(6, 3), torch.randn(200, 6), "differ each time"),
        (nn.Linear(6, 3), torch.full((200, 6), torch.nan), "example 0 of .* has NaN"),
        (nn.Linear(6, 3), torch.randn(200, 5), "does not take calibration inputs"),
        (nn.LazyLinear(3), torch.randn(200, 6), "has no shape yet"),
        (nn.Linear(6, 3), [(torch.randn(9, 6), torch.zeros(8))], "9 inputs and 8 labels"),
        (nn.Linear(6, 3), 7, "calibration is a int"),
    ],
)
def test_invalid_input_is_refused(network, data, words):
    with pytest.raises(SzilardError, match=words):
        szilard.compress(network, data)


def test_a_compressed_network_with_nan_outputs_is_refused():
    class Overflows(nn.Linear):
        def forward(self, x):
            return super().forward(x) / (self.weight == self.exact).all()

    network = Overflows(6, 3)
    network.register_buffer("exact", network.weight.detach().clone(), persistent=False)
    with pytest.raises(SzilardError, match="are NaN or infinite, and those of the original are not"):
        szilard.compress(network, torch.randn(200, 6), lam=1e-4)


def counted(right, n, wrong_after):
    before = torch.zeros(n, dtype=torch.float64)
    before[:right] = 1
    after = before.clone()
    after[:wrong_after] = 0
    return [Scores(float(v.mean()), v) for v in (before, after)]


def test_a_drop_of_exactly_the_limit_is_allowed_without_confidence():
    before, after = counted(995, 1000, 5)
    assert (
        Promise(
            Scores(1.0),
            0.005,
            0,
        ).excess(Scores(0.995))
        <= 0
    )
    assert Promise(before, 0.005, 0).excess(after) <= 0
    assert Promise(before, 0.005, 0.9).excess(after) > 0
    assert Promise(before, 0.005, 0.9).excess(counted(995, 1000, 1)[1]) <= 0


def test_relative_scores_are_not_counts():
    ones = torch.ones(300, dtype=torch.float64)
    before = Scores(1.0, ones, relative=True)
    promise = Promise(before, 0.005, 0.9)
    assert not promise.counted
    assert promise.drop(Scores(0.999, ones - 0.001, relative=True)).upper == pytest.approx(0.001)
    assert promise.notes() == []


def test_the_note_on_too_few_examples_states_how_many_are_enough():
    before, _ = counted(80, 100, 0)
    promise = Promise(before, 0.005, 0.9)
    assert promise.too_few
    assert "461 are enough" in promise.notes()[0]
    assert not Promise(counted(900, 1000, 0)[0], 0.005, 0.9).too_few
    assert any(
        "either it was trained on" in note for note in Promise(counted(999, 1000, 0)[0], 0.005, 0.9).notes()
    )


def test_the_interval_has_its_nominal_coverage():
    """The upper bound with 90 % confidence covers the true drop in about 90 % of repetitions."""
    generator = torch.Generator().manual_seed(0)
    kept = 0
    for _ in range(400):
        before = torch.ones(1000, dtype=torch.float64)
        after = (torch.rand(1000, generator=generator) > 0.02).double()
        upper = Promise(Scores(1.0, before), 0.02, 0.9).drop(Scores(float(after.mean()), after)).upper
        kept += upper >= 0.02
    assert 0.86 < kept / 400 < 0.95


def test_the_judged_tensor():
    x = torch.ones(2, 3)
    assert judged_output((x, None)) is x
    assert judged_output({"loss": torch.zeros(()), "logits": x}) is x
    with pytest.raises(SzilardError, match="no tensor"):
        judged_output(None)


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
def test_padding_modes_of_conv1d(mode):
    layer = nn.Conv1d(3, 4, 3, padding=2, dilation=2, padding_mode=mode)
    made = szilard.compress(layer, torch.randn(64, 3, 16), lam=1e-12)
    assert made.score > 0.999


def test_without_labels_few_examples_use_the_change_of_probabilities():
    values = torch.full((128,), 0.9, dtype=torch.float64)
    sure = torch.full((128,), 0.9, dtype=torch.float64)
    before = Scores(0.9, values, sure, relative=False, steps=True)
    promise = Promise(before, 0.005, 0.9)
    same = Scores(0.9, values, sure, steps=True)
    assert promise.too_few
    assert not promise.too_good
    assert promise.excess(same) <= 0  # not even the probabilities changed
    less = Scores(0.9, values, sure - 0.02, steps=True)
    assert promise.excess(less) > 0  # no prediction changed, but the probabilities fell
    (note,) = promise.notes()
    assert "461 are enough (give 973 without labels" in note


def test_without_labels_changed_predictions_are_counted():
    values = torch.full((1000,), 0.9, dtype=torch.float64)
    before = Scores(0.9, values, values, steps=True)
    promise = Promise(before, 0.005, 0.9)
    assert promise.drop(Scores(0.9, values, values, steps=True)).upper == pytest.approx(0.0023, abs=1e-4)
    changed = values.clone()
    changed[:2] -= 0.5
    found = promise.drop(Scores(float(changed.mean()), changed, values, steps=True))
    assert found.mean == pytest.approx(0.001)
    assert 0.0025 < found.upper < 0.0035  # 2 changed, at most 5.32 with 90 % confidence, each costing 0.5


@pytest.mark.parametrize("outputs", [1, 3])
def test_without_labels_the_score_is_the_probability_of_the_original_prediction(outputs):
    torch.manual_seed(0)
    network = nn.Linear(4, outputs).eval()
    x = torch.randn(200, 4)
    task = "classification" if outputs > 1 else "multilabel"
    found = judge(network, Calibration.of(x, network), task=task).scores(network)
    z = network(torch.cat(Calibration.of(x, network).judges)).detach().double()
    probability = z.softmax(1).amax(1) if outputs > 1 else torch.maximum(z.sigmoid(), 1 - z.sigmoid())[:, 0]
    assert found.steps
    assert torch.allclose(found.label_probability, probability, atol=1e-5)
    assert torch.allclose(found.values, probability, atol=1e-5)


def test_unsuitable_labels_are_ignored_if_evaluate_is_given():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)).eval()
    x, y = torch.randn(700, 6), torch.randn(700, 1)
    wanted = network(x).detach()

    def score(other):
        return -(other(x) - wanted).abs().mean(1)

    with pytest.raises(SzilardError, match="do not fit outputs"):
        szilard.compress(network, [(x, y)], lam=1e-6, progress=False)
    made = szilard.compress(network, [(x, y)], evaluate=score, lam=1e-6, progress=False)
    assert any("labels are ignored" in note for note in made.notes)


def test_a_larger_file_is_closer_to_the_original():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(900, 6, generator=generator)
    y = (x @ torch.randn(6, 3, generator=generator) + 2 * torch.randn(900, 3, generator=generator)).argmax(1)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(60):
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
    network.eval()
    gaps = []
    for most in (300, 500, 1200):
        made = szilard.compress(network, [(x, y)], max_bytes=most, progress=False)
        with torch.no_grad():
            gaps.append(float((made.network(x) - network(x)).norm() / network(x).norm()))
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.01


def test_logits_of_a_named_tuple_and_constant_outputs():
    features, logits = torch.randn(5, 8), torch.randn(5, 3)

    class Named(NamedTuple):
        features: torch.Tensor
        logits: torch.Tensor

    assert judged_output(Named(features, logits)) is logits
    assert judged_output((torch.full((5, 1), 0.5), logits)) is logits
    assert judged_output((features, logits)) is features


def test_labels_of_minus_one_are_refused_with_advice():
    y = torch.tensor([[0.0, 1.0], [-1.0, 1.0]]).repeat(10, 1)
    with pytest.raises(SzilardError, match="write -100"):
        choose(torch.randn(20, 2), y)
