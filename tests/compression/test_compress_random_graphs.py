"""Folding, shrinking and correction of biases on random graphs."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from odd_networks import NORMS, ODD, Hidden, Residual, Tanh2, Twice, settled
from rewritten import changed, folded, noise
from torch import nn

from szilard.compression import CanonicalBatchNorm, Correct, Draft, Quantise, Setting, shrink
from szilard.networks import copied

quiet = pytest.mark.filterwarnings("ignore::szilard.errors.SzilardWarning", "ignore::FutureWarning")
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
