"""A network and its tensors, as checkpoints hold them."""

from __future__ import annotations

import torch
from torch import nn


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Sequential(nn.ReLU(), nn.Linear(4, 3)))
        for value in made.state_dict().values():
            if value.is_floating_point():
                value.normal_()
    return made.eval()


def equal(one: nn.Module, other: nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return list(mine) == list(theirs) and all(torch.equal(mine[name], theirs[name]) for name in mine)


def prefixed(state, prefix):
    return {prefix + name: value for name, value in state.items()}


NET = network()
STATE = dict(NET.state_dict())


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 3)
        self.head = nn.Linear(3, 7, bias=False)
        self.head.weight = self.embed.weight
