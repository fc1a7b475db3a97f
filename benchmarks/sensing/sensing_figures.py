"""Figures and tables of compressed_sensing.py, from its rows."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from common.harness import spread
from sensing import classical, contest, unrolled, variation
from sensing.contest import FISTA_DCT, FISTA_LEARNED, GUARDED, METHODS, VARIATION
from sensing.photographs import KODAK, SAMPLES

Row = dict[str, Any]
#: Gates and goals: the sign, and the values.
GATES: dict[str, tuple[str, float]] = {
    "cs25_cpss_minus_fista_db": ("≥", 0.5),
    "cs25_fista_time_vs_cpss": ("≥", 5.0),
    "uncertified_returned": ("≤", 0),
}
GOALS: dict[str, tuple[str, float]] = {
    "cs25_cpss_minus_fista_db": ("≥", 1.5),
    "conv_alista_minus_fista_db": ("≥", 0.0),
}
CPSS = "LISTA-CPSS"


def of(rows: Sequence[Row], ratio: int, noisy: bool) -> list[Row]:
    """The rows of a ratio, with noise or without, by seed."""
    found = [row for row in rows if row["ratio"] == ratio and (row["noise"] > 0) == noisy]
    return sorted(found, key=lambda row: row["seed"])


def mean(row: Row, name: str, source: str = KODAK, key: str = "psnr") -> float | None:
    """The mean over the pictures of a source."""
    method = row["methods"].get(name)
    return None if method is None else statistics.fmean(method[key][source].values())


def _minus(rows: Sequence[Row], first: str, second: str, source: str = KODAK) -> float | None:
    pairs = [(mean(row, first, source), mean(row, second, source)) for row in rows]
    found = [a - b for a, b in pairs if a is not None and b is not None]
    return statistics.fmean(found) if found else None


def figures(rows: Sequence[Row], denoised: Sequence[Row] = ()) -> dict[str, float | None]:
    """The keys of the last line; None for what was not measured."""
    clean, noisy = of(rows, 25, False), of(rows, 25, True)
    ours = [name for name in METHODS if name != VARIATION]
    ahead = [_minus(clean, name, VARIATION) for name in ours]
    times = [
        row["methods"][FISTA_LEARNED]["seconds"] / row["methods"][CPSS]["seconds"]
        for row in clean
        if CPSS in row["methods"]
    ]
    counts = [row["guard"] for row in rows]
    samples = sum(count["samples"] for count in counts)
    found: dict[str, float | None] = {
        "cs25_cpss_minus_fista_db": _minus(clean, CPSS, FISTA_LEARNED),
        "cs25_noise_cpss_minus_fista_db": _minus(noisy, CPSS, FISTA_LEARNED),
        "cs25_samples_cpss_minus_fista_db": _minus(clean, CPSS, FISTA_LEARNED, SAMPLES),
        "cs25_fista_time_vs_cpss": statistics.fmean(times) if times else None,
        "cs25_best_minus_tv_db": max((value for value in ahead if value is not None), default=None),
        "fallback_share": sum(count["fell"] for count in counts) / samples if samples else None,
        "uncertified_returned": sum(count["uncertified"] for count in counts) if samples else None,
    }
    keys = ("conv_alista_minus_fista_db", "conv_alista_minus_sporco_db")
    for key in keys:
        values = [row[key] for row in denoised if row.get(key) is not None]
        found[key] = statistics.fmean(values) if values else None
    return found


def missed(found: dict[str, float | None]) -> list[str]:
    """A sentence for each figure that misses its gate or its goal."""
    lines = []
    for word, bounds in (("gate", GATES), ("goal", GOALS)):
        for name, (sign, limit) in bounds.items():
            value = found.get(name)
            if value is not None and (value > limit if sign == "≤" else value < limit):
                lines.append(f"{name} is {value:.3g}, and the {word} is {sign} {limit:g}")
    return lines


def noise_words(noisy: bool) -> str:
    return "with noise" if noisy else "without noise"


COLUMNS = (
    "method", "Kodak PSNR, dB", "Kodak SSIM", "scikit-learn PSNR, dB", "scikit-learn SSIM", "s / picture", "settings",
)  # fmt: skip


def body(rows: Sequence[Row], ratio: int, noisy: bool) -> list[list[str]]:
    """All methods on a ratio, mean ± standard error over seeds, under COLUMNS; best first."""
    found = of(rows, ratio, noisy)
    if not found:
        return []
    table = []
    for name in METHODS:
        there = [row for row in found if name in row["methods"]]
        if not there:
            table.append((0.0, [name, "null", "", "", "", "", variation.PIP if name == VARIATION else ""]))
            continue
        cells = [
            spread([float(mean(row, name, source, key) or 0) for row in there], places)
            for source in (KODAK, SAMPLES)
            for key, places in (("psnr", 2), ("ssim", 3))
        ]
        seconds = statistics.fmean(row["methods"][name]["seconds"] for row in there)
        score = statistics.fmean(float(mean(row, name) or 0) for row in there)
        table.append((score, [name, *cells, f"{seconds:.3g}", _settings(there, name)]))
    return [cells for _, cells in sorted(table, key=lambda pair: -pair[0])]


def _settings(rows: Sequence[Row], name: str) -> str:
    if name in (FISTA_DCT, FISTA_LEARNED):
        found = [row["settings"][name] for row in rows]
        return _joined(f"λ {one['penalty']:g}, {one['iterations']} iterations" for one in found)
    if name == VARIATION:
        return _joined(f"ε {row['settings'][name]['weight']:g}" for row in rows)
    if name == GUARDED:
        fell, samples = (sum(row["guard"][key] for row in rows) for key in ("fell", "samples"))
        return f"{100 * fell / samples:.1f} % fell back"
    if name in unrolled.WAYS:
        return _joined(f"{unrolled.LAYERS} layers, {row['steps']} steps" for row in rows)
    return _joined(f"{contest.guarded.LAYERS} layers" for _ in rows)


def _joined(texts: Any) -> str:
    return "; ".join(dict.fromkeys(texts))


CHOICE_COLUMNS = ("λ", *(f"{stop} iterations" for stop in classical.STOPS))


def choice_body(rows: Sequence[Row], ratio: int, noisy: bool) -> list[list[str]]:
    """PSNR of FISTA with the learned dictionary on training patches, by λ and iterations; of the first seed."""
    for row in of(rows, ratio, noisy):
        psnr = row["settings"][FISTA_LEARNED]["psnr"]
        return [
            [f"{penalty:g}", *(f"{value:.2f}" for value in line)]
            for penalty, line in zip(classical.PENALTIES, psnr, strict=True)
        ]
    return []


DENOISING_COLUMNS = ("method", "PSNR, dB", "s / picture, wall")


def denoising_body(rows: Sequence[Row]) -> list[list[str]]:
    """Denoising, mean ± standard error over seeds, under DENOISING_COLUMNS."""
    if not rows:
        return []
    table = [["with the noise", spread([row["noisy_db"] for row in rows], 2), ""]]
    fista = "FISTA, {} iterations, as long as ALISTA"
    for name in rows[0]["rows"]:
        if name == f"FISTA, {rows[0]['fista_iterations']} iterations":
            counts = _joined(str(row["fista_iterations"]) for row in rows).replace(";", " or")
            cells = [row["rows"][f"FISTA, {row['fista_iterations']} iterations"] for row in rows]
            label = fista.format(counts)
        else:
            cells = [row["rows"][name] for row in rows if name in row["rows"]]
            label = name
        seconds = statistics.fmean(cell["seconds"] for cell in cells)
        table.append([label, spread([cell["db"] for cell in cells], 2), f"{seconds:.3g}"])
    sporco = [row for row in rows if row["sporco_db"] is not None]
    if sporco:
        seconds = statistics.fmean(row["sporco_seconds"] for row in sporco)
        table.append(["sporco, ADMM", spread([row["sporco_db"] for row in sporco], 2), f"{seconds:.3g}"])
    else:
        table.append(["sporco, ADMM", "null", ""])
    return table


def reading(rows: Sequence[Row]) -> str:
    """What the figures say, gates included."""
    found = figures(rows)
    ahead, times, before = (
        found[key] for key in ("cs25_cpss_minus_fista_db", "cs25_fista_time_vs_cpss", "cs25_best_minus_tv_db")
    )
    if ahead is None or times is None:
        return "Nothing was measured at 25 %."
    text = (
        f"At 25 % and without noise LISTA-CPSS is {ahead:+.2f} dB against FISTA with the same dictionary, whose λ and "
        f"iterations are the best, and FISTA takes {times:.1f} times as long."
    )
    if before is not None:
        text += f" The best of the methods with a prior of codes is {before:+.2f} dB against total variation."
    share = found["fallback_share"]
    if share is not None:
        text += (
            f" HyperLISTA's guard lets {100 * share:.1f} % of the patches fall back to FISTA: patches have many small "
            "codes, and its prior are few large ones."
        )
    return text
