"""Passes that must keep the outputs do so, or leave the network unchanged with a warning."""

from __future__ import annotations

import copy
import math
import warnings

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from odd_networks import NORMS, ODD, Added, Hidden, Read, Residual, Tanh2, Twice, settled
from torch import nn

import szilard
from szilard import file
from szilard.compression import CanonicalBatchNorm, Correct, Draft, Quantise, QuantiseVectors, Setting, shrink
from szilard.compression.graph import shared
from szilard.compression.parametrisations import without_parametrisations
from szilard.compression.probe import Probe
from szilard.errors import SzilardWarning
from szilard.model.weights import load_state
from szilard.networks import computed, copied, make_plain

quiet = pytest.mark.filterwarnings("ignore::szilard.errors.SzilardWarning", "ignore::FutureWarning")


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def changed(network, after, x):
    """The largest change of an output, relative to the largest output."""
    with torch.no_grad():
        wanted = network(x)
        return float((after(x) - wanted).abs().max() / wanted.abs().max())


def folded(network, inputs):
    draft = Draft(copied(network))
    CanonicalBatchNorm()(draft, Setting(1e-6, inputs, network))
    return draft


# -- folding ---------------------------------------------------------------------------------------


def linear_norm(channels=5):
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(channels))


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("positions", [5, 4])
@quiet
def test_a_linear_layer_before_a_norm_over_positions_is_not_folded(positions, known):
    x = noise(16, positions, 6)
    network = settled(linear_norm(positions), x)
    draft = folded(network, [x] if known else [])
    assert not draft.norms
    assert torch.equal(draft.network[0].weight, network[0].weight)
    assert changed(network, draft.network, x) < 1e-5


def test_a_linear_layer_before_a_norm_over_features_is_folded():
    x = noise(16, 6)
    network = settled(linear_norm(), x)
    draft = folded(network, [x])
    assert draft.norms == {"1": "0"}
    assert changed(network, draft.network, x) < 1e-5


HOOKS = ("hook", "pre-hook", "forward of its own")


@pytest.mark.parametrize(("odd", "which"), [*((odd, 0) for odd in ODD), *((odd, 1) for odd in HOOKS)])
@quiet
def test_a_layer_with_hooks_or_parametrisations_is_not_folded(odd, which):
    x = noise(16, 3, 6, 6)
    parts = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)]
    parts[which] = ODD[odd](parts[which])
    network = settled(nn.Sequential(*parts), x)
    draft = folded(network, [x])
    assert not draft.norms
    assert changed(network, draft.network, x) < 1e-5


def conv_norm():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def sharing(what):
    a, b = conv_norm(), conv_norm()
    if what == "affine":
        b[1].weight, b[1].bias = a[1].weight, a[1].bias
    elif what == "statistics":
        b[1].running_mean, b[1].running_var = a[1].running_mean, a[1].running_var
    elif what == "bias":
        b[0].bias = a[0].bias
    elif what == "weight":
        b[0].weight = a[0].weight
    elif what == "norm":
        b[1] = a[1]
    elif what == "layer":
        b[0] = a[0]
    return Added(a, b)


@pytest.mark.parametrize("what", ["nothing", "affine", "statistics", "bias", "weight", "norm", "layer"])
@quiet
def test_tensors_shared_by_two_branches_are_not_folded(what):
    x = noise(8, 3, 6, 6)
    network = settled(sharing(what), x)
    draft = folded(network, [x])
    assert changed(network, draft.network, x) < 1e-5
    if what == "nothing":
        assert draft.norms == {"a.1": "a.0", "b.1": "b.0"}
    elif what in ("bias", "weight", "layer", "norm", "affine", "statistics"):
        assert not draft.norms


@pytest.mark.parametrize(
    "path", ["0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var"]
)
@quiet
def test_a_tensor_used_elsewhere_is_not_changed(path):
    x = noise(8, 3, 6, 6)
    network = settled(Read(conv_norm(), path), x)
    assert changed(network, folded(network, [x]).network, x) < 1e-5


def test_a_change_that_tracing_misses_is_found_by_comparison_and_reverted():
    x = noise(8, 3, 6, 6)
    first, second = conv_norm(), nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    network = settled(nn.Sequential(first, nn.ReLU(), second, Hidden(first[0].weight)), x)
    with pytest.warns(SzilardWarning, match=r"BatchNorm 0\.1 is not multiplied into 0\.0"):
        draft = folded(network, [x])
    assert draft.norms == {"2.1": "2.0"}  # the other norm is still folded
    assert changed(network, draft.network, x) < 1e-5
    assert torch.equal(draft.network[0][0].weight, network[0][0].weight)


def test_without_inputs_nothing_is_folded_and_a_warning_is_given():
    class Strange(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(3)

        def forward(self, x):
            return self.norm(x)

    network = settled(Strange(), noise(8, 3))
    with pytest.warns(SzilardWarning, match="no input is known"):
        draft = folded(network, [])
    assert torch.equal(draft.network.norm.running_mean, network.norm.running_mean)


def test_overlapping_tensors_count_as_shared():
    network = nn.Sequential(
        nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    )
    flat = torch.zeros(12)
    network[0].weight = nn.Parameter(flat[:4].view(2, 2))
    network[1].weight = nn.Parameter(flat[2:6].view(2, 2))  # overlaps in two entries
    network[2].weight = nn.Parameter(flat[8:].view(2, 2))
    assert shared(network) == {id(network[0].weight), id(network[1].weight)}


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


# -- random graphs ---------------------------------------------------------------------------------

WIDTH = 4


@st.composite
def graphs(draw):
    """A chain of blocks on ``[B, 4]``, ``[B, C, 4]`` or ``[B, 4, S, S]``, with any of the special cases above."""
    torch.manual_seed(draw(st.integers(0, 99)))
    dims = draw(st.sampled_from([2, 3, 4]))
    x = {2: noise(8, WIDTH), 3: noise(8, draw(st.sampled_from([WIDTH, 3])), WIDTH), 4: noise(8, WIDTH, 5, 5)}[
        dims
    ]
    blocks: list[nn.Module] = []
    owners: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 4))):
        layer = nn.Conv2d(WIDTH, WIDTH, 3, padding=1) if dims == 4 else nn.Linear(WIDTH, WIDTH)
        if draw(st.booleans()):
            with torch.no_grad():
                layer.weight[draw(st.integers(0, 1)) :: 2] = 0
        if dims != 4 and draw(st.integers(0, 4)) == 0:
            layer = Tanh2(WIDTH, WIDTH)
        if owners and draw(st.integers(0, 4)) == 0:
            setattr(layer, kind := draw(st.sampled_from(["weight", "bias"])), getattr(owners[-1], kind))
        elif draw(st.integers(0, 3)) == 0:
            layer = ODD[draw(st.sampled_from(sorted(ODD)))](layer)
        elif type(layer) is not Tanh2:
            owners.append(layer)
        parts = [layer]
        if draw(st.booleans()):
            parts.append(NORMS[dims](x.shape[1]))
        if draw(st.booleans()):
            parts.append(draw(st.sampled_from([nn.ReLU(inplace=True), nn.Tanh(), nn.GELU()])))
        body = nn.Sequential(*parts)
        wrap = draw(st.sampled_from(["chain", "chain", "residual", "twice"]))
        body = Residual(body) if wrap == "residual" and not isinstance(parts[-1], nn.ReLU) else body
        blocks.append(Twice(body, nn.Identity()) if wrap == "twice" else body)
    if draw(st.integers(0, 3)) == 0 and owners:
        blocks.append(Hidden(draw(st.sampled_from([owners[0].weight, owners[0].bias]))))
    tail = [nn.Flatten(), nn.Linear(x[0].numel(), 3)] if draw(st.booleans()) else []
    network = settled(nn.Sequential(*blocks, *tail), x)
    with torch.no_grad():
        assume(bool(network(x).isfinite().all()))  # weight norm divides by the norm of a row, which may be 0
    return network, x


@settings(max_examples=50, deadline=None)
@given(graphs(), st.booleans())
@quiet
def test_fold_and_shrink_keep_the_function_of_random_graphs(graph, known):
    network, x = graph
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        draft = folded(network, [x] if known else [])
        assert changed(network, draft.network, 3 * x) < 2e-5
        small = shrink(network, x if known else None)
        assert changed(network, small, 3 * x) < 2e-5


@settings(max_examples=15, deadline=None)
@given(graphs())
@quiet
def test_correction_is_never_much_worse_than_rounding(graph):
    network, x = graph
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        setting, errors = Setting(1e-4, [x], network), []
        for correct in ([], [Correct()]):
            draft = Draft(copied(network))
            for one in (CanonicalBatchNorm(), Quantise(), *correct):
                one(draft, setting)
            with torch.no_grad():
                errors.append(float((draft.network(x) - network(x)).norm() / network(x).norm()))
    assume(math.isfinite(errors[0]))  # weight norm divides by 0 if rounding makes a row zero
    assert errors[1] <= max(1e-4, 1.2501 * errors[0])  # the tolerance of Correct, on the inputs that it uses


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
