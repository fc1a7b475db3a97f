"""Fashion-MNIST, MLP 784-512-512-10: what sparsity and uncertainty buy, with much data and with little.

    python benchmarks/fashion.py --data-root DATA [--quick | --select | --race] [--results FILE.jsonl]

DATA holds fashion_mnist/ (four idx.gz files) and ood/kmnist-test-imgs.npz. Two regimes: all 50 000 training
images, and 2 000. Every row has the same epochs, batch size and learning-rate schedule. What was tuned
(learning rate of each family, temperature, interval of the moves) was chosen by
``--select``, which trains on seed 100 and looks at the validation images only; the choices stand in SELECTED.
Two worker processes of one thread each; ``--results`` keeps finished rows, so that a run can be resumed.
Joules are estimated from counted operations (:func:`szilard.cost.joules`).

Seconds of runs that never saw the same load are hard to compare. ``--race`` trains the deterministic network,
dense mean-field and SSVI 95 % in turn, epoch by epoch, in one process of one thread (:mod:`training.race`), and
``--results`` then names the file for its curves.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import multiprocessing
import statistics
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from common.harness import finish, print_table, spread
from szilard import atomic, bayes, cost, data, methods, metrics, networks
from szilard.data import DataSet
from szilard.methods.method import Method
from training import race

NETWORK = "mlp:512,512"
INPUT_SHAPE = (1, 28, 28)
N_TRAIN = 50_000
BATCH = 128
SAMPLES = 32
REGIMES: dict[str, dict[str, Any]] = {
    "all": {"n_train": None, "epochs": 12},
    "small": {"n_train": 2000, "epochs": 150},
}

#: What validation chose, by family and regime (``--select`` prints the candidates).
SELECTED: dict[str, dict[str, dict[str, Any]]] = {
    "deterministic": {"all": {"lr": 3e-4}, "small": {"lr": 3e-4}},
    "sparse": {"all": {"lr": 3e-3}, "small": {"lr": 1e-3}},
    "mean-field": {"all": {"lr": 1e-3, "temperature": 0.01}, "small": {"lr": 1e-3, "temperature": 0.03}},
    "ssvi": {
        "all": {"lr": 5e-3, "temperature": 0.05, "every": 50},
        "small": {"lr": 8e-3, "temperature": 0.1, "every": 25},
    },
}

SCALED = "deterministic + temperature"  # the deterministic network again, calibrated; not trained twice

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
    """The plain loop of the documentation; returns the network and the seconds its steps took."""
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
    """Train one row on one seed and look at the split that the job names."""
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
    assert part.ood is not None, "dataset() asks for KMNIST"
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
    """Estimated from what the run counted: its FLOPs, and the optimiser's traffic for every number it trains."""
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
    """How many numbers the optimiser holds; means and log standard deviations count apart."""
    options = {} if density is None else {"density": density}
    network = methods.make(method, N_TRAIN, **options).prepare(networks.build(NETWORK, INPUT_SHAPE, 10))
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def scaled(job: Job) -> Job:
    return {**job, "row": SCALED, "options": {**job["options"], "temperature_scaling": True}}


def finished(jobs: Iterable[Job], results: Path | None) -> Iterator[Job]:
    """Run the jobs that ``results`` does not hold yet, one seed after the other, and yield all."""
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


def select(root: str, regimes: Iterable[str], results: Path | None) -> None:
    """Print validation figures of every candidate."""
    jobs = [
        {
            "root": root,
            "regime": r,
            "row": f,
            "method": m,
            "options": {**o, **c},
            "seed": 100,
            "split": "valid",
        }
        for r in regimes
        for f, (m, o, candidates) in CANDIDATES.items()
        for c in candidates
    ]
    found = list(finished(jobs, results))
    for regime in regimes:
        print_table(f"Validation, {regime}", *candidates_table(found, regime))


def candidates_table(found: Iterable[Job], regime: str) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the validation figures of a regime, best NLL of each family first."""
    rows = sorted((j for j in found if j["regime"] == regime), key=lambda j: (j["row"], j["figures"]["nll"]))
    return ["family", "options", "accuracy", "NLL", "ECE"], [
        [
            j["row"],
            ", ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in j["options"].items()),
            *(f"{j['figures'][c]:.4f}" for c in ("accuracy", "nll", "ece")),
        ]
        for j in rows
    ]


COLUMNS = [
    "",
    "accuracy %",
    "NLL",
    "Brier",
    "ECE",
    "AUROC max-p",
    "AUROC best",
    "numbers",
    "kB",
    "training TFLOP",
    "s / run",
    "s / epoch",
    "J / run, estimated",
]


def by_row(jobs: Iterable[Job], regime: str) -> dict[str, list[Job]]:
    """The runs of a regime by row, each row in the order of its seeds."""
    jobs = [job for job in jobs if job["regime"] == regime and job["split"] == "test"]
    return {row: sorted((j for j in jobs if j["row"] == row), key=lambda j: j["seed"]) for row in ROWS}


def body(rows: dict[str, list[Job]]) -> list[list[str]]:
    """The table's cells: mean and standard error over seeds, under COLUMNS."""
    cells = []
    for name, jobs in rows.items():
        g = [job["figures"] for job in jobs]
        cells.append(
            [
                name,
                spread([x["accuracy"] for x in g], 2, 100),
                spread([x["nll"] for x in g]),
                spread([x["brier"] for x in g]),
                spread([x["ece"] for x in g], 4),
                spread([x["auroc_max_probability"] for x in g]),
                spread([x["auroc_best"] for x in g]),
                f"{g[0]['nonzeros']:,}",
                f"{g[0]['bits'] / 8000:,.0f}",
                f"{g[0]['train_gflops'] / 1000:,.1f}",
                f"{median_seconds(jobs):.0f}",
                f"{median_seconds(jobs) / REGIMES[jobs[0]['regime']]['epochs']:.2f}",
                f"{statistics.median(training_joules(job) for job in jobs):.3g}",
            ]
        )
    return cells


def median_seconds(jobs: list[Job]) -> float:
    """Of the training steps of a run; the median, because a busy machine only ever adds."""
    return statistics.median(job["figures"]["seconds"] for job in jobs)


def mean(rows: dict[str, list[Job]], row: str, figure: str) -> float:
    return statistics.fmean(job["figures"][figure] for job in rows[row])


def figures(rows: dict[str, dict[str, list[Job]]]) -> dict[str, float]:
    """The JSON keys: differences in percentage points, ratios of means."""
    out: dict[str, float] = {}
    if "all" in rows:
        get = functools.partial(mean, rows["all"])
        out["ssvi95_minus_mean_field_pp"] = 100 * (
            get("SSVI 95 %", "accuracy") - get("dense mean-field, best T", "accuracy")
        )
        out["ssvi95_ece"] = get("SSVI 95 %", "ece")
        out["ssvi95_auroc_minus_deterministic"] = get("SSVI 95 %", "auroc_best") - get(
            "deterministic", "auroc_best"
        )
        out["ssvi99_minus_static99_pp"] = 100 * (
            get("SSVI 99 %", "accuracy") - get("static mask 99 %", "accuracy")
        )
        out["ssvi95_nll"] = get("SSVI 95 %", "nll")
        out["ssvi95_minus_deterministic_pp"] = 100 * (
            get("SSVI 95 %", "accuracy") - get("deterministic", "accuracy")
        )
        ours, plain = rows["all"]["SSVI 95 %"], rows["all"]["deterministic"]
        out["ssvi95_seconds_vs_deterministic"] = median_seconds(ours) / median_seconds(plain)
        out["ssvi95_joules_vs_deterministic"] = training_joules(ours[0]) / training_joules(plain[0])
    if "small" in rows:
        get = functools.partial(mean, rows["small"])
        nll = get("SSVI 95 %", "nll")
        out["small_ssvi95_nll_vs_deterministic"] = nll / get("deterministic", "nll")
        out["small_ssvi95_nll_vs_sparse_deterministic"] = nll / get("sparse deterministic 95 %", "nll")
        out["small_ssvi95_ece"] = get("SSVI 95 %", "ece")
        accuracy = get("SSVI 95 %", "accuracy")
        out["small_ssvi95_minus_deterministic_pp"] = 100 * (accuracy - get("deterministic", "accuracy"))
        out["small_ssvi95_minus_mean_field_pp"] = 100 * (
            accuracy - get("dense mean-field, best T", "accuracy")
        )
        out["small_ssvi95_nll"] = nll
    return {name: round(value, 4) for name, value in out.items()}


RACERS = ("deterministic", "dense mean-field, best T", "SSVI 95 %")


def run_race(root: str, epochs: int, results: Path | None) -> None:
    """All training data, seed 0, one thread."""
    torch.set_num_threads(1)
    part = dataset(root, None)
    racers = []
    for row in RACERS:
        family, name, options = ROWS[row]
        method = methods.make(name, len(part.train), seed=0, **{**SELECTED[family]["all"], **options})
        racers.append(race.Racer.make(row, NETWORK, method, part, epochs, BATCH))
    curves = race.run(racers, part, samples=SAMPLES)
    if results:
        atomic.write(results, "".join(json.dumps(curve) + "\n" for curve in curves).encode())
    title = f"Fashion-MNIST, {epochs} epochs in turn, one thread, batch {BATCH}"
    print_table(title, race.COLUMNS, race.body(curves))
    finish("fashion_race", race.figures(curves))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--quick", action="store_true", help="2 seeds instead of 5")
    parser.add_argument(
        "--select", action="store_true", help="print validation figures of the candidates instead"
    )
    parser.add_argument(
        "--race", action="store_true", help="train three networks in turn and compare seconds"
    )
    parser.add_argument("--epochs", type=int, default=REGIMES["all"]["epochs"], help="of the race")
    parser.add_argument("--regime", choices=[*REGIMES, "both"], default="both")
    parser.add_argument("--seeds", type=int, help="number of seeds (5, or 2 with --quick)")
    parser.add_argument("--results", type=Path, help="keep finished runs in this file, and start from it")
    arguments = parser.parse_args()
    regimes = list(REGIMES) if arguments.regime == "both" else [arguments.regime]
    if arguments.select:
        select(arguments.data_root, regimes, arguments.results)
        return
    if arguments.race:
        run_race(arguments.data_root, arguments.epochs, arguments.results)
        return
    seeds = arguments.seeds or (2 if arguments.quick else 5)
    jobs = [
        {
            "root": arguments.data_root, "regime": regime, "row": row, "method": method, "seed": seed, "split": "test",
            "options": {**SELECTED[family][regime], **options},
        }
        for seed in range(seeds)
        for regime in regimes
        for row, (family, method, options) in ROWS.items()
    ]  # fmt: skip
    found = list(finished(jobs, arguments.results))
    rows = {regime: by_row(found, regime) for regime in regimes}
    for regime in regimes:
        title = "all 50 000 training images" if regime == "all" else "2 000 training images"
        epochs = REGIMES[regime]["epochs"]
        print_table(
            f"Fashion-MNIST, {title}, {epochs} epochs, {seeds} seeds, S = {SAMPLES}; OOD: KMNIST",
            COLUMNS,
            body(rows[regime]),
        )
    finish("fashion", figures(rows))


if __name__ == "__main__":
    main()
