"""Figures and tables of streams.py, from its rows."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from common.harness import spread
from streaming import digits, labelled, log_odds, measures, resets
from szilard.adapt import PRESETS

Row = dict[str, Any]
STREAMS = {"elec2": "Elec2", "weather": "weather"}
WOUND_UP = 1.0  # nats on labels, more than guessing
#: Gates of the figures: the value that they must reach, and whether from above.
GATES: dict[str, tuple[str, float]] = {
    "elec2_vbs1": ("≤", 7.40),
    "elec2_bank_nll": ("≤", 0.27),
    "elec2_bank_accuracy": ("≥", 0.90),
    "weather_bank_minus_vcl_nll": ("≤", -0.01),
    "bank_minus_best_rate_nll": ("≤", 0.005),
    "river_best_minus_bank_nll": ("≥", 0.01),
    "vbs3_nll": ("≤", 0.16),
    "run_length_nll": ("≤", 0.10),
    "joint_minus_conditional_nll": ("≤", -0.15),
    "change_precision": ("≥", 0.9),
    "change_recall": ("≥", 0.9),
    "faults_run_length_minus_best_rate_nll": ("≤", -0.03),
    "deep_carried_minus_reset_nll": ("≤", -0.05),
    "wound_up": ("≤", 0),
}


def figures(rows: Sequence[Row]) -> dict[str, float | None]:
    """The keys of the last line; None for what was not measured."""
    return {
        **_log_odds(rows),
        **_labels(rows),
        **_resets(rows),
        **_faults(rows),
        **_digits(rows),
    }


def _of(rows: Iterable[Row], part: str, name: str | None = None, stream: str | None = None) -> list[Row]:
    return [
        row
        for row in rows
        if row["part"] == part
        and (name is None or row["name"] == name)
        and (stream is None or row["stream"] == stream)
    ]


def _mean(rows: Sequence[Row], key: str) -> float | None:
    found = [row[key] for row in rows if row[key] is not None]
    return statistics.fmean(found) if found else None


def _minus(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def _log_odds(rows: Sequence[Row]) -> dict[str, float | None]:
    keys = {
        "elec2_bf98": "Bayesian forgetting, .98",
        "elec2_temper": "temper, 1/1.2",
        "elec2_vbs1": "greedy search (VBS, K = 1)",
        "elec2_vcl": "never forgets (VCL)",
        "elec2_persistence": log_odds.PERSISTENCE,
        "elec2_river_never_forgets": "river, never forgets",
        "elec2_river_smoothing98": "river, smoothing .98",
    }
    return {key: _mean(_of(rows, "log_odds", name), "mcae") for key, name in keys.items()}


def _labels(rows: Sequence[Row]) -> dict[str, float | None]:
    def nll(stream: str, name: str) -> float | None:
        return _mean(_of(rows, "labels", name, stream), "nll")

    blocks = [_of(rows, "labels", name, "weather") for name in ("bank", "vcl")]
    error = None
    if all(blocks):
        error = measures.standard_error(np.subtract(*(np.array(found[0]["blocks"]) for found in blocks)))
    behind_rate, before_river = [], []
    for stream in STREAMS:
        bank = nll(stream, "bank")
        for row in _of(rows, "labels", "bank", stream):
            behind_rate.append(row["nll"] - min(row["rates"].values()))
        peers = [row["nll"] for row in _of(rows, "labels", None, stream) if row["name"].startswith("river, ")]
        if peers and bank is not None:
            before_river.append(min(peers) - bank)
    judged = [row for row in _of(rows, "labels") if row["name"] in PRESETS]
    bank_rows = _of(rows, "labels", "bank", "elec2")
    return {
        "elec2_bank_nll": nll("elec2", "bank"),
        "elec2_bank_accuracy": _mean(bank_rows, "accuracy"),
        "elec2_label_persistence_nll": nll("elec2", labelled.PERSISTENCE),
        "weather_bank_minus_vcl_nll": _minus(nll("weather", "bank"), nll("weather", "vcl")),
        "weather_bank_minus_vcl_nll_se": error,
        "bank_minus_best_rate_nll": max(behind_rate) if len(behind_rate) == len(STREAMS) else None,
        "river_best_minus_bank_nll": min(before_river) if len(before_river) == len(STREAMS) else None,
        "wound_up": sum(row["nll"] > WOUND_UP for row in judged) if judged else None,
        "bank_rows_per_second": _mean(bank_rows, "rows_per_second"),
        "temper_rows_per_second": _mean(_of(rows, "labels", "temper", "elec2"), "rows_per_second"),
    }


def _resets(rows: Sequence[Row]) -> dict[str, float | None]:
    def nll(name: str) -> float | None:
        return _mean(_of(rows, "resets", name), "nll")

    lengths = _of(rows, "resets", "run length")
    matched = sum(row["matched"] for row in lengths)
    joint = "VBS, K = 6, β .1"
    return {
        "vbs3_nll": nll("VBS, K = 3, β .01"),
        "run_length_nll": nll("run length"),
        "joint_minus_conditional_nll": _minus(nll(joint), nll(f"{joint}, parent's evidence dropped")),
        "change_precision": matched / max(1, sum(row["found"] for row in lengths)) if lengths else None,
        "change_recall": matched / max(1, sum(row["true"] for row in lengths)) if lengths else None,
    }


def _faults(rows: Sequence[Row]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for sensors, key in (("temperature", ""), ("any", "any_sensor_")):
        differences = [row["run_length"] - min(row["rates"].values()) for row in _of(rows, "faults", sensors)]
        name = f"faults_{key}run_length_minus_best_rate_nll"
        found[name] = statistics.fmean(differences) if differences else None
    return found


def _digits(rows: Sequence[Row]) -> dict[str, float | None]:
    def nll(name: str) -> float | None:
        return _mean(_of(rows, "digits", name), "nll")

    reset, carried = nll("reset before each batch"), nll("carried (VCL)")
    return {
        "deep_carried_minus_reset_nll": _minus(carried, reset),
        "deep_vbs1_minus_carried_nll": _minus(nll("VBS, K = 1"), carried),
        "deep_vbs3_minus_carried_nll": _minus(nll("VBS, K = 3"), carried),
    }


def missed(found: dict[str, float | None]) -> list[str]:
    """A sentence for each figure that misses its gate."""
    lines = []
    for name, (sign, gate) in GATES.items():
        value = found.get(name)
        if value is not None and (value > gate if sign == "≤" else value < gate):
            lines.append(f"{name} is {value:.4g}, and the target is {sign} {gate:g}")
    forgetting = found.get("elec2_bf98")
    if forgetting is not None and abs(forgetting - 13.37) > 0.05:
        lines.append(f"elec2_bf98 is {forgetting:.4g}, and the published value is 13.37 (± .05)")
    difference, error = found.get("weather_bank_minus_vcl_nll"), found.get("weather_bank_minus_vcl_nll_se")
    if difference is not None and error is not None and -difference < 2 * error:
        lines.append("weather_bank_minus_vcl_nll is within two standard errors of zero")
    return lines


# -- tables -------------------------------------------------------------------------------------------------------


def _shown(value: float | None, digits_after: int, missing: str = "") -> str:
    return missing if value is None else f"{value:.{digits_after}f}"


LOG_ODDS_COLUMNS = ("method", "MCAE × 100", "rows at which it finds a change %", "rows / s")


def log_odds_body(rows: Sequence[Row]) -> list[list[str]]:
    """Elec2's log-odds, under LOG_ODDS_COLUMNS."""
    body = []
    for name in log_odds.NAMES:
        for row in _of(rows, "log_odds", name):
            share = row.get("changes")
            body.append([
                name,
                _shown(row["mcae"], 2, row.get("why") or "not measured"),
                "" if share is None else f"{100 * share:.0f}",
                _shown(row.get("rows_per_second"), 0),
            ])  # fmt: skip
    return body


LABEL_COLUMNS = ("method", "Elec2 NLL", "accuracy", "weather NLL", "accuracy ", "rows / s")


def label_body(rows: Sequence[Row]) -> list[list[str]]:
    """Both streams of labels, under LABEL_COLUMNS; best first, by the NLL of Elec2."""
    found = {row["name"]: row for row in _of(rows, "labels", None, "elec2")}
    other = {row["name"]: row for row in _of(rows, "labels", None, "weather")}
    body = []
    for name in sorted(found.keys() | other.keys(), key=lambda name: found.get(name, {}).get("nll", 9.0)):
        pair = [one.get(name) for one in (found, other)]
        cells = [
            _shown(None if row is None else row[key], places)
            for row in pair
            for key, places in (("nll", 4), ("accuracy", 3))
        ]
        body.append([name, *cells, _shown((pair[0] or pair[1] or {}).get("rows_per_second"), 0)])
    return body


RATE_COLUMNS = ("rate", *(f"{title} NLL" for title in STREAMS.values()))


def rate_body(rows: Sequence[Row]) -> list[list[str]]:
    """Each rate alone on both streams, under RATE_COLUMNS."""
    rates = {stream: row["rates"] for stream in STREAMS for row in _of(rows, "labels", "bank", stream)}
    if len(rates) < len(STREAMS):
        return []
    return [[rate, *(f"{rates[stream][rate]:.4f}" for stream in STREAMS)] for rate in rates["elec2"]]


RESET_COLUMNS = ("method", "NLL", "found / true changes", "found within 5 rows", "rows / s")


def reset_body(rows: Sequence[Row]) -> list[list[str]]:
    """Synthetic resets, mean ± standard error over seeds, under RESET_COLUMNS."""
    body = []
    for name in resets.METHODS:
        found = _of(rows, "resets", name)
        if found:
            counts = [sum(row[key] for row in found) for key in ("found", "true", "matched")]
            body.append([
                name,
                spread([row["nll"] for row in found]),
                f"{counts[0]} / {counts[1]}" if counts[0] else "",
                str(counts[2]) if counts[0] else "",
                f"{statistics.fmean(row['rows_per_second'] for row in found):.0f}",
            ])  # fmt: skip
    return body


FAULT_COLUMNS = ("sensors that fail", "run length NLL", "bank NLL", "best rate alone", "its NLL")


def fault_body(rows: Sequence[Row]) -> list[list[str]]:
    """Sensor faults, mean ± standard error over seeds, under FAULT_COLUMNS."""
    body = []
    for name in ("temperature", "any"):
        found = _of(rows, "faults", name)
        if found:
            best = [min(row["rates"], key=row["rates"].__getitem__) for row in found]
            body.append([
                name,
                spread([row["run_length"] for row in found]),
                spread([row["bank"] for row in found]),
                ", ".join(sorted(set(best))),
                spread([row["rates"][rate] for row, rate in zip(found, best, strict=True)]),
            ])  # fmt: skip
    return body


DIGIT_COLUMNS = ("method", "NLL", "accuracy %", "batches at which it finds a change")


def digit_body(rows: Sequence[Row]) -> list[list[str]]:
    """Turning digits, mean ± standard error over seeds, under DIGIT_COLUMNS."""
    body = []
    for name, way in digits.METHODS.items():
        found = _of(rows, "digits", name)
        if found:
            body.append([
                name,
                spread([row["nll"] for row in found]),
                spread([row["accuracy"] for row in found], 1, 100),
                f"{statistics.fmean(row['found'] for row in found):.1f} of {digits.BATCHES}"
                if way.tracker().detects
                else "",
            ])  # fmt: skip
    return body


def reading(rows: Sequence[Row]) -> str:
    """What Elec2 says about forgetting and detection, first of all."""
    temper, greedy = (_of(rows, "log_odds", name) for name in ("temper, 1/1.2", "greedy search (VBS, K = 1)"))
    if not temper or not greedy:
        return "Elec2 was not measured."
    text = (
        "On Elec2 forgetting, not detection, wins. Of its log-odds, tempering before every row detects nothing and "
        "has a mean cumulative absolute error (MCAE × 100) of "
        f"{temper[0]['mcae']:.2f}; greedy search has {greedy[0]['mcae']:.2f}, and finds a change at "
        f"{100 * greedy[0]['changes']:.0f} % of the rows, so that it is a filter that forgets."
    )
    losses = {name: _mean(_of(rows, "labels", name, "elec2"), "nll") for name in ("bank", "vbs", "bocd")}
    if any(loss is None for loss in losses.values()):
        return text
    return (
        f"{text} On its labels the bank of rates, which detects nothing, has {losses['bank']:.3f} nats, beam search "
        f"{losses['vbs']:.3f} and run length {losses['bocd']:.3f}."
    )
