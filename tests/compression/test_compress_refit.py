"""Layers are refitted to the inputs that the rounded layers before them give."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import szilard
from szilard.compression import (
    CanonicalBatchNorm,
    Correct,
    Draft,
    Quantise,
    Refit,
    Setting,
    layer_walk,
    row_rounding,
)
from szilard.compression.passes import refit
from szilard.networks import copied

LAM = 1e-4
KINDS = [
    (nn.Linear(6, 4), (6,)),
    (nn.Linear(6, 4, bias=False), (5, 6)),
    (nn.Conv1d(4, 6, 3, padding=1, groups=2), (4, 9)),
    (nn.Conv1d(4, 6, 3, padding="same", padding_mode="circular"), (4, 9)),
    (nn.Conv2d(4, 6, 3, stride=2, padding=1), (4, 8, 7)),
    (nn.Conv2d(4, 4, 3, dilation=2, groups=4), (4, 8, 7)),
    (nn.Conv3d(2, 3, 2, padding=1), (2, 4, 4, 3)),
]


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mlp(seed=0):
    """A network of three layers, and inputs with correlated features."""
    made = nn.Sequential(nn.Linear(16, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 5))
    return filled(made, seed).eval(), normal(800, 6, seed=9) @ normal(6, 16, seed=8)


def filled(network, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in network.parameters():
            p.normal_(generator=generator).mul_(p[0].numel() ** -0.5 if p.dim() > 1 else 0.1)
    return network


def rounded(network, inputs, lam=LAM, *, alphas=(1.0, 0.5), passes=()):
    """Drafts after plain rounding and after fitting, with the names of the layers that differ."""
    setting = Setting(lam, [inputs], network)
    quantise = Quantise()
    fit = Refit(quantise, alphas=alphas)
    draft = Draft(copied(network).eval())
    for one in (*passes, quantise):
        one(draft, setting)
    plain = Draft(copied(draft.network), quantised=dict(draft.quantised), norms=dict(draft.norms))
    fit(draft, setting)
    changed = [n for n in plain.quantised if draft.quantised[n] is not plain.quantised[n]]
    return plain, draft, changed


def error(draft, network, inputs):
    Correct()(draft, Setting(LAM, [inputs[:400]], network))
    with torch.no_grad():
        return float((draft.network(inputs[400:]) - network(inputs[400:])).square().mean())


@pytest.mark.parametrize("groups", [1, 3])
def test_the_change_is_the_least_squares_solution(groups, monkeypatch):
    monkeypatch.setattr(refit, "DAMPING", 1e-12)
    x, missing = normal(groups, 200, 8).double(), normal(groups, 200, 5, seed=1).double()
    x, missing = x - x.mean(1, keepdim=True), missing - missing.mean(1, keepdim=True)
    change = refit.fitted_change(x, missing)
    torch.testing.assert_close(change.transpose(1, 2), torch.linalg.lstsq(x, missing).solution)


def test_a_linear_change_of_the_inputs_is_inverted(monkeypatch):
    monkeypatch.setattr(refit, "DAMPING", 1e-12)
    weight, x = normal(3, 8).double(), normal(1, 300, 8, seed=1).double()
    moved = x + 0.1 * x @ normal(8, 8, seed=2).double()
    change = refit.fitted_change(moved, (x - moved) @ weight.T)
    torch.testing.assert_close(moved @ (weight + change[0]).T, x @ weight.T)


def test_zero_inputs_give_no_change():
    assert not refit.fitted_change(torch.zeros(1, 20, 4), normal(1, 20, 2)).any()


def test_explained_is_the_fraction_explained_on_other_inputs():
    x, change, g = normal(1, 500, 8), normal(1, 3, 8, seed=1).double(), torch.ones(1, 3).double()
    truth = x @ change.transpose(1, 2).float()
    assert refit.explained(x, truth, change, g) == pytest.approx(1, abs=1e-5)
    assert refit.explained(x, 0.3 * truth, change, g) == pytest.approx(0.3, abs=1e-5)
    assert refit.explained(x, -truth, change, g) == 0
    assert refit.explained(x, torch.full_like(truth, torch.nan), change, g) == 0


@pytest.mark.parametrize(("layer", "shape"), KINDS, ids=lambda v: str(v)[:30])
def test_patches_and_outputs_are_sampled_at_the_same_positions(layer, shape):
    layer = filled(layer)
    x = normal(7, *shape)
    with torch.no_grad():
        output = layer(x)
        places = output.numel() // (7 * len(layer.weight))
        positions = torch.randint(places, (7, 3), generator=torch.Generator().manual_seed(0))
        seen = layer_walk._patches_at(layer, x, positions)
        groups = layer_walk.groups(layer)
        made = seen @ layer.weight.flatten(1).reshape(groups, -1, seen.shape[2]).transpose(1, 2)
        made = made.transpose(0, 1).reshape(7, 3, -1)
    torch.testing.assert_close(made, layer_walk._at(layer, output, positions), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lam", [1e-5, LAM])
def test_refitting_lowers_the_error_on_other_inputs_at_about_the_same_bits(lam):
    network, inputs = mlp()
    before, after, sizes = 0.0, 0.0, [0, 0]
    for seed in range(3):
        network, inputs = mlp(seed)
        plain, fitted, changed = rounded(network, inputs[:400], lam)
        assert changed
        assert "0.weight" not in changed  # nothing is rounded before it
        sizes[0] += sum(szilard.compression.scaled.rate(q.levels) for q in plain.quantised.values())
        sizes[1] += sum(szilard.compression.scaled.rate(q.levels) for q in fitted.quantised.values())
        before += error(plain, network, inputs)
        after += error(fitted, network, inputs)
    assert after < 0.85 * before
    assert sizes[1] < 1.05 * sizes[0]


class Convolutions(nn.Module):
    def __init__(self, groups=1):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1, groups=groups)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = F.relu(self.norm(self.first(x)))
        return self.head(F.relu(self.second(x)).mean((2, 3)))


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_convolutions_after_a_batchnorm(groups):
    network = filled(Convolutions(groups))
    with torch.no_grad():
        network.norm.running_var.uniform_(0.5, 2, generator=torch.Generator().manual_seed(1))
    network.eval()
    inputs = F.avg_pool2d(normal(96, 3, 14, 14), 3, 1)
    _, fitted, changed = rounded(network, inputs, 1e-9, passes=[CanonicalBatchNorm()])
    assert "first.weight" not in changed
    assert "second.weight" in changed
    with torch.no_grad():
        assert fitted.network(inputs).isfinite().all()
        for name in changed:
            torch.testing.assert_close(fitted.quantised[name].dense(fitted.tensor(name)), fitted.tensor(name))


class Odd(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.first, self.second = nn.Linear(12, 12), nn.Linear(12, 12)
        self.last = nn.Linear(12, 3)
        if kind == "tied":
            self.other = nn.Linear(12, 12)
            self.other.weight = self.second.weight
        if kind == "subclass":
            self.second = type("Own", (nn.Linear,), {})(12, 12)
        if kind == "hook":
            self.second.register_forward_hook(lambda module, given, output: 2 * output)

    def forward(self, x):
        h = torch.tanh(self.first(x))
        if self.kind == "by hand":
            return self.last(torch.tanh(self.second(h)) + F.linear(h, self.second.weight))
        h = torch.tanh(self.second(h))
        if self.kind == "twice":
            h = torch.tanh(self.second(h))
        if self.kind == "tied":
            h = torch.tanh(self.other(h))
        return self.last(h)


@pytest.mark.parametrize("kind", ["tied", "subclass", "hook", "by hand", "twice", "plain"])
def test_layers_that_are_tied_hooked_or_called_twice_are_not_refitted(kind):
    network = filled(Odd(kind)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, _, changed = rounded(network, normal(400, 4) @ normal(4, 12, seed=3), 1e-4)
    assert ("second.weight" in changed) == (kind == "plain")


def test_too_few_inputs_refit_nothing():
    network, inputs = mlp()
    assert not rounded(network, inputs[:40])[2]
    assert not rounded(network, inputs[:1])[2]


def test_a_change_that_increases_the_error_is_reverted(monkeypatch):
    network, inputs = mlp()
    monkeypatch.setattr(refit, "fitted_change", lambda x, missing: normal(1, missing.shape[2], x.shape[2]))
    monkeypatch.setattr(refit, "explained", lambda *given: 1.0)
    plain, fitted, changed = rounded(network, inputs[:400])
    assert not [n for n in changed if (fitted.quantised[n].levels != plain.quantised[n].levels).any()]
    for name, tensor in plain.network.state_dict().items():
        assert torch.equal(tensor, fitted.network.state_dict()[name])


def test_refitting_is_deterministic_and_does_not_use_the_global_generator():
    network, inputs = mlp()
    state = torch.random.get_rng_state()
    first, second = (szilard.compress(network, inputs[:400], lam=LAM).data for _ in range(2))
    assert first == second
    assert torch.equal(state, torch.random.get_rng_state())


def test_without_rounding_by_curvature_nothing_is_refitted():
    quantise = Quantise()
    assert not any(isinstance(one, Refit) for one in row_rounding.rounding([quantise, Refit(quantise)], 8))
    network, inputs = mlp()
    draft = Draft(copied(network))
    Refit(quantise)(draft, Setting(LAM, [inputs], network))
    assert not draft.quantised
