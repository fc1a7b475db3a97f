"""A training run from start to end: train, checkpoint, resume, evaluate, and save the result."""

from typing import Any

from szilard import _moved
from szilard.model.conversion import Converted, convert
from szilard.model.evaluate import measure
from szilard.model.saved_network import SavedNetwork
from szilard.model.saved_network import load as load_network
from szilard.training.single_run import fit
from szilard.training.trained import Run

__all__ = ["Converted", "Run", "SavedNetwork", "convert", "fit", "load_network", "measure"]


def __getattr__(name: str) -> Any:
    return _moved.name_of(__name__, name)
