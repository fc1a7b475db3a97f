"""Passes that must keep the outputs: computed weights become ordinary ones, biases are corrected, units are removed."""

from __future__ import annotations

import copy

import pytest
import torch
from odd_networks import ODD, Read, Tanh2, Twice, settled
from rewritten import changed, noise
from torch import nn

import szilard
from szilard import file
from szilard.compression import CanonicalBatchNorm, Correct, Draft, Quantise, QuantiseVectors, Setting, shrink
from szilard.compression.parametrisations import without_parametrisations
from szilard.compression.probe import Probe
from szilard.errors import SzilardWarning
from szilard.model.weights import load_state
from szilard.networks import computed, copied, make_plain

quiet = pytest.mark.filterwarnings("ignore::szilard.errors.SzilardWarning", "ignore::FutureWarning")


# -- computed weights ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd", [name for name in ODD if "norm" in name or name in ("prune", "parametrisation")]
)
@quiet
def test_computed_weights_become_ordinary_ones_with_the_same_outputs(odd):
    x = noise(8, 6)
    network = nn.Sequential(ODD[odd](nn.Linear(6, 5)), nn.ReLU(), nn.Linear(5, 2))
    for _ in range(3):
        network(x)  # spectral norm iterates; the old version leaves a weight that has a gradient
    network.eval()
    assert computed(network) == ["0.weight"]
    after = copied(network)
    assert make_plain(after) == ["0.weight"]
    assert set(after.state_dict()) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    after.load_state_dict(after.state_dict())
    assert type(after[0]) is nn.Linear
    assert not after[0]._forward_pre_hooks
    assert changed(network, after, x) < 1e-6
    assert computed(network) == ["0.weight"]


@quiet
def test_making_a_weight_plain_does_not_change_a_tied_one():
    network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    network[2].weight = network[0].weight
    ODD["prune"](network[0])
    x = noise(8, 4)
    network(x)
    after = copied(network).eval()
    make_plain(after)
    assert changed(network, after, x) < 1e-6


def test_computed_weights_are_compressed_with_a_warning():
    x = noise(200, 6)
    network = nn.Sequential(ODD["weight norm"](nn.Linear(6, 40)), nn.ReLU(), nn.Linear(40, 3)).eval()
    with pytest.warns(SzilardWarning, match=r"0\.weight: computed from other tensors"):
        made = szilard.compress(network, x, lam=1e-7)
    assert any("0.weight" in note for note in made.notes)
    assert set(file.to_state_dict(file.loads(made.data))) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert changed(network, made.network, x) < 0.05
    assert computed(network) == ["0.weight"]  # the user's network is unchanged


class Random(nn.Module):
    def forward(self, weight):
        return weight * (1 + 0.5 * torch.rand(1))


def test_a_random_network_cannot_be_compared():
    network = nn.Sequential(nn.Linear(4, 3)).eval()
    nn.utils.parametrize.register_parametrization(network[0], "weight", Random())
    assert Probe.of(network, [noise(8, 4)], lambda net, x: net(x)) is None


class InspectsParametrisation(nn.Module):
    """Its forward checks whether a layer has a parametrisation."""

    def __init__(self):
        super().__init__()
        self.layer, self.other = nn.Linear(4, 3), ODD["weight norm"](nn.Linear(4, 3))
        ODD["parametrisation"](self.layer)

    def forward(self, x):
        halved = 0.5 if hasattr(self.layer, "parametrizations") else 1.0
        return halved * self.layer(x) + self.other(x)


def test_a_parametrisation_that_the_network_inspects_is_kept_with_a_warning():
    x, network = noise(8, 4), InspectsParametrisation().eval()
    probe = Probe.of(network, [x], lambda net, x: net(x))
    with pytest.warns(SzilardWarning, match=r"layer\.weight stays computed"):
        after, names = without_parametrisations(network, probe)
    assert names == ["other.weight"]
    assert changed(network, after, x) < 1e-6


def test_a_file_of_ordinary_weights_loads_into_a_network_with_computed_ones(tmp_path):
    x, network = noise(8, 6), nn.Sequential(ODD["weight norm"](nn.Linear(6, 5)), nn.Linear(5, 2)).eval()
    ordinary = copied(network)
    make_plain(ordinary)
    other = nn.Sequential(ODD["weight norm"](nn.Linear(6, 5)), nn.Linear(5, 2)).eval()
    load_state(tmp_path / "net.szd", other, ordinary.state_dict())
    assert changed(network, other, x) < 1e-6
    same = copied(network)
    load_state(
        tmp_path / "net.pt", same, network.state_dict()
    )  # its own state dict keeps the parametrisation
    assert computed(same) == ["0.weight"]


# -- correction ------------------------------------------------------------------------------------


def corrected(network, x, lam=1e-3):
    """Errors of the mean outputs before and after correction."""
    setting, found = Setting(lam, [x], network), []
    for passes in ([Quantise()], [Quantise(), Correct()]):
        draft = Draft(copied(network))
        for one in passes:
            one(draft, setting)
        with torch.no_grad():
            found.append((draft.network(x) - network(x)).mean(0))
    return found


def test_a_layer_that_is_called_twice_is_not_corrected():
    torch.manual_seed(0)
    x = 2 + noise(256, 8)
    before, after = corrected(Twice(nn.Linear(8, 8), nn.Identity()).eval(), x)
    assert torch.equal(before, after)


@pytest.mark.parametrize("what", ["hook", "subclass", "shared bias"])
def test_biases_with_hooks_or_shared_are_not_corrected(what):
    torch.manual_seed(0)
    x = 2 + noise(256, 8)
    layers = [nn.Linear(8, 8), nn.Linear(8, 8)]
    if what == "hook":
        layers[0].register_forward_hook(lambda module, given, output: 3 * output)
    elif what == "subclass":
        layers[0] = Tanh2(8, 8)
    else:
        layers[1].bias = layers[0].bias
    network = nn.Sequential(*layers).eval()
    draft = Draft(copied(network))
    setting = Setting(1e-3, [x], network)
    Quantise()(draft, setting)
    Correct()(draft, setting)
    assert torch.equal(draft.network[0].bias, network[0].bias)
    assert torch.equal(draft.network[1].bias, network[1].bias) == (what == "shared bias")


def test_a_bias_used_elsewhere_is_named_and_the_others_are_corrected():
    torch.manual_seed(0)
    x = 2 + noise(256, 8)
    network = Read(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)), "0.bias").eval()
    draft, setting = Draft(copied(network)), Setting(1e-3, [x], network)
    Quantise()(draft, setting)
    with torch.no_grad():
        before = (draft.network(x) - network(x)).mean(0).abs().max()
    with pytest.warns(SzilardWarning, match=r"bias of body\.0 is not corrected"):
        Correct()(draft, setting)
    assert torch.equal(draft.network.body[0].bias, network.body[0].bias)
    with torch.no_grad():
        assert (draft.network(x) - network(x)).mean(0).abs().max() < 0.1 * before


# -- shrinking -------------------------------------------------------------------------------------


def dead(network):
    """Set every second row of the first layer to zero."""
    first = next(module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d))
    with torch.no_grad():
        first.weight[::2] = 0
    return network.eval()


@pytest.mark.parametrize("given_inputs", [True, False])
@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 5)), (8, 8)),
        (lambda: nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Flatten(), nn.Linear(30, 5)), (5, 8)),
        (lambda: nn.Sequential(Tanh2(8, 6), nn.ReLU(), nn.Linear(6, 3)), (8,)),
        (lambda: nn.Sequential(ODD["hook"](nn.Linear(8, 6)), nn.ReLU(), nn.Linear(6, 3)), (8,)),
        (lambda: nn.Sequential(nn.Linear(8, 6), ODD["hook"](nn.ReLU()), nn.Linear(6, 3)), (8,)),
        (lambda: nn.Sequential(nn.Linear(8, 6), nn.ReLU(), ODD["pre-hook"](nn.Linear(6, 3))), (8,)),
        (lambda: Read(nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)), "0.bias"), (8,)),
        (lambda: nn.Sequential(nn.Linear(8, 6), nn.MaxPool2d(2), nn.Linear(3, 3)), (3, 4, 8)),
        (lambda: Twice(nn.Linear(8, 8), nn.Linear(8, 8)), (8,)),
    ],
)  # fmt: skip
@quiet
def test_units_of_unsupported_layers_are_kept(build, shape, given_inputs):
    torch.manual_seed(0)
    x = noise(4, *shape)
    network = dead(settled(build(), x))
    small = shrink(network, x if given_inputs else None)
    assert sum(p.numel() for p in small.parameters()) == sum(p.numel() for p in network.parameters())
    assert changed(network, small, x) < 1e-5


@pytest.mark.parametrize(
    "pool", [nn.MaxPool1d(2), nn.AdaptiveAvgPool1d(5), nn.AdaptiveMaxPool1d(5), nn.Identity()], ids=repr
)
def test_channels_of_sequences_are_removed(pool):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv1d(2, 8, 5, padding=2), nn.BatchNorm1d(8), nn.ReLU(), pool,
        nn.Conv1d(8, 6, 3), nn.BatchNorm1d(6), nn.ReLU(), nn.AdaptiveAvgPool1d(3), nn.Flatten(), nn.Linear(18, 4),
    )  # fmt: skip
    x = noise(4, 2, 20)
    settled(network, x)
    with torch.no_grad():
        for conv, norm in ((network[0], network[1]), (network[4], network[5])):
            conv.weight[::2] = 0
            conv.bias[::2] = 0
            norm.weight[::2] = 0
            norm.bias[::2] = 0
        network[5].bias[::2] = 0.5  # a constant, which goes into the biases of the last layer
    small = shrink(network.eval(), x)
    assert (small[0].out_channels, small[4].in_channels, small[4].out_channels) == (4, 4, 3)
    assert small[9].in_features == 9
    assert changed(network, small, x) < 1e-5


@quiet
def test_a_pool_that_mixes_channels_keeps_them():
    """Without a batch axis of its own, MaxPool2d takes [B, C, L] for [C, H, W] and pools over channels, too."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv1d(2, 8, 3), nn.MaxPool2d(2), nn.Conv1d(4, 3, 3))
    x = noise(4, 2, 20)
    with torch.no_grad():
        network[0].weight[::2] = 0
        network[0].bias[::2] = 0
    small = shrink(network.eval(), x)
    assert small[0].out_channels == 8
    assert torch.equal(small(x), network(x))


@pytest.mark.parametrize("odd", ["prune", "weight norm", "old weight norm"])
@quiet
def test_computed_weights_are_shrunk(odd):
    torch.manual_seed(0)
    network = nn.Sequential(ODD[odd](nn.Linear(8, 6)), nn.ReLU(), nn.Linear(6, 3))
    if odd == "weight norm":
        with torch.no_grad():
            network[0].parametrizations.weight.original0[::2] = 0
    elif odd == "old weight norm":
        with torch.no_grad():
            network[0].weight_g[::2] = 0
    x = noise(4, 8)
    network.eval()(x)
    small = shrink(network)
    assert small[0].out_features == 3
    assert changed(network, small, x) < 1e-5


def test_in_place_relus_do_not_change_biases():
    torch.manual_seed(0)
    network = dead(nn.Sequential(nn.Linear(8, 6), nn.ReLU(inplace=True), nn.Linear(6, 3)))
    with torch.no_grad():
        network[0].bias.fill_(-0.1)
    small = shrink(network, noise(4, 8))
    assert torch.equal(small[0].bias, torch.full((3,), -0.1))
    assert changed(network, small, noise(64, 8)) < 1e-5


def test_without_inputs_a_linear_layer_before_a_norm_is_kept_with_a_warning():
    network = dead(nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 5)))
    with pytest.warns(SzilardWarning, match="give inputs to shrink"):
        assert shrink(network)[0].out_features == 8
    assert shrink(network, noise(4, 8))[0].out_features == 4


# -- passes keep no state --------------------------------------------------------------------------


def test_a_list_of_passes_can_be_used_again():
    def network(seed):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3)).eval()

    def fresh():
        quantise = Quantise()
        return [CanonicalBatchNorm(), quantise, Correct(), QuantiseVectors(quantise)]

    x, other = noise(100, 12), noise(100, 12, seed=1) * torch.logspace(-2, 2, 12)
    passes = fresh()
    szilard.compress(network(0), x, lam=1e-5, passes=passes)
    second = szilard.compress(network(1), other, lam=1e-5, passes=passes)
    assert second.data == szilard.compress(network(1), other, lam=1e-5, passes=fresh()).data
    assert copy.deepcopy(passes)[1].curvature is None
