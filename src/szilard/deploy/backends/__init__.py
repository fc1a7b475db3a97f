"""Runtimes that a network is compiled for, one file each."""

from __future__ import annotations

import importlib
import importlib.util
from difflib import get_close_matches

from szilard.deploy.backends.base import Backend, Job, Run, exported
from szilard.errors import SzilardError

__all__ = ["BACKENDS", "SUFFIXES", "Backend", "Job", "Run", "backend", "exported", "installed", "kind"]

#: The class of each backend, by name; a module is imported when its backend is used.
BACKENDS = {
    "native": ("szilard.deploy.backends.native", "Native"),
    "onnx": ("szilard.deploy.backends.onnx_runtime", "OnnxRuntime"),
    "inductor": ("szilard.deploy.backends.inductor", "Inductor"),
    "tvm": ("szilard.deploy.backends.tvm", "Tvm"),
    "executorch": ("szilard.deploy.backends.executorch", "ExecuTorch"),
    "eager": ("szilard.deploy.backends.eager", "Eager"),
}

#: The backend that opens a file, by suffix.
SUFFIXES = {".onnx": "onnx", ".pt2": "inductor", ".pte": "executorch"}


def backend(name: str) -> Backend:
    """The backend of a name, if it can be used.

    Raises:
        SzilardError: there is none of that name, or it is not installed.
    """
    if name not in BACKENDS:
        close = get_close_matches(name, BACKENDS, 1)
        hint = f" (perhaps {close[0]})" if close else ""
        raise SzilardError(f"there is no backend {name!r}{hint}; choose one of {', '.join(BACKENDS)}")
    found = kind(name)
    why = found.missing()
    if why is not None:
        raise SzilardError(f"backend {name} is not installed: {why}")
    return found()


def installed() -> list[str]:
    """Names of the backends that can be used here."""
    return [name for name in BACKENDS if kind(name).missing() is None]


def kind(name: str) -> type[Backend]:
    """The class of a backend, whether it can be used or not."""
    module, kind = BACKENDS[name]
    found: type[Backend] = getattr(importlib.import_module(module), kind)
    return found
