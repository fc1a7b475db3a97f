"""A whole job, end to end: train, checkpoint, resume, judge, and keep what came out."""

from szilard.training.evaluate import measure
from szilard.training.finished import Finished
from szilard.training.finished import load as load_network
from szilard.training.fit import fit
from szilard.training.job import Run

__all__ = ["Finished", "Run", "fit", "load_network", "measure"]
