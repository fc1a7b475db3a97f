"""Inputs in raw units, inferred from the first layer's weights; logits of any size; exact storage as a fallback."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from units_of_inputs import CLASSES, FEATURES, UNITS, normal

import szilard
from szilard.compression import sequential_rounding
from szilard.compression.judge import Scores
from szilard.compression.logits import usual_logits
from szilard.compression.promise import Promise
from szilard.compression.raw_units import NOTE, apart, balanced_roots, raw_units
from szilard.errors import SzilardError, SzilardWarning
from szilard.likelihood import Categorical, Gaussian, choose


def trained(classes: int = CLASSES) -> tuple[nn.Module, Tensor, Tensor]:
    """A classifier of standardised inputs, the inputs ``[2000, 10]``, and their classes."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        x = torch.randn(2000, FEATURES)
        y = (x @ torch.randn(FEATURES, classes)).argmax(1)
        network = nn.Sequential(
            nn.Linear(FEATURES, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, classes)
        )
        adam = torch.optim.Adam(network.parameters(), 5e-3)
        for _ in range(250):
            chosen = torch.randint(1000, (64,))
            adam.zero_grad()
            nn.functional.cross_entropy(network(x[chosen]), y[chosen]).backward()
            adam.step()
    return network.eval(), x, y


@pytest.fixture(scope="module")
def case() -> tuple[nn.Module, Tensor, Tensor]:
    return trained()


def folded(network: nn.Module, units: Tensor) -> nn.Module:
    """The same network for inputs in these units."""
    made = copy.deepcopy(network)
    with torch.no_grad():
        made[0].weight.div_(units)
    return made


@torch.no_grad()
def gap(network: nn.Module, other: nn.Module, x: Tensor) -> float:
    a, b = network(x), other(x)
    return float((a - b).norm() / (a - a.mean(0)).norm())


@pytest.mark.parametrize("decades", [1, 2, 4])
def test_without_data_raw_units_of_inputs_do_not_change_the_result(case, decades):
    network, x, _ = case
    units = 10.0 ** torch.linspace(-decades, decades, FEATURES)
    raw = folded(network, units)
    plain, made = (szilard.compress(one, progress=False) for one in (network, raw))
    assert NOTE in made.notes
    assert NOTE not in plain.notes
    assert gap(raw, made.network, x * units) < 0.02
    assert len(made.data) < 1.05 * len(plain.data)


def test_the_reported_difference_is_measured_on_inputs_in_raw_units(case):
    network, x, _ = case
    raw = folded(network, UNITS)
    with pytest.warns(SzilardWarning, match="nothing was judged"):
        rough = szilard.compress(raw, lam=1e-2, progress=False)
    message = next(note for note in rough.notes if "nothing was judged" in note)
    share, true = (
        float(message.split("differ by ")[1].split(" %")[0]) / 100,
        gap(raw, rough.network, x * UNITS),
    )
    assert true / 3 < share < 6 * true  # the reported value is that of the worst output


def test_apart():
    assert not apart(torch.tensor([1.0]).log())
    assert not apart(torch.linspace(1, 29, 50).log())
    assert apart(torch.tensor([1.0, 31.0]).log())
    assert apart(torch.cat([torch.ones(99), torch.tensor([1 / 400])]).log())


def test_balanced_roots_do_not_depend_on_input_units():
    x = (
        normal(400, FEATURES).double()
        @ (torch.eye(FEATURES) + 0.3 * normal(FEATURES, FEATURES, seed=1)).double()
    )
    weight = normal(6, FEATURES, seed=3)
    weight = weight / weight.norm(dim=0)
    units = UNITS.double() ** 2
    plain = sequential_rounding.inverse_roots((x.T @ x)[None])[0]
    made = balanced_roots(((x * units).T @ (x * units))[None], weight / units)[0]
    assert torch.allclose(made * units, plain, rtol=1e-5, atol=1e-7 * float(plain.abs().max()))
    same = balanced_roots((x.T @ x)[None], weight)[0]
    assert torch.equal(same, plain)


def test_with_data_in_very_different_units_the_drop_is_kept(case):
    network, x, y = case
    units = 10.0 ** torch.linspace(-4, 4, FEATURES)
    raw = folded(network, units)
    made = szilard.compress(raw, (x[1000:] * units, y[1000:]), progress=False)
    assert made.drop is not None
    assert made.drop <= 0.005
    assert made.lam > 0  # it was rounded, not stored exactly
    assert made.ratio > 3


@pytest.mark.parametrize("factor", [1e-4, 1e4])
def test_the_size_of_logits_changes_little(case, factor):
    network, x, y = case
    other = copy.deepcopy(network)
    with torch.no_grad():
        other[-1].weight.mul_(factor)
        other[-1].bias.mul_(factor)
    data = (x[1000:], y[1000:])
    made, usual = (szilard.compress(one, data, progress=False) for one in (other, network))
    assert made.drop is not None
    assert made.drop <= 0.005
    assert len(made.data) < 1.6 * len(usual.data)


def test_logits_of_usual_size_are_not_rescaled():
    network, x = nn.Linear(5, 3), [normal(64, 5)]

    def call(net: nn.Module, given: Tensor) -> Tensor:
        return net(given)

    def large(net: nn.Module, given: Tensor) -> Tensor:
        return 1e6 * net(given)

    assert usual_logits(Categorical(), network, x, call) is call
    assert usual_logits(Gaussian(), network, x, large) is large
    assert usual_logits(Categorical(probabilities=True), network, x, large) is large
    z = usual_logits(Categorical(), network, x, large)(network, x[0])
    assert float((z - z.mean(1, keepdim=True)).detach().square().mean().sqrt()) == pytest.approx(5, rel=1e-4)


def test_if_no_rounding_keeps_the_drop_weights_are_stored_exactly():
    network = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    with torch.no_grad():
        for seed, p in enumerate(network.parameters()):
            p.copy_(normal(*p.shape, seed=seed))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def evaluate(net: nn.Module) -> float:
        return float(all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items()))

    with pytest.warns(SzilardWarning, match="stored bit for bit"):
        made = szilard.compress(network, normal(64, 12), max_drop=0.01, evaluate=evaluate, progress=False)
    assert any("no rounding keeps the drop within 0.01" in note for note in made.notes)
    assert made.drop == 0
    assert made.lam == 0
    for name, tensor in made.network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_pair_of_arrays_is_read_as_a_pair_of_tensors(case):
    network, x, y = case
    made = szilard.compress(network, (x.numpy(), y.numpy()), max_bytes=2000, progress=False)
    same = szilard.compress(network, (x, y), max_bytes=2000, progress=False)
    assert "class numbers" in made.task
    assert made.data == same.data
    mixed = szilard.compress(network, (x, np.asarray(y)), lam=1e-4, progress=False)
    assert mixed.task == made.task


def test_the_threshold_of_binary_labels_is_reported():
    y = (normal(64, 3) > 0).float()
    assert "above 0 means 1" in str(choose(normal(64, 3), y))
    assert "above 0.5 means 1" in str(choose(normal(64, 3).sigmoid(), y))
    assert "above 0 means 1" in str(choose(normal(64, 3), y, task="multilabel"))


def test_the_message_about_one_example_uses_the_singular(case):
    network, x, y = case
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(SzilardError, match="1 different example is too few"):
            szilard.compress(network, (x[:1], y[:1]), progress=False)


def test_a_score_determined_by_few_examples_is_reported():
    def note(errors: Tensor) -> str:
        values = 1 - errors.double().square()
        promise = Promise(Scores(float(values.mean()), values, None, 0.0, relative=True), 0.005, 0.9)
        return " ".join(promise.notes())

    assert "determine the score" not in note(0.1 * normal(500))
    assert "about 2 of the 500 judging examples determine the score" in note(
        torch.cat([0.001 * normal(498), torch.tensor([1.0, -1.0])])
    )


def test_tokens_have_no_units():
    network = nn.Sequential(nn.Embedding(20, 8), nn.Flatten(), nn.Linear(64, 3)).eval()
    with torch.no_grad():
        network[2].weight[:, ::2] *= 1e-3
    assert not raw_units(network)
