"""Trained networks to small files: passes from network to network, each priced by F = E[loss] + λ · bits.

The room is its own main function: ``szilard.compress(network, ...)`` is :func:`szilard.compress.compress.compress`.
"""

import inspect
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from szilard import catalogue
from szilard.compress.calibration import Calibration
from szilard.compress.certificate import Certificate, certificate
from szilard.compress.compress import compress, default_passes
from szilard.compress.compressed import Compressed
from szilard.compress.curvature import Curvature, curvatures
from szilard.compress.draft import Draft, Pass, Quantised, Setting
from szilard.compress.imagine import imagine
from szilard.compress.precision import free_energy_step, posterior_curvature, published_bits
from szilard.compress.shrink import shrink

# For editors, which cannot see what is found at run time; a pass that is not here works all the same.
if TYPE_CHECKING:
    from szilard.compress.passes.batchnorm import CanonicalBatchNorm as CanonicalBatchNorm
    from szilard.compress.passes.correct import Correct as Correct
    from szilard.compress.passes.distil import Distil as Distil
    from szilard.compress.passes.factorize import Factorize as Factorize
    from szilard.compress.passes.finetune import Finetune as Finetune
    from szilard.compress.passes.minimal_random import MinimalRandom as MinimalRandom
    from szilard.compress.passes.posterior import Posterior as Posterior
    from szilard.compress.passes.refit import Refit as Refit
    from szilard.compress.passes.rounding import Offsets as Offsets
    from szilard.compress.passes.rounding import Quantise as Quantise

__all__ = [
    "Calibration",
    "Certificate",
    "Compressed",
    "Curvature",
    "Draft",
    "Pass",
    "Quantised",
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

_PASSES = {entry.class_name: entry.load() for entry in catalogue.entries(catalogue.PASSES)}
globals().update(_PASSES)
__all__.extend(sorted(_PASSES))


class _Room(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Compressed:
        return compress(*args, **options)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(compress)


_own = inspect.signature(compress)
_self = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
_Room.__call__.__signature__ = _own.replace(parameters=[_self, *_own.parameters.values()])  # type: ignore[attr-defined]
_Room.__call__.__doc__ = compress.__doc__
_room = sys.modules[__name__]
_room.__class__ = _Room
# help(szilard.compress) shows the function; what the room is for stands behind it.
_room.__doc__ = (
    "a trained network to one small file\n\n"
    f"szilard.compress{str(_own).replace(chr(39), '')}\n\n{inspect.getdoc(compress)}\n\n{__doc__}"
)
