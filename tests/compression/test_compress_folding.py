"""Folding keeps the outputs, or leaves the network unchanged with a warning."""

from __future__ import annotations

import pytest
import torch
from odd_networks import ODD, Added, Hidden, Read, settled
from rewritten import changed, folded, noise
from torch import nn

from szilard.compression.graph import shared
from szilard.errors import SzilardWarning

quiet = pytest.mark.filterwarnings("ignore::szilard.errors.SzilardWarning", "ignore::FutureWarning")


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
