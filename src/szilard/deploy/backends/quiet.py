"""Silence for exporters of torch, whose log lines and warnings say nothing to a user of this package."""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator

_LOGGERS = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir", "executorch", "torchao", "coremltools")
_LOCK = threading.RLock()  # levels of loggers and filters of warnings belong to the process


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide warnings, and log records below errors of exporters; afterwards everything is as it was."""
    names = [
        name
        for name in (*_LOGGERS, *logging.root.manager.loggerDict)
        if name in _LOGGERS or name.startswith(tuple(f"{one}." for one in _LOGGERS))
    ]
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = {name: logging.getLogger(name).level for name in names}
        try:
            for name in names:
                logging.getLogger(name).setLevel(logging.ERROR)
            yield
        finally:
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)
