"""Compress trained networks to small files, by passes that minimise F = E[loss] + λ · bits.

:func:`compress` is ``szilard.compress``.
"""

import importlib
from typing import TYPE_CHECKING, Any

from szilard import _moved, catalogue
from szilard.compression.calibration import Calibration
from szilard.compression.compressed import Compressed
from szilard.compression.curvature import Curvature, curvatures
from szilard.compression.dead_units import shrink
from szilard.compression.draft import Draft, Pass, Quantised, Setting
from szilard.compression.generalization_bound import Certificate, certificate
from szilard.compression.imagined_inputs import imagine
from szilard.compression.network_to_file import compress, default_passes
from szilard.compression.precision import free_energy_step, posterior_curvature, published_bits

# For editors, which cannot see what is found at run time; a pass that is not here works all the same.
if TYPE_CHECKING:
    from szilard.compression.passes.batchnorm import CanonicalBatchNorm as CanonicalBatchNorm
    from szilard.compression.passes.correct import Correct as Correct
    from szilard.compression.passes.distil import Distil as Distil
    from szilard.compression.passes.factorize import Factorize as Factorize
    from szilard.compression.passes.finetune import Finetune as Finetune
    from szilard.compression.passes.minimal_random import MinimalRandom as MinimalRandom
    from szilard.compression.passes.posterior import Posterior as Posterior
    from szilard.compression.passes.refit import Refit as Refit
    from szilard.compression.passes.rounding import Quantise as Quantise
    from szilard.compression.passes.rounding_vectors import QuantiseVectors as QuantiseVectors
    from szilard.compression.policies.found import Found
    from szilard.compression.policies.galen_search import galen
    from szilard.compression.policies.policy import LayerPolicy, Policy

__all__ = [
    "Calibration",
    "Certificate",
    "Compressed",
    "Curvature",
    "Draft",
    "Found",
    "LayerPolicy",
    "Pass",
    "Policy",
    "Quantised",
    "Setting",
    "certificate",
    "compress",
    "curvatures",
    "default_passes",
    "free_energy_step",
    "galen",
    "imagine",
    "posterior_curvature",
    "published_bits",
    "shrink",
]

_PASSES = {entry.class_name: entry.load() for entry in catalogue.entries(catalogue.PASSES)}
globals().update(_PASSES)
__all__.extend(sorted(_PASSES))


#: Imported when they are used: they need runtimes, which compress does not.
_LATER = {
    "Found": "szilard.compression.policies.found",
    "LayerPolicy": "szilard.compression.policies.policy",
    "Policy": "szilard.compression.policies.policy",
    "galen": "szilard.compression.policies.galen_search",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    return _moved.name_of(__name__, name)
