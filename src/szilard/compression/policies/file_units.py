"""Inputs and targets in the units of a file, which its user gives and gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from szilard.deploy import Units
from szilard.deploy.int8 import Evaluation

UNITS = (
    "inputs",
    "targets",
    "task",
    "calibration",
)  #: arguments of ``szilard.deploy.compile`` that answers depend on


def in_units(units: Units | None, x: Tensor) -> Tensor:
    """Inputs or targets of the network ``[N, ...]`` in the units of the file."""
    return x if units is None else (x.double() * units.scale + units.shift).to(x.dtype)


def of_file(data: Evaluation, deployed: Mapping[str, Any]) -> Evaluation:
    """Evaluation data of the network in the units of the file.

    Args:
        data: in the units of the network.
        deployed: arguments of :func:`szilard.deploy.compile`, of which ``inputs`` and ``targets`` are units.
    """
    ood = None if data.ood is None else in_units(deployed.get("inputs"), data.ood)
    return Evaluation(
        in_units(deployed.get("inputs"), data.x), in_units(deployed.get("targets"), data.y), ood
    )
