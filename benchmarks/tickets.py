"""Lottery tickets of other kinds, on digits: of posteriors, of another depth, and Early-Bird tickets.

    python benchmarks/tickets.py [--quick] [--results FILE.jsonl]

* posterior: ``tickets`` and ``posterior-tickets`` (by signal to noise, by magnitude, and on a random mask) of an MLP
  64-256-256-10 at 1 %, in ten levels that remove 40 % each, 90 epochs of Adam. ``posterior_minus_point_ticket_pt`` is
  the difference of mean accuracies.
* elastic: a ticket of 2 % in an MLP with three hidden layers of 128, trained for 20 epochs with two and with five, by
  both orders of blocks and on a random mask; beside it a ticket that was found at that depth, 80 epochs.
  ``elastic_minus_random_mask_pt`` is the smallest difference to a random mask over both depths and orders.
* early-bird: an MLP 64-128-128-10 with BatchNorm, 40 epochs of SGD, with 30, 50 and 70 % of the channels removed;
  ``early_bird_drawn_after`` is the latest epoch at which a ticket was drawn, as a fraction of all.

Mean ± standard error of three seeds; ``--quick``: one. Each row is one :func:`szilard.fit`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from common.harness import finish, print_table, progress, spread
from szilard import SzilardWarning, data, fit, methods
from szilard.methods import Method
from szilard.training import Run

SEEDS, BATCH = 3, 64
COLUMNS = ("network", "accuracy %", "NLL", "ECE", "training FLOPs / dense")
SGD: dict[str, Any] = {"optimizer": "sgd", "lr": 0.1}
POSTERIOR: dict[str, tuple[str, dict[str, Any]]] = {
    "tickets": ("tickets", {}),
    "posterior-tickets": ("posterior-tickets", {}),
    "posterior-tickets, score=magnitude": ("posterior-tickets", {"score": "magnitude"}),
    "posterior-tickets, mask=random": ("posterior-tickets", {"mask": "random"}),
}
ORDERS: dict[str, dict[str, Any]] = {
    "interleave": {}, "append": {"repeat": "append"}, "random mask": {"mask": "random"}
}  # fmt: skip
DEPTHS = (2, 5)
PRUNED = (0.3, 0.5, 0.7)
EARLY_EPOCHS = 40
Row = dict[str, Any]


def trained(method: Method, network: nn.Module | str, part: data.DataSet, epochs: int, seed: int) -> Run:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SzilardWarning)  # of few inputs of a unit: the accuracy shows it
        return fit(method, network, part, epochs=epochs, batch_size=BATCH, seed=seed, progress=False)


def row(kind: str, name: str, seed: int, run: Run, **more: Any) -> Row:
    found = {key: run.test[key] for key in ("accuracy", "nll", "ece")}
    progress(f"{kind}: {name}, seed {seed}: {100 * found['accuracy']:.2f} %")
    return {"kind": kind, "name": name, "seed": seed, **found, "train_flops": run.cost.train_flops, **more}


def posterior(part: data.DataSet, seed: int) -> Iterator[Row]:
    """Tickets of posteriors and of points."""
    for name, (method, options) in POSTERIOR.items():
        made = methods.make(method, len(part.train), density=0.01, prune=0.4, seed=seed, lr=5e-3, **options)
        yield row("posterior", name, seed, trained(made, "mlp:256,256", part, 90, seed))


def elastic(part: data.DataSet, seed: int) -> Iterator[Row]:
    """A ticket at another depth."""

    def ticket(depth: int) -> tuple[methods.Tickets, Run]:
        made = methods.Tickets(len(part.train), density=0.02, prune=0.4, seed=seed, **SGD)
        return made, trained(made, _mlp(depth), part, 80, seed)

    made, run = ticket(3)
    yield row("elastic", "3 hidden layers, the ticket", seed, run)
    source = made.ticket(run.network)
    for depth in DEPTHS:
        for name, options in ORDERS.items():
            moved = methods.ElasticTicket(len(part.train), ticket=source, seed=seed, **SGD, **options)
            found = trained(moved, _mlp(depth), part, 20, seed)
            yield row("elastic", f"{depth} hidden layers, {name}", seed, found)
        yield row("elastic", f"{depth} hidden layers, a ticket of this depth", seed, ticket(depth)[1])


def _mlp(depth: int) -> str:
    return "mlp:" + ",".join(["128"] * depth)


def early_bird(part: data.DataSet, seed: int) -> Iterator[Row]:
    """Channels removed early."""
    dense = methods.make("deterministic", len(part.train), seed=seed, **SGD)
    yield row("early-bird", "dense", seed, trained(dense, _normalised(seed), part, EARLY_EPOCHS, seed))
    for prune in PRUNED:
        made = methods.EarlyBird(len(part.train), prune=prune, seed=seed, **SGD)
        run = trained(made, _normalised(seed), part, EARLY_EPOCHS, seed)
        after = (made.drawn_at or made.step) / made.step
        yield row("early-bird", f"{prune:.0%} of the channels removed", seed, run, drawn_after=after)


def _normalised(seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers: list[nn.Module] = [nn.Flatten()]
        for wide in (64, 128):
            layers += [nn.Linear(wide, 128, bias=False), nn.BatchNorm1d(128), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(128, 10))


KINDS = {"posterior": posterior, "elastic": elastic, "early-bird": early_bird}


def body(rows: list[Row]) -> list[list[str]]:
    """Rows of the table of one kind; FLOPs over those of dense training if it is in the table."""
    dense = statistics.fmean([r["train_flops"] for r in rows if r["name"] == "dense"] or [0])
    lines = []
    for name in dict.fromkeys(r["name"] for r in rows):
        here = [r for r in rows if r["name"] == name]
        flops = f"{statistics.fmean(r['train_flops'] for r in here) / dense:.2f}" if dense else ""
        lines.append([
            name, spread([r["accuracy"] for r in here], 2, 100), spread([r["nll"] for r in here]),
            spread([r["ece"] for r in here]), flops,
        ])  # fmt: skip
    return lines


def figures(rows: list[Row]) -> Row:
    """Keys of the last line."""

    def accuracy(name: str) -> float:
        return 100 * statistics.fmean(r["accuracy"] for r in rows if r["name"] == name)

    above = [
        accuracy(f"{depth} hidden layers, {order}") - accuracy(f"{depth} hidden layers, random mask")
        for depth in DEPTHS
        for order in ("interleave", "append")
    ]
    return {
        "posterior_minus_point_ticket_pt": accuracy("posterior-tickets") - accuracy("tickets"),
        "elastic_minus_random_mask_pt": min(above),
        "early_bird_drawn_after": max(r["drawn_after"] for r in rows if "drawn_after" in r),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--results", type=Path, help="JSON lines of what was measured")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    part = data.load("digits", ood="none")
    rows = [
        found
        for kind in KINDS.values()
        for seed in range(1 if arguments.quick else SEEDS)
        for found in kind(part, seed)
    ]
    for kind in KINDS:
        print_table(kind, COLUMNS, body([r for r in rows if r["kind"] == kind]))
    if arguments.results is not None:
        arguments.results.write_text("".join(json.dumps(r) + "\n" for r in rows))
    finish("tickets", figures(rows))


if __name__ == "__main__":
    main()
