"""The results of galen.py as one value, from the cells in its folder."""

from __future__ import annotations

import json
import time
from typing import Any

from policies import ranking
from policies.kept import Kept
from policies.plan import SEARCHERS, Finish, Settings, cells, finishes
from policies.timing import ORIGINAL
from szilard import atomic

ORIGINAL_JUDGED = "original_judged"
LATENCIES = "latencies"
_RUNS = "runs"


def judged_name(finish: Finish) -> str:
    """Of the cell that judges a network."""
    return f"{finish.name}_judged"


def note_run(kept: Kept, part: str, seconds: float, workers: int, where: dict[str, str]) -> None:
    """Keep the duration, date, machine and versions of a part; seconds of several runs of it are added."""
    import onnxruntime

    runs = kept.get(_RUNS) or {}
    before = runs.get(part, {}).get("seconds", 0.0)
    runs[part] = {
        "seconds": before + seconds,
        "workers": workers,
        "date": time.strftime("%Y-%m-%d"),
        "onnxruntime": str(onnxruntime.__version__),
        "machine": where,
    }
    atomic.write(kept.path(_RUNS), json.dumps(runs).encode())


def found(kept: Kept, settings: Settings, quick: bool) -> dict[str, Any]:
    """Everything that was measured so far.

    Returns:
        ``quick``, ``settings``, ``runs`` by part; ``toy``: rows; ``bounds``: latencies without training; ``searches``:
        rows of policies, of which one for each seed has the ``sensitivity``; ``networks``: rows of finished networks
        with what is known of their accuracy and latency; ``ranking``: rows of policies with KLs and accuracy;
        ``original``: accuracy and latency.
    """
    latencies = kept.get(LATENCIES) or {}
    networks = []
    for one in finishes(settings, quick):
        row = kept.get(one.name)
        if row is not None:
            networks.append(row | (kept.get(judged_name(one)) or {}) | latencies.get(one.name, {}))
    searches = [row for cell in cells(settings, quick) if (row := kept.get(cell.name)) is not None]
    return {
        "quick": quick,
        "settings": settings.as_json(),
        "runs": kept.get(_RUNS) or {},
        "toy": (kept.get("toy") or {}).get("rows", []),
        "bounds": kept.get("bounds") or {},
        "searches": _sensitivity_once(searches),
        "networks": networks,
        "ranking": _ranked(kept, settings, quick),
        "original": (kept.get(ORIGINAL_JUDGED) or {}) | latencies.get(ORIGINAL, {}),
    }


def _ranked(kept: Kept, settings: Settings, quick: bool) -> list[dict[str, Any]]:
    """KLs of policies before and after a few steps of training, and accuracy after the short fine-tuning."""
    rows = []
    for one in ranking.chosen(settings, quick):
        kls, judged = kept.get(ranking.name(one.cell)), kept.get(judged_name(one))
        if kls is not None and judged is not None:
            cell = one.cell
            rows.append({"searcher": cell.searcher, "target": cell.target, "seed": cell.seed} | kls | judged)
    return rows


def _sensitivity_once(searches: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows in which one search of each seed has the sensitivity, which is the same for all of them."""
    known = set()
    rows = []
    for row in searches:
        if row["seed"] in known:
            rows.append({key: value for key, value in row.items() if key not in ("sensitivity", "sizes")})
            continue
        rows.append(row)
        if row["searcher"] in SEARCHERS and row.get("sensitivity"):
            known.add(row["seed"])
    return rows
