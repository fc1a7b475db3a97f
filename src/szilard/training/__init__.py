"""A whole job, end to end: train, checkpoint, resume, judge, and keep what came out."""

from szilard.training.conversion import Converted, convert
from szilard.training.evaluate import measure
from szilard.training.finished import Finished
from szilard.training.finished import load as load_network
from szilard.training.fit import fit
from szilard.training.job import Run

__all__ = ["Converted", "Finished", "Run", "convert", "fit", "load_network", "measure"]
