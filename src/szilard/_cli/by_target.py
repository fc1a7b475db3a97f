"""How each of several targets fares, as lines below a table of figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from szilard.errors import printable

_MOST = 20  # targets
_LETTERS = 24  # of a name


def lines(rows: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    """A line a target, of at most 76 columns.

    Args:
        rows: "by_target" of :func:`szilard.training.details.of`.
        name: of the method.
    """
    names = [printable(str(row["target"]), _LETTERS) for row in rows[:_MOST]]
    width = max(6, *map(len, names))
    found = ["", f"Targets, {printable(name, 50)}:"]
    found.append(f"  {'target':{width}}  {'R²':>6}  {'RMSE':>10}  (95 %){'':17}  in 95 %")
    for shown, row in zip(names, rows, strict=False):
        ends = (row.get("intervals") or {}).get("rmse")
        span = f"({ends[0]:.4g} to {ends[1]:.4g})" if ends else ""
        explained = "-" if row.get("r2") is None or row["r2"] != row["r2"] else f"{row['r2']:.3f}"
        held = f"{100 * row['coverage95']:.1f} %"
        found.append(
            f"  {shown:{width}}  {explained:>6}  {row['rmse']:>10.4g}  {span:23}  {held:>7}".rstrip()
        )
    if len(rows) > _MOST:
        found.append(f"  and {len(rows) - _MOST} more; --json has all of them")
    return found
