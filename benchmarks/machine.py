"""On what a benchmark ran: ratios travel between machines, seconds do not."""

from __future__ import annotations

import importlib
import os
import platform
from pathlib import Path

import torch

import szilard


def describe() -> dict[str, str]:
    """Processor, threads that it has, load, versions, and the kernels that serve float32 on it."""
    return {
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown",
        "torch": str(torch.__version__),
        "szilard": szilard.__version__,
        "kernels": kernels(),
    }


def line(machine: dict[str, str]) -> str:
    """One line of it, for a table's caption."""
    return (
        f"{machine['processor']}, {machine['cores']} cores (load {machine['load']} at the start), "
        f"torch {machine['torch']}, Szilard {machine['szilard']} with {machine['kernels']} kernels"
    )


def processor() -> str:
    """Its name, with the widest vector instructions it offers."""
    name, flags = "", ""
    try:
        for row in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = row.partition(":")
            name = name or (value.strip() if key.strip() == "model name" else "")
            flags = flags or (value if key.strip() in ("flags", "Features") else "")
    except OSError:  # not Linux
        pass
    wide = next((f for f in ("avx512f", "avx2", "asimd") if f in flags.split()), "")
    return (name or platform.processor() or platform.machine()) + (f" ({wide})" if wide else "")


def kernels() -> str:
    """What :data:`SZILARD_KERNELS` asks for, or what is chosen without it."""
    try:
        native = importlib.import_module("szilard.sparse.native")
    except ImportError:
        return "torch"
    asked = os.environ.get("SZILARD_KERNELS", "")
    isa = getattr(native, "isa", lambda: "")()
    return asked or (f"C++ {isa}" if isa else "torch")
