"""Pictures of galen.py: policies that were tried, finished networks, and the sensitivity of every layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from policies.galen_figures import mean, networks
from policies.plan import DEFAULT, INT8, LABELS, LONG, MATCHED, PRUNED, PRUNED_INT8, SEARCHERS, SHORT

Found = dict[str, Any]
#: Colour and marker. Okabe and Ito (2008): colour-blind people tell these colours apart.
WAYS = {
    "evolution": ("#0072b2", "o"),
    "agent": ("#d55e00", "^"),
    "greedy": ("#009e73", "s"),
    "random": ("#999999", "v"),
    PRUNED: ("#e69f00", "D"),
    PRUNED_INT8: ("#cc79a7", "D"),
    INT8: ("#cc79a7", "P"),
}
_BITS = ("#0072b2", "#d55e00")  # of the bars: half of the channels, integers


def frontier(found: Found, path: Path) -> None:
    """Write the picture: KL of what was tried on the left, accuracy of finished networks on the right."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
    _tried(found, left)
    _finished(found, right)
    figure.legend(*_handles((left, right)), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.savefig(path, dpi=150, metadata={"Software": None})
    plt.close(figure)


def points(found: Found, searcher: str) -> list[tuple[float, float]]:
    """Latency and KL of all policies that a searcher tried: as measured, or by the prediction."""
    return [
        (cost if measured is None else measured, kl)
        for row in found["searches"]
        if row["searcher"] == searcher
        for cost, kl, measured in row["trials"]
        if kl is not None
    ]


def sensitivity(found: Found, path: Path) -> None:
    """Write the picture: KL of half of the channels of each pool, and of integers in each layer; means over seeds."""
    pools, layers = bars(found)
    figure, panels = plt.subplots(
        2, 1, figsize=(9, 6), layout="constrained", height_ratios=(1, 1), squeeze=True
    )
    for panel, values, colour, text in (
        (panels[0], pools, _BITS[0], "half of the channels of a pool"),
        (panels[1], layers, _BITS[1], "a layer in int8"),
    ):
        panel.bar(list(values), [max(value, 1e-6) for value in values.values()], color=colour)
        panel.set(yscale="log", ylabel="KL, nats", title=text)
        panel.tick_params(axis="x", rotation=90, labelsize=7)
        panel.grid(axis="y", color="#eeeeee", linewidth=0.8)
        panel.set_axisbelow(True)
    figure.savefig(path, dpi=150, metadata={"Software": None})
    plt.close(figure)


def bars(found: Found) -> tuple[dict[str, float], dict[str, float]]:
    """KL of half of the channels by pool, and of the last option of bits by layer; means over seeds."""
    collected: tuple[dict[str, list[float]], dict[str, list[float]]] = ({}, {})
    for row in found["searches"]:
        for one in row.get("sensitivity", []):
            if one["kind"] == "channels":
                options = one["options"]
                place = min(range(len(options)), key=lambda i: abs(options[i] - options[0] / 2))
            else:
                place = len(one["options"]) - 1
            if one["nats"][place] is not None:
                collected[one["kind"] != "channels"].setdefault(one["name"], []).append(one["nats"][place])
    pools, layers = ({name: mean(nats) or 0.0 for name, nats in part.items()} for part in collected)
    return pools, layers


def _tried(found: Found, panel: Axes) -> None:
    for searcher in [name for name in WAYS if name in SEARCHERS]:
        if tried := points(found, searcher):
            colour, marker = WAYS[searcher]
            x, y = zip(*tried, strict=True)
            panel.plot(
                x, y, marker, color=colour, markersize=3, alpha=0.4, markeredgewidth=0, label=LABELS[searcher]
            )
    panel.set(xlabel="latency, of the original", ylabel="KL before fine-tuning, nats")
    panel.set_yscale("log", subs=[2, 5])
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_formatter("{x:g}")


def _finished(found: Found, panel: Axes) -> None:
    for searcher, (colour, marker) in WAYS.items():
        for target in ("0.4", "", MATCHED):
            _plot(
                panel,
                networks(found, searcher, target, SHORT),
                colour,
                marker,
                LABELS.get(searcher, searcher),
            )
    for target in ("0.4", "0.6"):
        rows = networks(found, DEFAULT, target, LONG)
        _plot(panel, rows, "#000000", WAYS[DEFAULT][1], f"{LABELS[DEFAULT]}, long fine-tuning")
    whole = found.get("original", {}).get("accuracy")
    if whole is not None:
        panel.plot([1.0], [100 * whole], "*", color="#000000", markersize=10, label="original")
    panel.set(xlabel="latency, of the original", ylabel="test accuracy, %")
    panel.grid(color="#eeeeee", linewidth=0.8)
    panel.set_axisbelow(True)


def _plot(panel: Axes, rows: Sequence[dict[str, Any]], colour: str, marker: str, label: str) -> None:
    known = [(row["ratio"], 100 * row["accuracy"]) for row in rows if "ratio" in row and "accuracy" in row]
    if known:
        x, y = zip(*known, strict=True)
        panel.plot(x, y, marker, color=colour, markersize=5, alpha=0.8, label=label)


def _handles(panels: Sequence[Axes]) -> tuple[list[Any], list[str]]:
    """One entry of the legend for each label; markers of finished networks where there are any."""
    found: dict[str, Any] = {}
    for panel in panels:
        handles, labels = panel.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    return list(found.values()), list(found)


def draw(found: Found, folder: Path) -> None:
    """Write ``galen_frontier.png`` and ``galen_sensitivity.png``."""
    frontier(found, folder / "galen_frontier.png")
    sensitivity(found, folder / "galen_sensitivity.png")
