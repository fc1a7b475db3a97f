"""Tables and figures of the Fashion-MNIST comparison, from finished runs."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Iterable

from common.harness import spread
from uncertainty.fashion_runs import REGIMES, ROWS, Job, training_joules


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
    """Rows of the table: mean and standard error over seeds, under COLUMNS."""
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
    """Median seconds of the training steps of a run; load on the machine can only increase single times."""
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
