"""Silence for exporters, whose log lines and warnings say nothing to a user of this package."""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator

_LOCK = threading.RLock()  # both settings belong to the process


@contextlib.contextmanager
def quiet(most: int = logging.WARNING) -> Iterator[None]:
    """Hide warnings, and log records up to the level ``most``; afterwards everything is as it was."""
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(max(before, most))
        try:
            yield
        finally:
            logging.disable(before)
