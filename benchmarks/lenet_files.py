"""LeNet-300-100 and LeNet-5 (Caffe's, 20-50-500) on MNIST, trained for their files: whole bytes and test errors.

    python benchmarks/lenet_files.py --data-root DATA [--quick] [--seeds N] [--results FILE.jsonl]

Each network is trained in the ordinary way, rounded at λ, trained further on its integers with every bit priced at λ
(:class:`szilard.compress.Finetune`), and written. λ and the epochs were chosen on the 10 000 validation pictures of the
library's split while training on the other 50 000; what is printed was trained on all 60 000 and seen by the test set
once, at the end. ``--quick``: fewer epochs.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import szilard
from harness import finish, print_table, spread
from szilard import data, networks
from szilard.compress import Finetune, Offsets, Quantise
from szilard.data import Split

#: Sizes of whole files in the literature, as far as they are printed there: network, method, bytes, test error in %.
PUBLISHED = (
    ("LeNet-5", "Deep Compression (Han et al. 2016)", 1_720_000 // 39, 0.7),
    ("LeNet-5", "Bayesian compression, group horseshoe (Louizos et al. 2017)", 1_720_000 // 771, 1.0),
    ("LeNet-5", "MIRACLE (Havasi et al. 2019)", 1_520, 0.96),
    ("LeNet-5", "MIRACLE (Havasi et al. 2019)", 3_030, 0.69),
)
COLUMNS = ("network", "bytes", "times smaller", "test error %", "before %", "non-zeros %", "seconds")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: ordinary epochs, epochs for the file, and λ in nats per bit."""

    build: Callable[[], nn.Module]
    ordinary: int
    for_file: int
    lam: float


@dataclass(frozen=True, eq=False)
class Row:
    """A file: whole bytes, test errors in per cent, share of weights that exist, seconds of training and coding."""

    bytes: int
    error_percent: float
    before_percent: float
    original_bytes: int
    nonzero: float
    seconds: float
    network: nn.Module

    def figures(self) -> dict[str, float]:
        """Everything but the network."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "network"}


def caffe_lenet5() -> nn.Module:
    """431 080 weights and biases: ``[B, 1, 28, 28] -> [B, 10]``."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
    )  # fmt: skip


RECIPES = {
    "lenet300": Recipe(lambda: networks.build("mlp:300,100", (1, 28, 28), 10), 15, 60, 2e-6),
    "lenet5": Recipe(caffe_lenet5, 6, 20, 4e-6),
}


def lenet300(root: str | Path | None, seed: int = 0, quick: bool = False) -> Row:
    """LeNet-300-100."""
    return run(_recipe("lenet300", quick), root, seed)


def lenet5(root: str | Path | None, seed: int = 0, quick: bool = False) -> Row:
    """LeNet-5 as Caffe has it."""
    return run(_recipe("lenet5", quick), root, seed)


def _recipe(name: str, quick: bool) -> Recipe:
    recipe = RECIPES[name]
    if quick:
        recipe = replace(recipe, ordinary=max(2, recipe.ordinary // 3), for_file=recipe.for_file // 4)
    return recipe


def run(recipe: Recipe, root: str | Path | None, seed: int) -> Row:
    """Train, compress and judge one network."""
    started = time.perf_counter()
    mnist = data.load("mnist", root)
    train = Split(torch.cat([mnist.train.x, mnist.valid.x]), torch.cat([mnist.train.y, mnist.valid.y]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = recipe.build()
    _train(network, train, recipe.ordinary, seed)
    quantise = Quantise()
    made = szilard.compress(
        network,
        train.x[:512],
        lam=recipe.lam,
        evaluate=lambda candidate: 0.0,  # nobody chooses: λ is given
        passes=[quantise, Finetune(train.x, train.y, epochs=recipe.for_file), Offsets(quantise)],
        seed=seed,
    )
    seconds = time.perf_counter() - started
    matrices = [p for p in made.network.parameters() if p.dim() > 1]
    nonzero = sum(int(p.count_nonzero()) for p in matrices) / sum(p.numel() for p in matrices)
    before, after = error_percent(network, mnist.test), error_percent(made.network, mnist.test)
    return Row(len(made.data), after, before, made.original_bytes, nonzero, seconds, made.network)


def _train(network: nn.Module, train: Split, epochs: int, seed: int, batch_size: int = 128) -> None:
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, epochs * math.ceil(len(train) / batch_size)
    )
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for rows in torch.randperm(len(train), generator=generator).split(batch_size):
            optimizer.zero_grad()
            F.cross_entropy(network(train.x[rows]), train.y[rows]).backward()
            optimizer.step()
            schedule.step()
    network.eval()


@torch.no_grad()
def error_percent(network: nn.Module, split: Split) -> float:
    wrong: list[Tensor] = [
        network(x).argmax(1) != y for x, y in zip(split.x.split(1000), split.y.split(1000), strict=True)
    ]
    return 100 * torch.cat(wrong).float().mean().item()


def body(runs: Sequence[dict[str, Any]]) -> list[list[str]]:
    """One row a network, mean and standard error over seeds."""
    rows = []
    for name in RECIPES:
        found = [one for one in runs if one["name"] == name]
        if found:
            rows.append(
                [
                    {"lenet300": "LeNet-300-100", "lenet5": "LeNet-5"}[name],
                    spread([one["bytes"] for one in found], 0),
                    spread([one["original_bytes"] / one["bytes"] for one in found], 0),
                    spread([one["error_percent"] for one in found], 2),
                    spread([one["before_percent"] for one in found], 2),
                    spread([100 * one["nonzero"] for one in found], 2),
                    spread([one["seconds"] for one in found], 0),
                ]
            )
    return rows


def published_body() -> list[list[str]]:
    return [[f"{name}, {method}", f"about {size:,}", f"{error}"] for name, method, size, error in PUBLISHED]


def figures(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Means over seeds."""
    found: dict[str, float] = {}
    for name in RECIPES:
        own = [one for one in runs if one["name"] == name]
        for key in ("bytes", "error_percent"):
            if own:
                found[f"{name}_{key}"] = sum(one[key] for one in own) / len(own)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", help="folder with mnist/")
    parser.add_argument("--quick", action="store_true", help="a third or a quarter of the epochs")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", choices=list(RECIPES))
    parser.add_argument("--results", type=Path, help="write one JSON line a network and seed there")
    options = parser.parse_args()
    runs = []
    for seed in range(options.seeds):
        for name in [options.only] if options.only else list(RECIPES):
            row = run(_recipe(name, options.quick), options.data_root, seed)
            runs.append({"name": name, "seed": seed, "quick": options.quick, **row.figures()})
            if options.results:
                with options.results.open("a") as file:
                    file.write(json.dumps(runs[-1]) + "\n")
    print_table("Whole files", COLUMNS, body(runs))
    print_table("Published", ("network and method", "bytes", "test error %"), published_body())
    finish("lenet_files", figures(runs))


if __name__ == "__main__":
    main()
