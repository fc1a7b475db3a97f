"""Sparse training from scratch by rules that drop and grow: accuracy, counted FLOPs and seconds beside dense training.

    python benchmarks/topology.py [--quick] [--results FILE.json]

* digits: an MLP 64-256-256-10, 1500 steps of SGD (momentum 0.9, rate 0.1 along a cosine, batch 64), layer densities by
  Erdős-Rényi-Kernel, at 5, 2 and 1 % of the weights; mean ± standard error over seeds.
  ``digits_rigl_minus_set_1percent_pt`` and ``digits_set_minus_static_1percent_pt`` are differences of mean accuracies.
* an ensemble of three networks from one run (free tickets) and SSVI, at 1 % and as many steps:
  ``free_tickets_nll_minus_ssvi`` is the difference of their mean negative log likelihoods.
* RigL of two other libraries (:mod:`training.sparse_peers`), where ``make bench-peers`` has installed them, at 1 %:
  sparsimony with the same densities of layers; rigl-torch knows uniform ones only and keeps the first layer dense, so
  that it has 20 times as many weights. Both multiply dense matrices with masks, so that their FLOPs are the dense ones.
* lottery tickets: the same MLP and recipe, 1500 steps in each phase, and eight levels that each remove 20 % of the
  remaining weights, or as many as lead to 1 % of all; and the controls: a random mask with as many entries in each
  layer, fresh values on the ticket's mask, and one level that removes all. ``ticket_minus_random_mask_pt`` is the
  difference of mean accuracies at 0.8^8 of the weights, ``ticket_minus_random_mask_1percent_pt`` that at 1 %.
* other tickets: of a posterior, at 1 % (Adam, rate 5e-3); one of 1 % that was found in an MLP with three hidden layers,
  trained in that with two for the steps of one phase, whose FLOPs and seconds are those of this last training; and an
  Early-Bird ticket of the MLP with BatchNorm, 1500 steps, in which a tenth of the channels stays.
* ``mlp_rigl95_step_vs_dense``: seconds of a training step of RigL at 5 % of an MLP 784-1024-1024-10 (batch 128, one
  thread), moves included, over those of a dense step of PyTorch; both in turn in one process.
* ``erk_flops_match``: forward FLOPs of ResNet-50 with densities of Erdős-Rényi-Kernel over dense ones, at sparsities of
  80, 90, 95 and 96.5 %: 0.414, 0.242, 0.122 and 0.085 (Evci et al. 2020).

``--quick``: three seeds, dynamic rules at 1 % of the weights only, and 300 steps in each phase of the tickets.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from common.harness import finish, print_table, progress, spread
from szilard import data, methods, metrics, networks
from szilard.bayes.network_weights import every_weight
from szilard.cost.interleave import Timed, interleave
from szilard.sparse.allocation import allocate
from szilard.training import total_cost
from training import sparse_peers

SEEDS, STEPS, BATCH, RATE = 5, 1500, 64, 0.1
SGD: dict[str, Any] = {"lr": RATE, "optimizer": "sgd"}
DENSITIES = (0.05, 0.02, 0.01)
METHODS = ("static", "set", "rigl", "srigl", "itop", "snfs", "topkast", "gradual", "granet", "acdc")
#: Those that predict with several draws or networks, at the lowest density only.
SEVERAL = ("free-tickets", "ssvi")
#: ITOP's published interval of 1500 steps is as long as this training. SSVI has its own optimiser and rate, and the
#: densities of layers that the others have.
OPTIONS: dict[str, dict[str, Any]] = {
    "itop": {"every": 100}, "ssvi": {"optimizer": "adam", "lr": 5e-3, "allocation": "erk"},
}  # fmt: skip
DRAWS = 32  # of SSVI; a point network predicts once
#: Lottery tickets and their controls.
TICKETS: dict[str, dict[str, Any]] = {
    "ticket": {}, "random mask": {"mask": "random"}, "random values": {"init": "random"},
    "one shot": {"one_shot": True},
}  # fmt: skip
LEVELS, QUICK_STEPS = 8, 300  # steps in each phase with --quick
TICKET_DENSITIES = (0.8**LEVELS, 0.01)
ERK = {0.2: 0.414, 0.1: 0.242, 0.05: 0.122, 0.035: 0.085}
Row = dict[str, Any]


def trained(name: str, density: float, seed: int, part: data.DataSet, steps: int = STEPS) -> Row:
    """Figures of one run on digits; ``name`` "dense" is ordinary training."""
    given = OPTIONS.get(name, {}) | TICKETS.get(name, {})
    options = SGD | ({} if name == "dense" else {"density": density, **given})
    if name in TICKETS:
        options["prune"] = 1 - density ** (1 / LEVELS)
    known = "deterministic" if name == "dense" else "tickets" if name in TICKETS else name
    method = methods.make(known, len(part.train), seed=seed, total_steps=steps, **options)
    return figures_of(name, density, method, _mlp("256,256", part, seed), seed, part)


def figures_of(
    name: str, density: float, method: methods.Method, network: nn.Module, seed: int, part: data.DataSet
) -> Row:
    """Train a network for all steps of a method, and measure what it costs and predicts."""
    network = method.prepare(network).train()
    seconds, alive = train(method, network, seed, part)
    predictive = method.predict(network.eval(), part.test.x, samples=DRAWS)
    found = metrics.evaluate(predictive, part.test.y)
    spent = total_cost.of_run(
        network, part.input_shape, method, batches=[BATCH], seconds=seconds, peak_bytes=0
    )
    return {
        "method": name, "density": density, "seed": seed, "accuracy": found["accuracy"], "nll": found["nll"],
        "ece": found["ece"], "train_flops": spent.train_flops, "seconds": seconds,
        "ever_alive": sum(int(mask.sum()) for mask in alive) / max(1, sum(mask.numel() for mask in alive)),
    }  # fmt: skip


def train(
    method: methods.Method, network: nn.Module, seed: int, part: data.DataSet
) -> tuple[float, list[torch.Tensor]]:
    """Train a prepared network for all steps of a method: seconds, and which entries of each weight ever existed."""
    optimizer = method.optimizer(network)
    current = network.current if isinstance(network, networks.Ensemble) else network
    alive = [weight.support.mask() for _, weight, _ in every_weight(current)]
    seconds = 0.0
    for x, y in islice(_batches(part, seed), method.total_steps):
        started = time.perf_counter()
        method.anneal(optimizer)
        method.loss(network, x, y).backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(network, optimizer)
        seconds += time.perf_counter() - started
        if method.step % 50 == 0:  # the shortest interval of a move divides it
            for mask, (_, weight, _) in zip(alive, every_weight(current), strict=True):
                mask.logical_or_(weight.support.mask())
    return seconds, alive


def _mlp(widths: str, part: data.DataSet, seed: int) -> nn.Module:
    return networks.build(f"mlp:{widths}", part.input_shape, part.n_outputs, seed=seed)


def _batches(part: data.DataSet, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for epoch in itertools.count():
        yield from data.batches(part.train, BATCH, seed=seed, epoch=epoch)


def of_peer(name: str, density: float, seed: int, part: data.DataSet, flops: int, steps: int = STEPS) -> Row:
    """Figures of one run of another library on digits.

    Args:
        flops: of dense training, which is what masked products take.

    Raises:
        ImportError: the library is not installed.
    """
    network = networks.build("mlp:256,256", part.input_shape, part.n_outputs, seed=seed).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE, momentum=0.9)
    seconds = 0.0
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # the libraries draw masks from the global generator
        step = sparse_peers.PEERS[name](network, optimizer, density, steps=steps, every=100, fraction=0.3)
        for number, (x, y) in enumerate(islice(_batches(part, seed), steps)):
            started = time.perf_counter()
            for group in optimizer.param_groups:
                group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * number / steps))
            nn.functional.cross_entropy(network(x), y).backward()
            step()
            optimizer.zero_grad()
            seconds += time.perf_counter() - started
    with torch.no_grad():
        predictive = metrics.Predictive.from_logits(network.eval()(part.test.x)[None])
    found = metrics.evaluate(predictive, part.test.y)
    return {
        "method": name, "density": density, "seed": seed, "accuracy": found["accuracy"], "nll": found["nll"],
        "ece": found["ece"], "train_flops": flops, "seconds": seconds, "ever_alive": None,
    }  # fmt: skip


def peers(density: float, seeds: int, part: data.DataSet, flops: int) -> list[Row]:
    """Rows of the libraries that are installed."""
    rows = []
    for name in sparse_peers.PEERS:
        try:
            rows += [of_peer(name, density, seed, part, flops) for seed in range(seeds)]
        except ImportError:
            progress(f"{name} is not installed (make bench-peers)")
    return rows


def body(rows: list[Row]) -> list[list[str]]:
    """Rows of the table: mean ± standard error over seeds."""
    dense = statistics.fmean(row["train_flops"] for row in rows if row["method"] == "dense")
    lines = []
    for density, name in dict.fromkeys((row["density"], row["method"]) for row in rows):
        here = [row for row in rows if (row["density"], row["method"]) == (density, name)]

        def cell(key: str, digits: int = 3, factor: float = 1.0, here: list[Row] = here) -> str:
            return spread([row[key] for row in here], digits, factor)

        lines.append([
            name if name == "dense" else f"{name}, {100 * density:.3g} %", cell("accuracy", 2, 100), cell("nll"),
            cell("ece"), f"{statistics.fmean(row['train_flops'] for row in here) / dense:.3f}", cell("seconds", 1),
            "" if name == "dense" or here[0]["ever_alive"] is None else cell("ever_alive", 3),
        ])  # fmt: skip
    return lines


COLUMNS = ("method", "accuracy %", "NLL", "ECE", "training FLOPs / dense", "seconds", "ever alive")


def difference(rows: list[Row], one: str, other: str, density: float) -> float:
    """Difference of mean accuracies, points."""
    return 100 * (mean(rows, one, density, "accuracy") - mean(rows, other, density, "accuracy"))


def mean(rows: list[Row], name: str, density: float, key: str) -> float:
    """Mean of a figure over seeds."""
    return statistics.fmean(row[key] for row in rows if (row["method"], row["density"]) == (name, density))


def tickets(density: float, seeds: int, part: data.DataSet, steps: int) -> list[Row]:
    """Tickets and their controls, with ``steps`` for each phase."""
    rows = []
    for name, options in TICKETS.items():
        phases = 2 if options.get("one_shot") else LEVELS + 1
        rows += [trained(name, density, seed, part, phases * steps) for seed in range(seeds)]
        progress(
            f"{name} at {100 * density:.3g} %: {spread([row['accuracy'] for row in rows[-seeds:]], 2, 100)} %"
        )
    return rows


def posterior_ticket(seed: int, part: data.DataSet, steps: int) -> Row:
    """A ticket of Gaussian weights, with ``steps`` for each phase."""
    method = methods.PosteriorTickets(
        len(part.train),
        density=0.01,
        prune=1 - 0.01 ** (1 / LEVELS),
        seed=seed,
        lr=5e-3,
        total_steps=(LEVELS + 1) * steps,
    )
    return figures_of("posterior ticket", 0.01, method, _mlp("256,256", part, seed), seed, part)


def elastic_ticket(seed: int, part: data.DataSet, steps: int) -> Row:
    """A ticket that was found with three hidden layers, trained with two for as many steps as one phase."""
    finding = methods.Tickets(
        len(part.train),
        density=0.01,
        prune=1 - 0.01 ** (1 / LEVELS),
        seed=seed,
        total_steps=(LEVELS + 1) * steps,
        **SGD,
    )
    network = finding.prepare(_mlp("256,256,256", part, seed)).train()
    train(finding, network, seed, part)
    method = methods.ElasticTicket(
        len(part.train), ticket=finding.ticket(network), seed=seed, total_steps=steps, **SGD
    )
    name = "elastic ticket of three hidden layers"
    return figures_of(name, 0.01, method, _mlp("256,256", part, seed), seed, part)


def early_bird(seed: int, part: data.DataSet, steps: int) -> Row:
    """The MLP with BatchNorm, of which a tenth of the channels stays."""
    method = methods.EarlyBird(len(part.train), prune=0.9, seed=seed, total_steps=steps, **SGD)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers: list[nn.Module] = [nn.Flatten()]
        for wide in (64, 256):
            layers += [nn.Linear(wide, 256, bias=False), nn.BatchNorm1d(256), nn.ReLU()]
        network = nn.Sequential(*layers, nn.Linear(256, 10))
    return figures_of("early-bird with BatchNorm, channels", 0.1, method, network, seed, part)


#: Other kinds of tickets, with the steps of a phase.
KINDS = (posterior_ticket, elastic_ticket, early_bird)


# -- the time of a step ---------------------------------------------------------------------------------------


def step_ratio() -> dict[str, float]:
    """Seconds of a step of RigL at 5 % with its share of a move, over those of a dense step of PyTorch."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(128, 784, generator=generator), torch.randint(10, (128,), generator=generator)
    method = methods.make("rigl", 60_000, density=0.05, optimizer="sgd", lr=0.01, total_steps=1_000_000)
    sparse = method.prepare(networks.build("mlp:1024,1024", (784,), 10, seed=0)).train()
    optimizer = method.optimizer(sparse)
    dense = nn.Sequential(
        nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10)
    )
    plain = torch.optim.SGD(dense.parameters(), lr=0.01, momentum=0.9)

    def of_rigl() -> None:
        for _ in range(100):  # one move, with the dense gradient before it
            method.loss(sparse, x, y).backward()
            optimizer.step()
            optimizer.zero_grad()
            method.after_step(sparse, optimizer)

    def of_dense() -> None:
        for _ in range(100):
            nn.functional.cross_entropy(dense(x), y).backward()
            plain.step()
            plain.zero_grad()

    runs = {"rigl": Timed(of_rigl, 100, warm=False), "dense": Timed(of_dense, 100, warm=False)}
    times = interleave(runs, budget=20.0, least_rounds=7)
    rigl, dense_step = times["rigl"].median, times["dense"].median
    return {
        "step_seconds_rigl": rigl,
        "step_seconds_dense": dense_step,
        "mlp_rigl95_step_vs_dense": rigl / dense_step,
    }


# -- FLOPs of ResNet-50 ---------------------------------------------------------------------------------------


def resnet50() -> list[tuple[tuple[int, ...], int]]:
    """Shape of each weight of ResNet-50 for 224 x 224 images, and the number of positions of its outputs."""
    found: list[tuple[tuple[int, ...], int]] = [((64, 3, 7, 7), 112**2)]
    channels = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width, size = 64 * 2**stage, 56 // 2**stage
        for block in range(blocks):
            before = size * (2 if stage and not block else 1)  # the second convolution has the stride
            found += [((width, channels, 1, 1), before**2), ((width, width, 3, 3), size**2)]
            found.append(((4 * width, width, 1, 1), size**2))
            if not block:
                found.append(((4 * width, channels, 1, 1), size**2))
            channels = 4 * width
    return [*found, ((1000, 2048), 1)]


def erk_ratio(density: float) -> float:
    """Forward FLOPs with densities of Erdős-Rényi-Kernel, over dense ones."""
    weights = resnet50()
    kept = allocate([shape for shape, _ in weights], density, "erk")
    dense = sum(math.prod(shape) * positions for shape, positions in weights)
    return sum(count * positions for count, (_, positions) in zip(kept, weights, strict=True)) / dense


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three seeds, 1 %% of the weights only")
    parser.add_argument("--results", type=Path, help="JSON file for what was measured")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    part = data.load("digits")
    seeds, densities = (3, (0.01,)) if arguments.quick else (SEEDS, DENSITIES)
    rows = [trained("dense", 1.0, seed, part) for seed in range(seeds)]
    for density in densities:
        for name in METHODS:
            rows += [trained(name, density, seed, part) for seed in range(seeds)]
            progress(f"{name} at {100 * density:g} %: {body(rows)[-1][1]} %")
    for name in SEVERAL:
        rows += [trained(name, densities[-1], seed, part) for seed in range(seeds)]
        progress(f"{name} at {100 * densities[-1]:g} %: {body(rows)[-1][1]} %")
    rows += peers(densities[-1], seeds, part, rows[0]["train_flops"])
    for density in TICKET_DENSITIES:
        rows += tickets(density, seeds, part, QUICK_STEPS if arguments.quick else STEPS)
    for kind in KINDS:
        phase = QUICK_STEPS if arguments.quick and kind is not early_bird else STEPS
        rows += [kind(seed, part, phase) for seed in range(seeds)]
        progress(f"{rows[-1]['method']}: {body(rows)[-1][1]} %")
    print_table(f"digits, {seeds} seeds", COLUMNS, body(rows))
    ratios = {density: erk_ratio(density) for density in ERK}
    found: Row = {
        "digits_rigl_minus_set_1percent_pt": difference(rows, "rigl", "set", 0.01),
        "digits_set_minus_static_1percent_pt": difference(rows, "set", "static", 0.01),
        "free_tickets_nll_minus_ssvi": mean(rows, "free-tickets", 0.01, "nll")
        - mean(rows, "ssvi", 0.01, "nll"),
        "ticket_minus_random_mask_pt": difference(rows, "ticket", "random mask", 0.8**LEVELS),
        "ticket_minus_random_mask_1percent_pt": difference(rows, "ticket", "random mask", 0.01),
        "erk_flops_match": all(abs(ratios[density] - value) < 6e-4 for density, value in ERK.items()),
        **{f"erk_flops_{100 * (1 - density):g}": ratio for density, ratio in ratios.items()},
        **step_ratio(),
    }
    print_table(
        "figures", ("figure", "value"), [[f"`{name}`", f"{value:.4g}"] for name, value in found.items()]
    )
    if arguments.results is not None:
        arguments.results.write_text(
            json.dumps({"quick": arguments.quick, "rows": rows, "figures": found}, indent=1)
        )
    finish("topology", found)


if __name__ == "__main__":
    main()
