"""A user's file of networks, their trained weights, and data in the user's units."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import torch
from cli_tools import szilard
from torch.nn import functional as F

SOURCE = """
import torch
from torch import nn

print("the user's file prints")

class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, 3))
    def forward(self, x):
        return {"logits": self.body(x), "inputs": x}

class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(30, 8), nn.Linear(8, 2)
    def forward(self, x):
        return self.head(self.words(x).mean(1))

class Steps(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.GRU(5, 12, batch_first=True), nn.Linear(12, 2)
    def forward(self, x):
        return self.head(self.cell(x)[0][:, -1])

def wide(k, *more):
    print("and its function")
    return nn.Sequential(nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, k), *more)

def one(): return wide(1)
def flat(): return wide(1, nn.Flatten(0))
def sigmoid(): return wide(1, nn.Sigmoid())
def softmax(): return wide(3, nn.Softmax(1))
def three(): return wide(3)
"""


def write_networks(folder):
    """Networks trained on standardised inputs, and their data in other units."""
    (folder / "n.py").write_text(SOURCE)
    space: dict = {}
    exec(SOURCE, space)
    made = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(700, 4, generator=made) + 5
    z = (x - x.mean(0)) / x.std(0)
    weights = torch.randn(4, 3, generator=made)
    price = 40 * z[:, 0] + 10 * z[:, 1].sin() + 300
    several = (z @ weights) * torch.tensor([1.0, 20.0, 300.0])
    yes = (z[:, 0] + z[:, 1] > 0).long()
    labels = ((z @ weights) > 0.5).long()
    classes = (z @ weights).argmax(1)
    ids = torch.randint(1, 30, (600, 9), generator=made)
    ids[:, 0] = 1  # a start token
    steps = torch.randn(600, 6, 5, generator=made)

    def fit(name, build, x, y, loss, x_file=None, y_file=None):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = space[build]() if callable(space[build]) else None
            optimizer = torch.optim.Adam(network.parameters(), 2e-2)
            for _ in range(150):
                optimizer.zero_grad()
                loss(network(x), y).backward()
                optimizer.step()
        torch.save(network.state_dict(), folder / f"{name}.pt")
        np.savez(
            folder / f"{name}.npz",
            x=(x if x_file is None else x_file).numpy(),
            y=(y if y_file is None else y_file).numpy(),
        )

    scaled = (price - price.mean()) / price.std()
    fit("price", "one", z, scaled, lambda o, t: F.mse_loss(o[:, 0], t), x, price)
    fit("flat", "flat", z, scaled, F.mse_loss, x, price)
    fit("yes", "one", z, yes, lambda o, t: F.binary_cross_entropy_with_logits(o[:, 0], t.float()), x)
    fit("sigmoid", "sigmoid", z, yes, lambda o, t: F.binary_cross_entropy(o[:, 0], t.float()), x)
    fit("softmax", "softmax", z, classes, lambda o, t: F.nll_loss(o.clamp_min(1e-9).log(), t), x)
    fit("labels", "three", z, labels, lambda o, t: F.binary_cross_entropy_with_logits(o, t.float()), x)
    many = (several - several.mean(0)) / several.std(0)
    fit("several", "three", z, many, F.mse_loss, x, several)
    fit("named", "Named", z, classes, lambda o, t: F.cross_entropy(o["logits"], t), x)
    fit("tokens", "Tokens", ids, (ids[:, 1:] > 15).float().mean(1).gt(0.5).long(), F.cross_entropy)
    fit("steps", "Steps", steps, (steps.sum((1, 2)) > 0).long(), F.cross_entropy)
    for name, columns in (("labels", labels), ("price", price[:, None]), ("yes", yes[:, None])):
        heads = [f"f{i}" for i in range(4)] + [f"t{i}" for i in range(columns.shape[1])]
        rows = [[*a, *b] for a, b in zip(x.tolist(), columns.tolist(), strict=True)]
        text = io.StringIO()
        csv.writer(text).writerows([heads, *rows])
        (folder / f"{name}.csv").write_text(text.getvalue())


BUILDS = {
    "price": "one", "flat": "flat", "yes": "one", "sigmoid": "sigmoid", "softmax": "softmax", "labels": "three",
    "several": "three", "named": "Named", "tokens": "Tokens", "steps": "Steps",
}  # fmt: skip


def network_arguments(folder, name):
    return (folder / f"{name}.pt", "--network", f"{folder}/n.py:{BUILDS[name]}")


def measured(*arguments):
    typed = szilard("measure", *arguments, "--json")
    assert typed.code == 0, typed.output
    return json.loads(typed.stdout)["networks"][0]["quality"]
