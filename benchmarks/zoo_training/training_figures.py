"""Further figures: accuracy of an LSTM with 10 % of its weights, and time of a training step of adapters."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

import szilard
from szilard import bayes
from szilard.data import batches
from szilard.errors import SzilardError
from szilard.methods import SSVI, Deterministic, Method

EPOCHS = 40
DENSITY = 0.1
HIDDEN = 96
LEARNING_RATES = {"ssvi": (1e-2, 2e-2, 4e-2), "dense": (1e-3, 3e-3, 1e-2)}
BODY, RANK, EXAMPLES = 512, 8, 128
ROUNDS = 12


class Rows(nn.Module):
    """A recurrent network that reads an image ``[B, 1, 8, 8]`` row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.core = nn.LSTM(8, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 10)

    def forward(self, x: Tensor) -> Tensor:
        answers, _ = self.core(x.flatten(0, 1) if x.dim() == 4 else x)
        return self.head(answers[:, -1])  # type: ignore[no-any-return]


def sequence(seeds: Iterable[int]) -> dict[str, Any]:
    """Accuracy of SSVI at 90 % sparsity minus that of the dense deterministic network, points, mean over seeds.

    Both start from the same weights and use the same batches, at the best of three learning rates on the validation
    set. There is no figure if the recurrent weights stay dense.
    """
    data = szilard.data.load("digits")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trial = szilard.bayesianize(Rows(), DENSITY)
    left = sum(p.numel() for name, p in trial.named_parameters() if not name.endswith("log_std"))
    if left > 0.2 * sum(p.numel() for p in Rows().parameters()):
        return {"why": "the weights of an LSTM stay dense in this version"}
    seeds = list(seeds)
    (sparse_lr, sparse), (dense_lr, dense) = (_tuned(data, seeds, name) for name in ("ssvi", "dense"))
    return {
        "minus": 100 * statistics.fmean(a - b for a, b in zip(sparse, dense, strict=True)),
        "accuracies": [[round(a, 4), round(b, 4)] for a, b in zip(sparse, dense, strict=True)],
        "lr": {"ssvi": sparse_lr, "dense": dense_lr},
        "density": DENSITY,
    }


def _tuned(data: Any, seeds: Sequence[int], name: str) -> tuple[float, list[float]]:
    """The best learning rate on the validation set, and its test accuracy for each seed."""
    found = {lr: [_digits(data, seed, name, lr) for seed in seeds] for lr in LEARNING_RATES[name]}
    best = max(found, key=lambda lr: statistics.fmean(valid for valid, _ in found[lr]))
    return best, [test for _, test in found[best]]


def _digits(data: Any, seed: int, name: str, lr: float) -> tuple[float, float]:
    """Accuracy on the validation set and on the test set."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network: nn.Module = Rows()
    steps = EPOCHS * -(-len(data.train) // 64)
    method: Method
    if name == "ssvi":
        method = SSVI(len(data.train), density=DENSITY, total_steps=steps, seed=seed, lr=lr)
    else:
        method = Deterministic(len(data.train), total_steps=steps, seed=seed, lr=lr)
    network = method.prepare(network).train()
    optimizer = method.optimizer(network)
    for epoch in range(EPOCHS):
        for x, y in batches(data.train, 64, seed=seed, epoch=epoch):
            method.anneal(optimizer)
            method.loss(network, x, y).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            optimizer.zero_grad()
            method.after_step(network, optimizer)
    method.finish(network, batches(data.train, 64, seed=seed, epoch=0))
    found = []
    for split in (data.valid, data.test):
        predictive = method.predict(network, split.x, samples=16)
        found.append(float((predictive.labels == split.y).double().mean()))
    return found[0], found[1]


class Adapted(nn.Module):
    """A linear layer with two small matrices in parallel, as in LoRA (Hu et al. 2021)."""

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.layer = layer
        self.adapter = nn.Sequential(
            nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features, bias=False)
        )
        nn.init.zeros_(self.adapter[1].weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.adapter(x)  # type: ignore[no-any-return]


def _network(rank: int) -> nn.Module:
    widths = (64, *[BODY] * 4)
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        linear = nn.Linear(a, b)
        layers += [Adapted(linear.requires_grad_(False), rank) if rank else linear, nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(BODY, 10))


def adapter() -> dict[str, Any]:
    """Median time of a step of Bayesian adapters on a frozen body, divided by that of the whole Bayesian network."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            small = szilard.bayesianize(_network(RANK), 1.0, only="*.adapter.*")  # type: ignore[call-arg, unused-ignore]
            full = szilard.bayesianize(_network(0), 1.0)
    except TypeError:
        return {"why": "bayesianize has no only= in this version"}
    except SzilardError as error:
        return {"why": f"bayesianize refuses adapters by only=: {error}"}
    frozen = [name for name, p in small.named_parameters() if ".layer." in name and p.requires_grad]
    if frozen:
        return {"why": f"{frozen[0]} was frozen and is trainable"}
    if len(bayes.weights(small)) != 8:
        return {"why": f"{len(bayes.weights(small))} weights are Bayesian, and there are 8 adapters"}
    seconds: dict[str, list[float]] = {"adapter": [], "full": []}
    steppers = {"adapter": _stepper(small), "full": _stepper(full)}
    for _ in range(ROUNDS):
        for name, step in steppers.items():
            begun = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - begun)
    medians = {name: statistics.median(taken[2:]) for name, taken in seconds.items()}
    return {
        "ratio": medians["adapter"] / medians["full"],
        "milliseconds": {n: 1e3 * s for n, s in medians.items()},
    }


def _stepper(network: nn.Module) -> Any:
    method = SSVI(EXAMPLES, total_steps=100, fraction=0.0)
    network.train()
    optimizer = method.optimizer(network)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(EXAMPLES, 64, generator=generator)
    y = torch.randint(10, (EXAMPLES,), generator=generator)

    def step() -> None:
        method.loss(network, x, y).backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(network, optimizer)

    return step
