"""A user's own method, likelihood and growth rule, with the examples of the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from cli_tools import TINY
from cli_tools import szilard as typed
from torch import nn

import szilard
from szilard import methods
from szilard.errors import SzilardError

DOCS = Path(__file__).parents[2] / "docs"


def example(page, word):
    """The names that the example containing a word on a page defines."""
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.M | re.S)
    (block,) = (block for block in blocks if word in block)
    found = {"__name__": "page"}
    exec(compile(block, page, "exec"), found)
    return found


# -- a method --------------------------------------------------------------------------------------------


@pytest.fixture
def weight_decay(monkeypatch):
    kind = example("methods.md", "class WeightDecay")["WeightDecay"]
    monkeypatch.setitem(methods._METHODS, kind.name, kind)
    return kind


def test_the_documented_method_is_fitted_with_its_option(weight_decay, tmp_path):
    short = [*TINY, "--epochs", 1, "--no-baselines", "--out", tmp_path / "run"]
    found = typed("fit", "--method", "weight-decay", "--option", "decay=0.01", *short)
    assert found.code == 0, found.output
    assert "weight decay" in found.output
    other = [*short[:-1], tmp_path / "other"]
    typed("fit", "--method", "weight-decay", "--option", "decay=high", *other).refused(
        "option decay of method 'weight-decay' must be a finite number"
    )


def test_an_option_without_annotation_has_the_type_of_its_default(monkeypatch):
    class Odd(methods.Deterministic):
        name = "odd"

        def __init__(self, n_data, *, rate=0.5, count=3, rule=None, **options):
            super().__init__(n_data, **options)

    monkeypatch.setitem(methods._METHODS, "odd", Odd)
    methods.check_options("odd", {"rate": 1, "count": 4, "density": 0.5})
    with pytest.raises(SzilardError, match=r"option count of method 'odd' must be a whole number, not 0\.5"):
        methods.check_options("odd", {"count": 0.5})
    with pytest.raises(SzilardError, match="option rule of method 'odd' can only be set in Python"):
        methods.check_options("odd", {"rule": "x"})


# -- a likelihood ----------------------------------------------------------------------------------------


class Exponential(szilard.likelihood.Likelihood):
    """Exponentially distributed targets with the rate exp(output)."""

    def nll(self, output, y):
        return output.exp().squeeze(1) * y - output.squeeze(1)


def test_the_documented_likelihood_trains_and_predicts():
    found = example("targets.md", "class Poisson")
    Poisson, network, method, x = (found[name] for name in ("Poisson", "network", "method", "x"))
    predicted = method.predict(network, x, samples=3)
    assert predicted.shape == (len(x),)
    torch.testing.assert_close(predicted.means, predicted.variances)  # equal for a Poisson distribution
    z, y = torch.randn(5, 1), torch.arange(5.0)
    want = -torch.distributions.Poisson(z.squeeze(1).exp()).log_prob(y)
    torch.testing.assert_close(Poisson().nll(z, y), want)
    with pytest.raises(SzilardError, match="targets have shape"):
        method.loss(network, x, torch.ones(3))


@pytest.mark.parametrize("name", ["deterministic", "ssvi"])
def test_nll_is_enough_to_train(name):
    method = methods.make(name, 8)
    network = method.prepare(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)), task=Exponential())
    x, y = torch.randn(8, 3), torch.rand(8)
    loss = method.loss(network, x, y)
    loss.backward()
    assert torch.isfinite(loss)
    assert method.target_type.in_units
    score = Exponential().values(torch.zeros(8, 1), y)
    torch.testing.assert_close(score, -y.double())
    with pytest.raises(SzilardError, match="Exponential does not define moments: the mean and variance"):
        method.predict(network, x)


def test_errors_of_a_users_likelihood_are_named():
    class Summed(Exponential):
        def nll(self, output, y):
            return super().nll(output, y).sum()

    class Other(Exponential):
        name = "times"

    method = methods.make("deterministic", 8)
    network = method.prepare(nn.Linear(3, 1), task=Summed())
    with pytest.raises(SzilardError, match=r"Summed.nll returns \[\] for outputs \[8, 1\]; return one value"):
        method.loss(network, torch.randn(8, 3), torch.rand(8))
    with pytest.raises(
        SzilardError, match=r"Other.name is 'times'; set it to what its targets are, one of clas"
    ):
        methods.make("ssvi", 8).prepare(nn.Linear(3, 1), task=Other())
    with pytest.raises(SzilardError, match="Embedding cannot be trained"):
        methods.make("ssvi", 8).prepare(nn.Linear(3, 1), task=szilard.likelihood.Embedding())


def test_a_users_likelihood_is_described_without_labels():
    choice = szilard.likelihood.Choice(Exponential(), False, "as given")
    assert str(choice) == "regression, judged by agreement with the original's outputs (as given)"


# -- a growth rule ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [methods.SSVI, methods.SparseDeterministic])
def test_the_documented_growth_rule_moves_supports(kind, tmp_path):
    made = []
    RandomGrowth = example("patterns.md", "class RandomGrowth")["RandomGrowth"]

    def rule(rows_gradient, entries):
        made.append(RandomGrowth(rows_gradient, entries))
        return made[-1]

    method = kind(32, density=0.2, every=4, growth_batches=2, total_steps=20, growth=rule)
    network = method.prepare(nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 3)))
    optimizer = method.optimizer(network)
    before = [
        index.clone() for name, index in network.state_dict().items() if "support" in name or "index" in name
    ]
    x, y = torch.randn(32, 6), torch.randint(0, 3, (32,))
    for _ in range(20):
        method.loss(network, x, y).backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(network, optimizer)
    after = [index for name, index in network.state_dict().items() if "support" in name or "index" in name]
    assert made
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    restored = kind(32, density=0.2, every=4, growth_batches=2, total_steps=20, growth=rule)
    restored.load_state_dict(method.state_dict())


def test_a_run_with_a_users_growth_rule_is_saved(tmp_path):
    RandomGrowth = example("patterns.md", "class RandomGrowth")["RandomGrowth"]
    data = szilard.data.load("digits", n_train=64)
    method = methods.SSVI(len(data.train), density=0.3, every=1, growth_batches=1, growth=RandomGrowth)
    network = szilard.networks.build("mlp:8", data.input_shape, data.n_outputs)
    szilard.fit(method, network, data, epochs=1, out=tmp_path / "run", accelerator="cpu", samples=2)
    assert (tmp_path / "run").is_dir()


def test_invalid_growth_rules_are_refused():
    for growth in ("none", 3):
        with pytest.raises(
            SzilardError, match=r"growth must be one of noisy, mean, .* or in Python a function"
        ):
            methods.SSVI(8, growth=growth)
    assert "growth" in {one.name for one in methods.describe("sparse-deterministic")}
    with pytest.raises(SzilardError, match="growth must be one of gradient"):
        methods.make("deterministic", 8, growth="none")
