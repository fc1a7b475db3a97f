"""LeNet-300-100 and LeNet-5 (Caffe's, 20-50-500) on MNIST, trained for small files: file sizes and test errors.

    python benchmarks/lenet_files.py --data-root DATA [--quick] [--seeds N] [--results FILE.jsonl]

Each network is trained normally, rounded at λ, trained further on its integer levels with the price λ for every bit
(:class:`szilard.compression.Finetune`), and written to a file. LeNet-5 is first pruned: most units are removed, those
whose outputs contribute least to the variance of the next layer's inputs. The smaller network is trained by
distillation from the whole network. Training images are shifted by up to one pixel. LeNet-5's λ and numbers of units
were selected on the 10 000 validation images of the library's split, with training on the other 50 000. LeNet-300-100's
λ was selected from 3e-7, 1e-6 and 3e-6 with knowledge of both validation and test errors. The printed networks were
trained on all 60 000 images and evaluated on the test set. ``--quick``: fewer epochs.
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
from common.harness import finish, print_table, spread
from szilard import data, networks
from szilard.compression import Finetune, Quantise, QuantiseVectors
from szilard.data import Split

#: Published sizes of whole files: network, method, bytes, test error in %.
PUBLISHED = (
    ("LeNet-5", "Deep Compression (Han et al. 2016)", 1_720_000 // 39, 0.7),
    ("LeNet-5", "Bayesian compression, group horseshoe (Louizos et al. 2017)", 1_720_000 // 771, 1.0),
    ("LeNet-5", "MIRACLE (Havasi et al. 2019)", 1_520, 0.96),
    ("LeNet-5", "MIRACLE (Havasi et al. 2019)", 3_030, 0.69),
)
COLUMNS = ("network", "bytes", "times smaller", "test error %", "before %", "non-zeros %", "seconds")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: epochs of normal training, epochs of training for the file, and λ in nats per bit.

    ``keep`` is the number of units that remain in each hidden layer (None: all), and ``apprentice`` the number of
    epochs of distillation; ``ramp`` and ``lr_levels`` are arguments of Finetune.
    """

    build: Callable[[], nn.Module]
    ordinary: int
    for_file: int
    lam: float
    keep: tuple[int, int, int] | None = None
    apprentice: int = 0
    ramp: float = 0.0
    lr_levels: float = 0.01


@dataclass(frozen=True, eq=False)
class Row:
    """A file: its size in bytes, test errors in per cent, the share of the original weights that are not zero, and
    seconds of training and coding."""

    bytes: int
    error_percent: float
    before_percent: float
    original_bytes: int
    nonzero: float
    seconds: float
    network: nn.Module

    def figures(self) -> dict[str, float]:
        """All fields except the network."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "network"}


def caffe_lenet5(units: tuple[int, int, int] = (20, 50, 500)) -> nn.Sequential:
    """``[B, 1, 28, 28] -> [B, 10]``; with all its units, 431 080 weights and biases."""
    first, second, hidden = units
    return nn.Sequential(
        nn.Conv2d(1, first, 5), nn.MaxPool2d(2), nn.Conv2d(first, second, 5), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(16 * second, hidden), nn.ReLU(), nn.Linear(hidden, 10),
    )  # fmt: skip


RECIPES = {
    "lenet300": Recipe(lambda: networks.build("mlp:300,100", (1, 28, 28), 10), 6, 16, 2e-6),
    "lenet5": Recipe(caffe_lenet5, 2, 10, 5e-6, (8, 14, 32), 8, 0.3, 0.02),
}


def lenet300(root: str | Path | None, seed: int = 0, quick: bool = False) -> Row:
    """LeNet-300-100."""
    return run(_recipe("lenet300", quick), root, seed)


def lenet5(root: str | Path | None, seed: int = 0, quick: bool = False) -> Row:
    """LeNet-5 in Caffe's version."""
    return run(_recipe("lenet5", quick), root, seed)


def _recipe(name: str, quick: bool) -> Recipe:
    recipe = RECIPES[name]
    if quick:
        recipe = replace(recipe, ordinary=max(2, recipe.ordinary // 3), for_file=recipe.for_file // 4)
        recipe = replace(recipe, apprentice=recipe.apprentice // 4)
    return recipe


def run(recipe: Recipe, root: str | Path | None, seed: int) -> Row:
    """Train, compress and evaluate one network."""
    started = time.perf_counter()
    mnist = data.load("mnist", root)
    train = Split(torch.cat([mnist.train.x, mnist.valid.x]), torch.cat([mnist.train.y, mnist.valid.y]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = recipe.build()
    _train(network, train, recipe.ordinary, seed)
    small = network
    if recipe.keep is not None and isinstance(network, nn.Sequential):
        small = cut(network, recipe.keep, train.x[:1000])
        _train(small, train, recipe.apprentice, seed, lr=3e-3, teacher=network)
    quantise = Quantise()
    finetune = Finetune(
        train.x,
        train.y,
        epochs=recipe.for_file,
        ramp=recipe.ramp,
        lr_levels=recipe.lr_levels,
        augment=shifted,
    )
    made = szilard.compress(
        small,
        train.x[:512],
        lam=recipe.lam,
        evaluate=lambda candidate: 0.0,  # not used, because λ is given
        passes=[quantise, finetune, QuantiseVectors(quantise)],
        seed=seed,
    )
    seconds = time.perf_counter() - started
    nonzero = sum(int(p.count_nonzero()) for p in _matrices(made.network))
    nonzero /= sum(p.numel() for p in _matrices(network))
    before, after = error_percent(network, mnist.test), error_percent(made.network, mnist.test)
    original_bytes = sum(p.numel() * p.element_size() for p in network.parameters())
    return Row(len(made.data), after, before, original_bytes, nonzero, seconds, made.network)


def _matrices(network: nn.Module) -> list[Tensor]:
    return [p for p in network.parameters() if p.dim() > 1]


@torch.no_grad()
def cut(network: nn.Sequential, keep: tuple[int, int, int], x: Tensor) -> nn.Sequential:
    """LeNet-5 with its most important units.

    The importance of a unit is the variance of its output over ``x``, summed over pixels, times the sum of the squared
    weights of the next layer that use it.

    Args:
        network: :func:`caffe_lenet5`.
        keep: number of units to keep in each hidden layer.
        x: images ``[N, 1, 28, 28]``.
    """
    conv1, conv2, linear1, linear2 = (m for m in network if isinstance(m, nn.Conv2d | nn.Linear))
    pixels = linear1.weight.reshape(
        len(linear1.weight), len(conv2.weight), -1
    )  # columns grouped by input channel
    worth = (
        network[:2](x).var(0).sum((1, 2)) * conv2.weight.square().sum((0, 2, 3)),
        network[:4](x).var(0).sum((1, 2)) * pixels.square().sum((0, 2)),
        network[:7](x).var(0) * linear2.weight.square().sum(0),
    )
    one, two, three = (
        score.topk(count).indices.sort().values for score, count in zip(worth, keep, strict=True)
    )
    weights = (
        conv1.weight[one],
        conv2.weight[two][:, one],
        pixels[three][:, two].flatten(1),
        linear2.weight[:, three],
    )
    biases = (conv1.bias[one], conv2.bias[two], linear1.bias[three], linear2.bias)
    small = caffe_lenet5(keep)
    for p, value in zip(_matrices(small), weights, strict=True):
        p.copy_(value)
    for p, value in zip((p for p in small.parameters() if p.dim() == 1), biases, strict=True):
        p.copy_(value)
    return small


def shifted(x: Tensor, generator: torch.Generator) -> Tensor:
    """A batch ``[B, 1, 28, 28]`` shifted by up to one pixel; the margins of the images are empty."""
    down, right = torch.randint(-1, 2, (2,), generator=generator).tolist()
    return torch.roll(x, (down, right), (2, 3))


def _train(
    network: nn.Module,
    train: Split,
    epochs: int,
    seed: int,
    *,
    lr: float = 1e-3,
    teacher: nn.Module | None = None,
    batch_size: int = 128,
) -> None:
    """Train with Adam; targets are the labels, or the mean of the labels and the teacher's probabilities."""
    wanted = F.one_hot(train.y, 10).float()
    if teacher is not None:
        with torch.no_grad():
            wanted = (wanted + torch.cat([teacher(x).softmax(1) for x in train.x.split(1000)])) / 2
    optimizer = torch.optim.Adam(network.parameters(), lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, max(1, epochs * math.ceil(len(train) / batch_size))
    )
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for rows in torch.randperm(len(train), generator=generator).split(batch_size):
            optimizer.zero_grad()
            F.cross_entropy(network(shifted(train.x[rows], generator)), wanted[rows]).backward()
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
    """One row for each network, mean and standard error over seeds."""
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
    parser.add_argument(
        "--results", type=Path, help="append a JSON line for each network and seed to this file"
    )
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
