"""Compile networks for runtimes: one forward pass that returns an answer and its uncertainty."""

from szilard.deploy.backends import BACKENDS, installed
from szilard.deploy.compiled import Compiled, Prediction
from szilard.deploy.compiling import compile
from szilard.deploy.loading import load
from szilard.deploy.units import Units

__all__ = ["BACKENDS", "Compiled", "Prediction", "Units", "compile", "installed", "load"]
