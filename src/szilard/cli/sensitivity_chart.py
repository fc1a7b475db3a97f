"""The bar chart of ``szilard measure --sensitivity``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from szilard.cli import output, table
from szilard.errors import printable
from szilard.report.figure_names import nats

_LETTERS = 24  # of a name
_BAR = 16  # columns of the longest bar
_EIGHTHS = " ▏▎▍▌▋▊▉"
_WHOLE = 5  # layers that are named


def show(figures: dict[str, Any], *, wide: bool) -> None:
    """Print a bar for each layer, at half of its channels and at 8 bits, and where the curves are."""
    layers = figures["layers"]
    more = [len(one["together"]) - 1 for one in layers]
    names = [
        printable(one["name"], None if wide else _LETTERS) + (f" +{count}" if count > 0 else "")
        for one, count in zip(layers, more, strict=True)
    ]
    columns = [table.Column(["channels or layer"], names, right=False)]
    for key, heading in (("half", "half of the channels"), ("eight", "8 bits")):
        values = [one[key] for one in layers]
        if any(value is not None for value in values):
            columns.append(table.Column([heading], _cells(values), right=False))
    title = (
        f"Sensitivity of {printable(figures['network'], 200)}: KL(original ‖ changed) in nats, if one of them alone is "
        f"changed, on {figures['inputs']:,} inputs of the training split of {printable(figures['data'], 100)}"
    )
    table.say_wrapped(title)
    output.say("")
    table.show(table.Table(columns), wide=wide)
    output.say("")
    table.say_wrapped("The longest bar of a column is what costs most. Nothing was trained.")
    if max(more, default=0) > 0:
        table.say_wrapped("A number with + says how many more layers have the same channels.")
    whole = list(figures["whole"].items())
    for name, reason in whole[:_WHOLE]:
        table.say_wrapped(printable(f"{name} keeps all channels: {reason}."))
    if len(whole) > _WHOLE:
        table.say_wrapped(f"{len(whole) - _WHOLE} more layers keep all channels; --json names them.")
    table.say_wrapped(printable(f"{figures['file']} has all options, {figures['report']} their curves."))


def _cells(values: Sequence[float | None]) -> list[str]:
    """Bars of equal width, and the numbers beside them."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    most = max(finite, default=0.0) or 1.0
    texts = ["-" if value is None else nats(value) for value in values]
    width = max(map(len, texts))
    return [
        f"{_bar(0.0 if value is None else min(value / most, 1.0)):{_BAR}} {text:>{width}}"
        for value, text in zip(values, texts, strict=True)
    ]


def _bar(share: float) -> str:
    """A bar of a share of the full width, in eighths of a column."""
    eighths = round(8 * _BAR * share)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
