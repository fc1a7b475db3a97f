"""Files of random graphs agree with the report of ``compress``, and passes keep their function."""

from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from odd_networks import ODD, Residual, Twice, settled
from torch import nn

import szilard
from szilard.compression import CanonicalBatchNorm, Correct, Draft, Quantise, Setting, shrink
from szilard.errors import SzilardError
from szilard.networks import copied, make_plain
from zoo.case import alike

quiet = pytest.mark.filterwarnings("ignore::UserWarning")
WIDTH = 4


class Joined(nn.Module):
    """Two concatenated branches, and a layer that maps back to the width."""

    def __init__(self, a, b, back):
        super().__init__()
        self.a, self.b, self.back = a, b, back

    def forward(self, x):
        return self.back(torch.cat((self.a(x), self.b(x)), 1))


def layer(draw, dims):
    """A map of 4 channels to 4, for ``[B, 4]``, ``[B, 4, L]`` or ``[B, 4, S, S]``."""
    if dims == 2:
        return nn.Linear(WIDTH, WIDTH, bias=draw(st.booleans()))
    conv, transposed = {3: (nn.Conv1d, nn.ConvTranspose1d), 4: (nn.Conv2d, nn.ConvTranspose2d)}[dims]
    groups, bias = draw(st.sampled_from([1, 1, 2, 4])), draw(st.booleans())
    if draw(st.integers(0, 3)) == 0:
        return transposed(WIDTH, WIDTH, 3, padding=1, groups=groups, bias=bias)
    mode = draw(st.sampled_from(["zeros", "circular", "reflect", "replicate"]))
    dilation = draw(st.sampled_from([1, 2]))
    return conv(
        WIDTH, WIDTH, 3, padding=dilation, dilation=dilation, groups=groups, padding_mode=mode, bias=bias
    )


def norm(draw, dims):
    made = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[dims]
    return draw(
        st.sampled_from(
            [
                made(WIDTH),
                made(WIDTH, affine=False),
                made(WIDTH, track_running_stats=False),
                nn.GroupNorm(2, WIDTH),
                nn.PReLU(WIDTH),
                nn.Identity(),
            ]
        )
    )


@st.composite
def graphs(draw):
    """Chains, residuals, concatenated branches, shared layers and norms, hooks, channels-last inputs."""
    torch.manual_seed(draw(st.integers(0, 99)))
    dims = draw(st.sampled_from([2, 3, 4]))
    x = torch.randn({2: (16, WIDTH), 3: (16, WIDTH, 6), 4: (16, WIDTH, 5, 5)}[dims])
    if dims == 4 and draw(st.booleans()):
        x = x.to(memory_format=torch.channels_last)
    blocks, known = [], []
    for _ in range(draw(st.integers(1, 3))):
        one = draw(st.sampled_from(known)) if known and draw(st.integers(0, 3)) == 0 else layer(draw, dims)
        if one not in known:
            if draw(st.booleans()):
                with torch.no_grad():
                    one.weight[draw(st.integers(0, 1)) :: 2] = 0
            if type(one) in (nn.Linear, nn.Conv2d) and draw(st.integers(0, 3)) == 0:
                one = ODD[draw(st.sampled_from(["hook", "pre-hook", "weight norm", "parametrisation"]))](one)
        between = draw(st.sampled_from(known)) if known and draw(st.integers(0, 5)) == 0 else norm(draw, dims)
        known += [one, between]
        body = nn.Sequential(one, between, draw(st.sampled_from([nn.ReLU(), nn.Tanh(), nn.Hardswish()])))
        how = draw(st.sampled_from(["chain", "chain", "residual", "twice", "joined"]))
        if how == "joined" and dims != 2:
            back = {3: nn.Conv1d, 4: nn.Conv2d}[dims](2 * WIDTH, WIDTH, 1)
            body = Joined(body, layer(draw, dims), back)
        blocks.append(
            {"residual": Residual, "twice": lambda b: Twice(b, nn.Identity())}.get(how, lambda b: b)(body)
        )
    tail = [nn.Flatten(), nn.Linear(x[0].numel(), 3)] if draw(st.booleans()) else []
    network = settled(nn.Sequential(*blocks, *tail), x)
    with torch.no_grad():
        output = network(x)
    assume(bool(output.isfinite().all()) and float((output - output.mean(0)).abs().max()) > 1e-3)
    return network, x


def gap(a, b, x):
    with torch.no_grad():
        difference, size = (a(x) - b(x)).abs().max(), b(x).abs().max()
        return float(difference if size == 0 else difference / size)


@settings(max_examples=40, deadline=None)
@given(graphs(), st.booleans())
@quiet
def test_passes_that_keep_the_function_do_so_on_random_graphs(graph, data):
    network, x = graph
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        draft = Draft(copied(network))
        CanonicalBatchNorm()(draft, Setting(1e-6, [x] if data else [], network))
        assert gap(draft.network, network, x) < 2e-5
        Correct()(draft, Setting(1e-6, [x], network))  # nothing was rounded, so there is nothing to correct
        assert gap(draft.network, network, x) < 2e-5
        assert gap(shrink(network, x if data else None), network, x) < 2e-5


@settings(max_examples=12, deadline=None)
@given(graphs())
@quiet
def test_files_of_random_graphs_agree_with_the_report(graph):
    network, x = graph
    assume(
        all(getattr(module, "track_running_stats", True) for module in network.modules())
    )  # otherwise the outputs depend on the whole batch
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        passes = [CanonicalBatchNorm(), Quantise(), Correct()]
        try:
            made = szilard.compress(network, x, lam=1e-5, task="regression", passes=passes)
        except SzilardError:
            return
        other = copied(network)
        make_plain(other)
    other.load_state_dict(szilard.file.to_state_dict(szilard.file.loads(made.data)))
    assert gap(other, made.network, x) < 1e-6
    judged = x[12:]  # compress keeps back a quarter of so few examples
    with torch.no_grad():
        outputs, original = other(judged).double(), network(judged).double()
    axes = alike(original)
    scale = (original - original.mean(0)).square().mean(axes, keepdim=True).sqrt()
    size = original.square().mean(axes, keepdim=True).sqrt()
    # Outputs that hardly vary are judged relative to their size.
    scale = torch.maximum(scale, 1e-5 * size) if float(scale.max()) > 0 else size
    largest = float(scale.max())
    scale = torch.where(scale > 0, scale, 1e-4 * largest if largest > 0 else 1.0)
    found = float((1 - ((outputs - original) / scale).square().flatten(1).mean(1)).mean())
    assert made.score == pytest.approx(found, abs=1e-5)
