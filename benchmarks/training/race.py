"""Times of whole trainings under the same load: the networks train alternately, one epoch each.

Times include training steps only (:meth:`Racer.epoch`). Between epochs the accuracy of each network on the validation
images is measured with its mean weights. Energy is measured if the processor's counters can be read, and otherwise
estimated from counted operations; the table says which.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from common import machine
from common.joulemeter import JouleMeter
from szilard import bayes, cost, data, networks
from szilard.data import DataSet
from szilard.methods import Method

Curve = dict[str, Any]


@dataclass
class Racer:
    """One training run and its measurements so far."""

    row: str
    network: nn.Module
    method: Method
    optimizer: torch.optim.Optimizer
    epochs: int
    batch: int
    seconds: list[float] = field(default_factory=list)  # cumulative, after each epoch
    cpu_seconds: list[float] = field(default_factory=list)
    joules: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)  # on the validation images, after each epoch

    @classmethod
    def make(cls, row: str, spec: str, method: Method, part: DataSet, epochs: int, batch: int) -> Racer:
        network = networks.build(spec, part.input_shape, part.n_outputs, seed=method.seed)
        network = method.prepare(network, part.task)
        method.total_steps = epochs * data.n_batches(len(part.train), batch)
        return cls(row, network, method, method.optimizer(network), epochs, batch)

    def epoch(self, part: DataSet, meter: JouleMeter) -> None:
        """Train for one epoch and record its time."""
        meter.since()
        started, cpu = time.perf_counter(), time.process_time()
        for x, y in data.batches(part.train, self.batch, seed=self.method.seed, epoch=len(self.seconds)):
            self.method.anneal(self.optimizer)
            self.method.loss(self.network, x, y).backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.method.after_step(self.network, self.optimizer)
        append(self.seconds, time.perf_counter() - started)
        append(self.cpu_seconds, time.process_time() - cpu)
        append(self.joules, meter.since())
        with torch.no_grad(), bayes.evaluating(self.network):
            right = self.network(part.valid.x).argmax(1) == part.valid.y
        self.accuracy.append(float(right.double().mean()))

    def estimated_joules(self, part: DataSet) -> float:
        """Estimated joules of the whole training, from counted operations."""
        examples = self.epochs * len(part.train)
        moves, total = getattr(self.method, "moves", None), self.method.total_steps or 0
        collected = 0
        if moves is not None:
            collected = sum(moves.schedule.collects(step, total, moves.batches) for step in range(total))
        flops = cost.training_flops(
            self.network, part.input_shape, examples=examples, growth_examples=self.batch * collected
        )
        values = sum(parameter.numel() for parameter in self.network.parameters() if parameter.requires_grad)
        counted = cost.joules(cost.Cost(train_flops=flops), steps=total, trained_values=values)
        assert counted.joules_training is not None
        return counted.joules_training


def append(cumulative: list[float], more: float) -> None:
    cumulative.append((cumulative[-1] if cumulative else 0.0) + more)


def run(racers: Sequence[Racer], part: DataSet, samples: int = 32) -> list[Curve]:
    """Train all epochs, rotating the order of the networks; then test accuracy with ``samples`` weight samples."""
    meter, where = JouleMeter(), machine.describe()
    for epoch in range(max(racer.epochs for racer in racers)):
        first = epoch % len(racers)
        for racer in (*racers[first:], *racers[:first]):
            racer.epoch(part, meter)
        print(
            f"epoch {epoch + 1}: "
            + ", ".join(f"{r.row} {r.seconds[-1]:.1f} s {r.accuracy[-1]:.4f}" for r in racers),
            flush=True,
        )
    curves = []
    for racer in racers:
        racer.method.finish(
            racer.network, data.batches(part.train, racer.batch, seed=racer.method.seed, epoch=0), part.valid
        )
        answer = racer.method.predict(racer.network, part.test.x, samples=samples)
        curves.append(
            {
                "row": racer.row,
                "seconds": racer.seconds,
                "cpu_seconds": racer.cpu_seconds,
                "accuracy": racer.accuracy,
                "test_accuracy": float((answer.labels == part.test.y).double().mean()),
                "joules": racer.joules[-1] if meter.readable else racer.estimated_joules(part),
                "joules_source": "measured" if meter.readable else "estimated",
                "machine": where,
            }
        )
    return curves


def to_final(curve: Curve) -> float:
    """Seconds after which the validation accuracy first reached its final value."""
    return next(
        seconds
        for seconds, accuracy in zip(curve["seconds"], curve["accuracy"], strict=True)
        if accuracy >= curve["accuracy"][-1]
    )


COLUMNS = ["", "s", "s / epoch", "CPU s", "s to the final accuracy", "validation %", "test %", "J", "J are"]


def body(curves: Sequence[Curve]) -> list[list[str]]:
    """The table's cells, under COLUMNS."""
    return [
        [
            curve["row"],
            f"{curve['seconds'][-1]:.1f}",
            f"{statistics.median(per_epoch(curve)):.2f}",
            f"{curve['cpu_seconds'][-1]:.1f}",
            f"{to_final(curve):.1f}",
            f"{100 * curve['accuracy'][-1]:.2f}",
            f"{100 * curve['test_accuracy']:.2f}",
            f"{curve['joules']:.3g}",
            curve["joules_source"],
        ]
        for curve in curves
    ]


def per_epoch(curve: Curve) -> list[float]:
    """Seconds of each epoch."""
    seconds = curve["seconds"]
    return [now - before for before, now in zip([0.0, *seconds[:-1]], seconds, strict=True)]


def figures(curves: Sequence[Curve]) -> dict[str, float]:
    """The JSON keys: seconds and joules of SSVI 95 % divided by those of the two dense networks."""
    by_row = {curve["row"]: curve for curve in curves}
    ours = by_row["SSVI 95 %"]
    found: dict[str, float] = {}
    for name, row in (("deterministic", "deterministic"), ("mean_field", "dense mean-field, best T")):
        theirs = by_row[row]
        found |= {
            f"race_ssvi95_seconds_vs_{name}": ours["seconds"][-1] / theirs["seconds"][-1],
            f"race_ssvi95_cpu_seconds_vs_{name}": ours["cpu_seconds"][-1] / theirs["cpu_seconds"][-1],
            f"race_ssvi95_seconds_to_final_vs_{name}": to_final(ours) / to_final(theirs),
            f"race_ssvi95_joules_vs_{name}": ours["joules"] / theirs["joules"],
            f"race_ssvi95_test_minus_{name}_pp": 100 * (ours["test_accuracy"] - theirs["test_accuracy"]),
        }
    return {name: round(value, 4) for name, value in found.items()}
