"""``szilard measure --sensitivity``: how much each layer's channels and bits change the predictions, alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from rich.console import Console

from szilard import atomic
from szilard.cli import output, policy_network, sensitivity_chart
from szilard.cli.compression_with_data import Shown
from szilard.cli.messages import library_notifier
from szilard.cli.request import Request
from szilard.compression.channels.units import ChannelUnits
from szilard.compression.policies import importance, sensitivity, sensitivity_curves
from szilard.compression.policies.divergence import likelihood_of, outputs_of
from szilard.compression.policies.options import space_of
from szilard.compression.policies.search_bar import SearchBar
from szilard.report import galen_page
from szilard.report.galen_page import GalenView

_OF_RUN = "network.pt"  # the name of a network in a run folder


def run(request: Request, seed: int, *, as_json: bool, wide: bool) -> None:
    """Measure, write ``sensitivity.json`` and a page beside the network, and print a chart.

    Raises:
        SzilardError: the network cannot be opened or traced, or a file cannot be written.
    """
    file = request.path
    table, page = (_beside(file, suffix) for suffix in (".json", ".html"))
    shown = Shown(Console(stderr=True, quiet=as_json), library_notifier(quiet=as_json))
    opened = policy_network.opened(request, shown, mean=True)
    network, inputs = opened.network, opened.calibration(seed)[: sensitivity.INPUTS]
    with output.writing(table), SearchBar(None if as_json else shown.console, shown.tell) as bar:
        bar.stage("finding channels")
        units = ChannelUnits.of(network, inputs)
        likelihood = likelihood_of(outputs_of(network, inputs), opened.task)
        space = space_of(units, sensitivity_curves.BITS)
        bar.stage("ranking channels")
        ranks = importance.rank(network, units, inputs, seed, likelihood=likelihood)
        bar.stage("measuring sensitivity")
        found = sensitivity.measure(
            network, units, space, ranks, inputs, _cache(), bar.step, likelihood=likelihood
        )
        alone = sensitivity_curves.alone(found)
        together = {name: list(pool.layers) for name, pool in units.pools.items()}
        figures: dict[str, Any] = {
            "network": str(file),
            "data": opened.data,
            "inputs": found.examples,
            "file": str(table),
            "report": str(page),
            "layers": [
                {
                    "name": one.name,
                    "half": one.half,
                    "eight": one.eight,
                    "together": together.get(one.name, []),
                }
                for one in alone
            ],
            "options": found.rows(),
            "whole": dict(units.whole),
        }
        view = GalenView(
            "Sensitivity of channels and bits",
            file.name if file.name != _OF_RUN else str(file),
            "What happens to the predictions if a single decision is made, and nothing is trained.",
            [("data", opened.data), ("layers", f"{len(units.layers):,}")],
            [f"{name} keeps all channels: {reason}" for name, reason in units.whole.items()],
            alone=alone,
            channels=sensitivity_curves.of_channels(found),
            bits=sensitivity_curves.of_bits(found),
            examples=found.examples,
        )
        atomic.write(table, json.dumps(output.finite(figures), indent=1).encode(), follow=True)
        atomic.write(page, galen_page.render(view).encode(), follow=True)
    if as_json:
        output.as_json(figures)
    else:
        sensitivity_chart.show(figures, wide=wide)


def _beside(file: Path, suffix: str) -> Path:
    """``sensitivity.json`` in the folder of a run's network, and ``NAME.sensitivity.json`` beside another file."""
    if file.name == _OF_RUN:
        return file.with_name(f"sensitivity{suffix}")
    return file.with_suffix(f".sensitivity{suffix}")


def _cache() -> Path:
    """Where measurements are kept, by a hash of the network and its inputs, so that one that was stopped continues."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or "")
    base = base if base.is_absolute() else Path("~/.cache").expanduser()
    return base / "szilard" / "sensitivity"
