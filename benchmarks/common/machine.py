"""Description of the machine that a benchmark ran on."""

from __future__ import annotations

import os

import torch

import szilard
from szilard.cost.processor_name import processor
from szilard.kernels import dispatch


def describe() -> dict[str, str]:
    """Processor, number of cores, load, versions, and the kernels that are used for float32."""
    return {
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown",
        "torch": str(torch.__version__),
        "szilard": szilard.__version__,
        "kernels": dispatch.describe(),
    }


def line(machine: dict[str, str]) -> str:
    """The description in one line, for the caption of a table."""
    return (
        f"{machine['processor']}, {machine['cores']} cores (load {machine['load']} at the start), "
        f"torch {machine['torch']}, Szilard {machine['szilard']}; kernels: {machine['kernels']}"
    )
