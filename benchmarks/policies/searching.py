"""Cells of galen.py that find a policy: by a search, or uniform."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from common.harness import progress
from policies.kept import Kept
from policies.material import Material
from policies.plan import INT8, MATCHED, PRUNED, SEARCHERS, Cell, Settings
from policies.uniform_policies import FLOATS, INTEGERS, largest, policy
from szilard import atomic
from szilard.compression.channels.units import ChannelUnits
from szilard.compression.policies import policy_file
from szilard.compression.policies.found import Found
from szilard.compression.policies.galen_search import galen
from szilard.compression.policies.policy import Policy
from szilard.errors import SzilardError

Search = Callable[..., Found]
SMALLER = (
    0.97,
    0.95,
)  # of the target, where no policy met it as measured: few are tried, or the machine is noisy


def found(
    cell: Cell,
    material: Material,
    settings: Settings,
    kept: Kept,
    bounds: dict[str, Any],
    search: Search = galen,
) -> dict[str, Any]:
    """The row of a cell; its policy is written beside it.

    Args:
        cell: what is wanted.
        material: network and data.
        settings: how much is tried.
        kept: folder of the results.
        bounds: latencies of uniform policies (:func:`policies.layer_times.of_networks`).
        search: :func:`szilard.compression.galen`.
    """
    inputs = material.calibration(cell.seed, settings.calibration)
    if cell.searcher in SEARCHERS and (target := target_of(cell, bounds)) < 1:
        row, chosen = _searched(cell, target, inputs, material, settings, kept, search)
    else:
        row, chosen = _uniform(cell, inputs, material, bounds)
    atomic.write(policy_path(kept, cell), policy_file.to_toml(chosen).encode())
    layers = [[one.name, one.channels, one.weight_bits, one.activation_bits] for one in chosen.layers]
    return {"searcher": cell.searcher, "target": cell.target, "seed": cell.seed, "policy": layers, **row}


def policy_path(kept: Kept, cell: Cell) -> Path:
    """File of the policy of a cell."""
    return kept.path(cell.name, policy_file.SUFFIX)


def target_of(cell: Cell, bounds: dict[str, Any]) -> float:
    """The target of a cell as a share of the original's latency; infinite: none."""
    if cell.target == MATCHED:
        return float(bounds["int8"])
    return float(cell.target) if cell.target else math.inf


def _searched(
    cell: Cell,
    target: float,
    inputs: Tensor,
    material: Material,
    settings: Settings,
    kept: Kept,
    search: Search,
) -> tuple[dict[str, Any], Policy]:
    shared = kept.path(f"sensitivity_seed{cell.seed}", ".folder")
    for attempt in range(1 + len(SMALLER)):
        folder = kept.path(cell.name, ".search" if attempt == 0 else f".search{attempt + 1}")
        _copy(shared, folder)
        try:
            made = search(
                material.network, inputs, target=target, search=cell.searcher, evaluations=settings.evaluations,
                folder=folder, table=table_path(kept), noisy=True, trial_steps=settings.trial_steps,
                seed=cell.seed, progress=_Told(cell.name),
            )  # fmt: skip
            break
        except SzilardError as error:
            if attempt == len(SMALLER) or "no policy that was measured" not in str(error):
                raise
            target *= SMALLER[attempt]
            progress(f"{cell.name} again with target {target:.3f}: {error}")
    _copy(folder, shared)
    row = {
        "share": target,
        "kl": made.kl,
        "ratio": made.ratio,
        "predicted": made.predicted / made.reference,
        "table_error": made.table_error,
        "seconds": made.seconds,
        "trials": [
            [_short(one.cost), _short(one.kl), None if one.measured is None else _short(one.measured)]
            for one in made.trials
        ],
        "sizes": made.sizes,
        "sensitivity": _sensitivity(made),
        "notes": made.notes,
    }
    return row, made.policy


def _uniform(
    cell: Cell, inputs: Tensor, material: Material, bounds: dict[str, Any]
) -> tuple[dict[str, Any], Policy]:
    """A policy without a search; also that of a search whose target is no less than the original's latency."""
    units = ChannelUnits.of(material.network, inputs)
    bits, share = FLOATS, 1.0
    if cell.searcher not in SEARCHERS:
        bits = FLOATS if cell.searcher == PRUNED else INTEGERS
        if cell.searcher != INT8:
            kind = "float32" if bits == FLOATS else "int8"
            share = largest([(one["share"], one[kind]) for one in bounds["uniform"]], float(cell.target))
    return {"share": share, "seconds": {}, "trials": [], "notes": []}, policy(units, share, bits)


def table_path(kept: Kept) -> Path:
    """File of the table of latencies, which all cells share."""
    return kept.path("latency_table")


def _copy(source: Path, target: Path) -> None:
    """Copy what was measured of the sensitivity, which all searches of a seed share."""
    if source.exists():
        target.mkdir(parents=True, exist_ok=True)
        for path in source.glob("*sensitivity*"):
            if not (target / path.name).exists():
                shutil.copy(path, target / path.name)


def _sensitivity(made: Found) -> list[dict[str, Any]]:
    """Nats of each option of each decision."""
    if made.space is None or made.sensitivity is None:
        return []
    return [
        {"name": one.name, "kind": one.kind, "options": list(one.options), "nats": list(map(_short, nats))}
        for one, nats in zip(made.space.decisions, made.sensitivity.nats, strict=True)
    ]


def _short(value: float) -> float | None:
    """Five digits, for a file; None for what is not finite, which JSON does not have."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


class _Told:
    """Progress of a search, as a few lines."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, line: str) -> None:
        progress(f"{self.name}: {line}")
