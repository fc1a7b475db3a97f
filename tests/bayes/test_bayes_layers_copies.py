"""Copies, pickles, exports and compiled code of layers without sparse kernels."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from bare_layers import WORDS, quiet
from odd_networks import Tanh2
from torch import nn

from szilard import SzilardWarning, bayes, methods, networks


def test_copies_and_pickles_give_the_same_outputs():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Embedding(6, 4, padding_idx=0), nn.LSTM(4, 3, batch_first=True))
    found = quiet(network, 0.5).eval()
    for twin in (
        copy.deepcopy(found),
        pickle.loads(pickle.dumps(found)),
        networks.copied(found.double()).float(),
    ):
        assert torch.allclose(twin(WORDS)[0], found.float()(WORDS)[0])
        assert isinstance(twin[1], nn.LSTM)
        assert twin.state_dict().keys() == found.state_dict().keys()
    strict = quiet(network, 0.5)
    strict.load_state_dict(found.state_dict())
    assert torch.equal(strict.eval()(WORDS)[0], found(WORDS)[0])


def test_export_and_trace_work_on_layers_without_sparse_kernels():
    torch.manual_seed(0)
    found = quiet(nn.Sequential(nn.Conv3d(1, 2, 2), nn.Flatten(), Tanh2(16, 3)), 0.5).eval()
    x = torch.randn(2, 1, 3, 3, 3)
    assert torch.allclose(torch.export.export(found, (x,)).module()(x), found(x))
    assert torch.allclose(torch.jit.trace(found, x)(x), found(x))


def test_a_network_that_collects_growth_gradients_can_be_copied_and_pickled():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Conv2d(3, 3, 2), nn.Flatten(), Tanh2(48, 3))
    method = methods.SSVI(8, density=0.3, every=2, growth_batches=2, total_steps=10)
    with pytest.warns(SzilardWarning):
        found = method.prepare(network)
    x = torch.randn(8, 2, 6, 6)
    method.loss(found, x, torch.zeros(8).long()).backward()
    assert method.moves.listening
    for twin in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert torch.equal(twin.eval()(x), found.eval()(x))


@pytest.mark.slow
def test_a_layer_without_sparse_kernels_compiles():
    torch.manual_seed(0)
    found = quiet(nn.Sequential(nn.Embedding(6, 4), Tanh2(4, 3)), 0.5)
    compiled = torch.compile(copy.deepcopy(found), backend="aot_eager")
    for network in (found, compiled):
        network.train()
        for stream in bayes.streams(network):
            stream.reset(1)
        network(WORDS).square().sum().backward()
    for want, got in zip(found.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(got.grad, want.grad)
    assert torch.equal(compiled.eval()(WORDS), found.eval()(WORDS))
    with bayes.drawn(found, 2):
        want = found(WORDS)
    with bayes.drawn(compiled, 2):
        assert torch.equal(compiled(WORDS), want)
