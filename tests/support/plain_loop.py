"""A small network, its batches and a training step, as in a user's own loop."""

from __future__ import annotations

import torch
from torch import nn


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 4))


def batches(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(16, 6, generator=generator), torch.randint(0, 4, (16,), generator=generator))
        for _ in range(count)
    ]


def step(method, network, optimizer, x, y):
    network.train()
    method.loss(network, x, y).backward()
    optimizer.step()
    optimizer.zero_grad()
    method.after_step(network, optimizer)


def prepared(method, network=None, **options):
    torch.manual_seed(0)
    network = method.prepare(network or mlp(), **options)
    return network, method.optimizer(network)
