"""Trained networks to small files: passes from network to network, each priced by F = E[loss] + λ · bits.

:func:`compress` is ``szilard.compress``.
"""

from typing import Any

from szilard import _moved
from szilard.compression.calibration import Calibration
from szilard.compression.compressed import Compressed
from szilard.compression.curvature import Curvature, curvatures
from szilard.compression.dead_units import shrink
from szilard.compression.draft import Draft, Pass, Quantised, Setting
from szilard.compression.generalization_bound import Certificate, certificate
from szilard.compression.imagined_inputs import imagine
from szilard.compression.network_to_file import compress, default_passes
from szilard.compression.passes.batchnorm import CanonicalBatchNorm
from szilard.compression.passes.correct import Correct
from szilard.compression.passes.distil import Distil
from szilard.compression.passes.factorize import Factorize
from szilard.compression.passes.finetune import Finetune
from szilard.compression.passes.minimal_random import MinimalRandom
from szilard.compression.passes.posterior import Posterior
from szilard.compression.passes.refit import Refit
from szilard.compression.passes.rounding import Quantise, QuantiseVectors
from szilard.compression.precision import free_energy_step, posterior_curvature, published_bits

__all__ = [
    "Calibration",
    "CanonicalBatchNorm",
    "Certificate",
    "Compressed",
    "Correct",
    "Curvature",
    "Distil",
    "Draft",
    "Factorize",
    "Finetune",
    "MinimalRandom",
    "Pass",
    "Posterior",
    "Quantise",
    "QuantiseVectors",
    "Quantised",
    "Refit",
    "Setting",
    "certificate",
    "compress",
    "curvatures",
    "default_passes",
    "free_energy_step",
    "imagine",
    "posterior_curvature",
    "published_bits",
    "shrink",
]


def __getattr__(name: str) -> Any:
    return _moved.name_of(__name__, name)
