"""Szilard: small, efficient PyTorch networks with calibrated uncertainty, by one free energy F = E[loss] + T · cost.

Names are looked up when they are first used (PEP 562): ``import szilard`` does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from szilard import _moved
from szilard.errors import SzilardError, SzilardWarning
from szilard.version import __version__

if TYPE_CHECKING:
    from szilard import (
        adapt,
        bayes,
        codec,
        compression,
        cost,
        data,
        deploy,
        fields,
        file,
        likelihood,
        methods,
        metrics,
        networks,
        report,
        solve,
        sparse,
        topology,
        training,
    )
    from szilard.bayes import bayesianize
    from szilard.compression import compress
    from szilard.file import SzilardFileError, load
    from szilard.model.conversion import convert
    from szilard.model.evaluate import measure
    from szilard.training.single_run import fit

__all__ = [
    "SzilardError",
    "SzilardFileError",
    "SzilardWarning",
    "__version__",
    "adapt",
    "bayes",
    "bayesianize",
    "codec",
    "compress",
    "compression",
    "convert",
    "cost",
    "data",
    "deploy",
    "fields",
    "file",
    "fit",
    "likelihood",
    "load",
    "measure",
    "methods",
    "metrics",
    "networks",
    "report",
    "solve",
    "sparse",
    "topology",
    "training",
]

_moved.install()

_PACKAGES = frozenset(
    {
        "adapt",
        "bayes",
        "codec",
        "compression",
        "cost",
        "data",
        "deploy",
        "fields",
        "file",
        "likelihood",
        "methods",
        "metrics",
        "networks",
        "report",
        "solve",
        "sparse",
        "topology",
        "training",
    }
)
_FUNCTIONS = {
    "SzilardFileError": "szilard.file",
    "bayesianize": "szilard.bayes",
    "compress": "szilard.compression",
    "convert": "szilard.training",
    "fit": "szilard.training",
    "load": "szilard.file",
    "measure": "szilard.training",
}


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"szilard.{name}")
    if name in _FUNCTIONS:
        value = getattr(importlib.import_module(_FUNCTIONS[name]), name)
        globals()[name] = _moved.with_former_attributes(name, value)
        return value
    raise AttributeError(f"module 'szilard' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
