"""A whole job, end to end: train, checkpoint, resume, judge, and keep what came out."""

from szilard.model.conversion import Converted, convert
from szilard.model.evaluate import measure
from szilard.model.finished import Finished
from szilard.model.finished import load as load_network
from szilard.training.fit import fit
from szilard.training.job import Run

__all__ = ["Converted", "Finished", "Run", "convert", "fit", "load_network", "measure"]
