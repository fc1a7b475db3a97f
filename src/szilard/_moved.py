"""Modules and names that have moved: the old ones serve for one release, with a DeprecationWarning."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MODULES = {
    "szilard.free_energy": "szilard.likelihood.free_energy",
    "szilard.native": "szilard.kernels.native",
    "szilard.methods.moves": "szilard.topology.moves",
    "szilard.methods.scores": "szilard.topology.scores",
    "szilard.report.finding": "szilard.report.summary",
    "szilard.report.honesty": "szilard.report.calibration",
    "szilard.report.read": "szilard.run.read",
    "szilard.report.result": "szilard.run.result",
    "szilard.sparse.topology": "szilard.topology",
    **{
        f"szilard.sparse.{name}": f"szilard.kernels.{name}"
        for name in ("dispatch", "geometry", "layout", "normalize", "operator")
    },
    **{
        f"szilard.training.{name}": f"szilard.model.{name}"
        for name in (
            *("checkpoint", "conversion", "details", "evaluate", "finished", "fitting", "formats", "naming"),
            *(
                "safetensors_file",
                "schema",
                "stored",
                "torch_file",
                "torchscript",
                "trust",
                "units",
                "weights",
            ),
        )
    },
    **{
        f"szilard.training.{name}": f"szilard.run.{name}" for name in ("arrays", "folder", "lock", "settings")
    },
    **{
        f"szilard.compress.{name}": f"szilard.compress.passes.{name}"
        for name in (
            *(
                "batchnorm",
                "correct",
                "distil",
                "factorize",
                "finetune",
                "minimal_random",
                "posterior",
                "refit",
            ),
            "rounding",
        )
    },
}
"""By old name, where a module is."""

NAMES = {
    "szilard.likelihood.free_energy": {"Task": "szilard.data"},
    "szilard.sparse": dict.fromkeys(
        ("GrowthGradient", "Schedule", "carry_optimizer_state", "drop_and_grow"), "szilard.topology"
    )
}
"""By package, the public names that left it."""


def name_of(package: str, name: str) -> Any:
    """What a package's ``__getattr__`` answers for a name that left it.

    Raises:
        AttributeError: no such name ever stood there.
    """
    where = NAMES.get(package, {}).get(name)
    if where is None:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    _warn(f"{package}.{name}", f"{where}.{name}", 4)
    return getattr(importlib.import_module(where), name)


class _Finder(MetaPathFinder, Loader):
    """Answers imports of old names with the modules themselves."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MODULES else None

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__
        _warn(old, MODULES[old], 3)
        sys.modules[old] = importlib.import_module(MODULES[old])


def install() -> None:
    """Let old names be imported. It is asked after everybody else."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


def _warn(old: str, new: str, level: int) -> None:
    warnings.warn(f"{old} is now {new}; the old name goes with the next release", DeprecationWarning, level)
