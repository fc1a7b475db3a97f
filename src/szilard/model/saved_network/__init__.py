"""A trained network on disk, with everything needed to predict with it."""

from __future__ import annotations

from typing import Any

from szilard import _moved
from szilard.model import formats
from szilard.model.saved_network.kind import is_finished, plain_state
from szilard.model.saved_network.network import SavedNetwork
from szilard.model.saved_network.reading import load
from szilard.model.saved_network.writing import meta_of, save, to_meta
from szilard.model.weights import load_state, state_of

__all__ = [
    "SUFFIX",
    "SavedNetwork",
    "is_finished",
    "load",
    "load_state",
    "meta_of",
    "plain_state",
    "save",
    "state_of",
    "to_meta",
]

SUFFIX = formats.SZD


def __getattr__(name: str) -> Any:
    return _moved.name_of(__name__, name)
