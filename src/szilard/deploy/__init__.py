"""Compile networks for runtimes: one forward pass that returns an answer and its uncertainty."""

from szilard.deploy.backends import BACKENDS, installed
from szilard.deploy.compiled import Compiled, Prediction
from szilard.deploy.compiling import compile
from szilard.deploy.cross_compiling import tvm_objects
from szilard.deploy.draws import DrawsComparison, compare_with_draws
from szilard.deploy.int8 import Effects, Evaluation, quantise
from szilard.deploy.int8_levels import with_levels
from szilard.deploy.loading import load
from szilard.deploy.remote import OnDevice, on_device
from szilard.deploy.units import Units

__all__ = [
    "BACKENDS",
    "Compiled",
    "DrawsComparison",
    "Effects",
    "Evaluation",
    "OnDevice",
    "Prediction",
    "Units",
    "compare_with_draws",
    "compile",
    "installed",
    "load",
    "on_device",
    "quantise",
    "tvm_objects",
    "with_levels",
]
