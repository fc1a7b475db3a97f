"""The ways to predict that are compared with one pass."""

from __future__ import annotations

from unittest.mock import Mock

import torch
from torch import nn

from szilard import SzilardError, bayes, deploy, methods
from szilard.model import one_pass


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.encoder(x).mean(1))


def test_stochastic_attention_is_compared_with_its_own_mean_weights(monkeypatch):
    """torch has no layer for it, so that no other network of the mean weights can be made."""
    torch.manual_seed(0)
    method = methods.MeanField(n_data=10)
    network = method.prepare(Encoder(), "classification").eval()
    x = torch.randn(3, 5, 4)
    monkeypatch.setattr(deploy, "compile", Mock(side_effect=SzilardError("no backend")))
    ways = {(way, runtime): run for way, runtime, run in one_pass.ways(method, network, x, 1)}
    assert all((way, "PyTorch") in ways for way in (("point", 0), ("moments", 0), ("draws", 100)))
    assert ways[("point", 0), "PyTorch"]().abs().max() < 1e-6
    with bayes.evaluating(network), torch.no_grad():
        wanted = network(x).softmax(1)
    torch.testing.assert_close(one_pass._of_mean(method, network, x).mean.float(), wanted)
