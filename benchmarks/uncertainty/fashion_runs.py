"""The rows of the Fashion-MNIST comparison: their methods, tuned hyperparameters and training runs."""

from __future__ import annotations

import functools
import json
import math
import multiprocessing
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from szilard import bayes, cost, data, methods, metrics, networks
from szilard.data import DataSet
from szilard.methods.method import Method

NETWORK = "mlp:512,512"
INPUT_SHAPE = (1, 28, 28)
N_TRAIN = 50_000
BATCH = 128
SAMPLES = 32
REGIMES: dict[str, dict[str, Any]] = {
    "all": {"n_train": None, "epochs": 12},
    "small": {"n_train": 2000, "epochs": 150},
}

#: Hyperparameters selected on the validation set, by family and regime (``--select`` prints the candidates).
SELECTED: dict[str, dict[str, dict[str, Any]]] = {
    "deterministic": {"all": {"lr": 3e-4}, "small": {"lr": 3e-4}},
    "sparse": {"all": {"lr": 3e-3}, "small": {"lr": 1e-3}},
    "mean-field": {"all": {"lr": 1e-3, "temperature": 0.01}, "small": {"lr": 1e-3, "temperature": 0.03}},
    "ssvi": {
        "all": {"lr": 5e-3, "temperature": 0.05, "every": 50},
        "small": {"lr": 8e-3, "temperature": 0.1, "every": 25},
    },
}

SCALED = "deterministic + temperature"  # the deterministic network with temperature scaling; it is not trained again

#: row -> (family, method, options)
ROWS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "deterministic": ("deterministic", "deterministic", {}),
    SCALED: ("deterministic", "deterministic", {"temperature_scaling": True}),
    "sparse deterministic 95 %": ("sparse", "sparse-deterministic", {"density": 0.05}),
    "dense mean-field, T = 1": ("mean-field", "mean-field", {"temperature": 1.0}),
    "dense mean-field, best T": ("mean-field", "mean-field", {}),
    "SSVI 90 %": ("ssvi", "ssvi", {"density": 0.10}),
    "SSVI 95 %": ("ssvi", "ssvi", {"density": 0.05}),
    "SSVI 98 %": ("ssvi", "ssvi", {"density": 0.02}),
    "SSVI 99 %": ("ssvi", "ssvi", {"density": 0.01}),
    "static mask 99 %": ("ssvi", "ssvi", {"density": 0.01, "fraction": 0.0}),
}

_TEMPERATURES = [{"temperature": t, "lr": 1e-3} for t in (0.01, 0.03, 0.1)]
_SSVI = [
    {"lr": lr, "temperature": t, "every": e}
    for lr, e in ((3e-3, 100), (5e-3, 50), (8e-3, 25))
    for t in (0.05, 0.1)
]
CANDIDATES: dict[str, tuple[str, dict[str, Any], list[dict[str, Any]]]] = {
    "deterministic": ("deterministic", {}, [{"lr": 3e-4}, {"lr": 1e-3}]),
    "sparse": ("sparse-deterministic", {"density": 0.05}, [{"lr": 1e-3}, {"lr": 3e-3}]),
    "mean-field": ("mean-field", {}, _TEMPERATURES),
    "ssvi": ("ssvi", {"density": 0.05}, _SSVI),
}

Job = dict[str, Any]


@functools.lru_cache(maxsize=2)
def dataset(root: str, n_train: int | None) -> DataSet:
    return data.load("fashion-mnist", root, n_train=n_train, seed=0, ood="kmnist")


def train(method: Method, part: DataSet, epochs: int, seed: int) -> tuple[torch.nn.Module, float]:
    """Train with the documentation's plain loop; return the network and the seconds of its steps."""
    network = networks.build(NETWORK, part.input_shape, part.n_outputs, seed=seed)
    network = method.prepare(network, part.task)
    method.total_steps = epochs * -(-len(part.train) // BATCH)
    optimizer = method.optimizer(network)
    started = time.perf_counter()
    for epoch in range(epochs):
        for x, y in data.batches(part.train, BATCH, seed=seed, epoch=epoch):
            method.anneal(optimizer)
            method.loss(network, x, y).backward()
            optimizer.step()
            optimizer.zero_grad()
            method.after_step(network, optimizer)
    seconds = time.perf_counter() - started
    method.finish(network, data.batches(part.train, BATCH, seed=seed, epoch=0), part.valid)
    return network, seconds


def work(job: Job) -> list[Job]:
    """Train one row with one seed and evaluate it on the job's split."""
    torch.set_num_threads(1)
    part = dataset(job["root"], REGIMES[job["regime"]]["n_train"])
    method = methods.make(job["method"], len(part.train), seed=job["seed"], **job["options"])
    network, seconds = train(method, part, REGIMES[job["regime"]]["epochs"], job["seed"])
    counted = cost.count(network, part.input_shape)
    common = {"seconds": seconds, "nonzeros": counted.nonzeros, "bits": counted.bits, "macs": counted.macs}
    common |= {"train_gflops": training_gflops(method, network, part, REGIMES[job["regime"]]["epochs"])}
    gaussian = [w for w in bayes.weights(network).values() if not w.is_point]
    if gaussian:
        relative = [(w.std / w.mean.square().mean().sqrt()).detach() for w in gaussian]
        common["sigma_over_mu"] = float(torch.cat(relative).median())
    done = [{**job, "figures": look(method, network, part, job["split"]) | common}]
    if job["row"] == "deterministic" and job["split"] == "test":
        method.calibrate(network, part.valid)
        done.append({**scaled(job), "figures": look(method, network, part, job["split"]) | common})
    return done


def look(method: Method, network: torch.nn.Module, part: DataSet, split: str) -> dict[str, float]:
    chosen = getattr(part, split)
    assert part.ood is not None, "dataset() loads KMNIST"
    ood = method.predict(network, part.ood.x, samples=SAMPLES)
    return metrics.evaluate(method.predict(network, chosen.x, samples=SAMPLES), chosen.y, ood=ood)


def training_gflops(method: Method, network: torch.nn.Module, part: DataSet, epochs: int) -> float:
    moves = getattr(method, "moves", None)
    grown = 0
    if moves is not None:
        total = method.total_steps or 0
        grown = BATCH * sum(moves.schedule.collects(step, total, moves.batches) for step in range(total))
    examples = epochs * len(part.train)
    return cost.training_flops(network, part.input_shape, examples=examples, growth_examples=grown) / 1e9


def training_joules(job: Job) -> float:
    """Energy of the training, estimated from its counted FLOPs and the optimiser's memory traffic, joules."""
    regime = REGIMES[job["regime"]]
    n_train = regime["n_train"] or N_TRAIN
    counted = cost.Cost(train_flops=round(1e9 * job["figures"]["train_gflops"]))
    return (
        cost.joules(
            counted,
            steps=regime["epochs"] * -(-n_train // BATCH),
            trained_values=trained_values(job["method"], job["options"].get("density")),
        ).joules_training
        or math.nan
    )


@functools.cache
def trained_values(method: str, density: float | None) -> int:
    """Number of trained values; means and log standard deviations are counted separately."""
    options = {} if density is None else {"density": density}
    network = methods.make(method, N_TRAIN, **options).prepare(networks.build(NETWORK, INPUT_SHAPE, 10))
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def scaled(job: Job) -> Job:
    return {**job, "row": SCALED, "options": {**job["options"], "temperature_scaling": True}}


def finished(jobs: Iterable[Job], results: Path | None) -> Iterator[Job]:
    """Run the jobs that ``results`` does not contain yet, ordered by seed, and yield all jobs."""
    done = (
        [json.loads(line) for line in results.read_text().splitlines()]
        if results and results.exists()
        else []
    )
    known = {key(job): job for job in done}
    todo = []
    for job in jobs:
        if key(job) in known:
            yield known[key(job)]
        elif job["row"] != SCALED:
            todo.append(job)
    if not todo:
        return
    todo.sort(key=lambda job: (job["seed"], job["regime"] != "all", job["method"] != "mean-field"))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for number, group in enumerate(pool.imap_unordered(work, todo), 1):
            for job in group:
                if results:
                    with results.open("a") as file:
                        file.write(json.dumps({k: v for k, v in job.items() if k != "root"}) + "\n")
                f = job["figures"]
                print(
                    f"[{number}/{len(todo)}] {job['regime']:5} {job['row']:28} seed {job['seed']:3} "
                    f"accuracy {f['accuracy']:.4f} nll {f['nll']:.4f} ece {f['ece']:.4f} {f['seconds']:.0f} s",
                    flush=True,
                )
                yield job


def key(job: Job) -> str:
    return json.dumps(
        {k: job[k] for k in ("regime", "row", "method", "options", "seed", "split")}, sort_keys=True
    )
