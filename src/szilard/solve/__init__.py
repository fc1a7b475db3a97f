"""Sparse inverse problems: codes x with few entries from b = A x + noise, by F = ½‖b - A x‖² + λ‖x‖₁.

Names are looked up when they are first used (PEP 562).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from szilard.solve.alista import ALISTA
    from szilard.solve.answer import Answer
    from szilard.solve.continuation import ContinuationFISTA
    from szilard.solve.conv_alista import ConvALISTA
    from szilard.solve.convolution import Convolution
    from szilard.solve.denoiser import Denoiser
    from szilard.solve.duality import lasso_gap
    from szilard.solve.estimators import Lasso, SparseCoder
    from szilard.solve.filter_learning import learn_filters
    from szilard.solve.fista import FISTA
    from szilard.solve.guard import Guard
    from szilard.solve.hyperlista import HyperLISTA
    from szilard.solve.ista import ISTA
    from szilard.solve.keeping import load, save
    from szilard.solve.lista import LISTA
    from szilard.solve.lista_cp import LISTACP
    from szilard.solve.na_alista import NAALISTA
    from szilard.solve.omp import OMP
    from szilard.solve.operators import Functions
    from szilard.solve.samples import CodePrior
    from szilard.solve.state import State
    from szilard.solve.step_lista import StepLISTA
    from szilard.solve.tilista import TiLISTA
    from szilard.solve.training import train
    from szilard.solve.weight import analytic_weight, symmetric_weight

__all__ = [
    "ALISTA",
    "FISTA",
    "ISTA",
    "LISTA",
    "LISTACP",
    "NAALISTA",
    "OMP",
    "Answer",
    "CodePrior",
    "ContinuationFISTA",
    "ConvALISTA",
    "Convolution",
    "Denoiser",
    "Functions",
    "Guard",
    "HyperLISTA",
    "Lasso",
    "SparseCoder",
    "State",
    "StepLISTA",
    "TiLISTA",
    "analytic_weight",
    "lasso_gap",
    "learn_filters",
    "load",
    "save",
    "symmetric_weight",
    "train",
]

_FROM = {
    "ALISTA": "alista",
    "Answer": "answer",
    "CodePrior": "samples",
    "ContinuationFISTA": "continuation",
    "ConvALISTA": "conv_alista",
    "Convolution": "convolution",
    "Denoiser": "denoiser",
    "FISTA": "fista",
    "Functions": "operators",
    "Guard": "guard",
    "HyperLISTA": "hyperlista",
    "ISTA": "ista",
    "LISTA": "lista",
    "LISTACP": "lista_cp",
    "Lasso": "estimators",
    "NAALISTA": "na_alista",
    "OMP": "omp",
    "SparseCoder": "estimators",
    "State": "state",
    "StepLISTA": "step_lista",
    "TiLISTA": "tilista",
    "analytic_weight": "weight",
    "lasso_gap": "duality",
    "learn_filters": "filter_learning",
    "load": "keeping",
    "save": "keeping",
    "symmetric_weight": "weight",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"szilard.solve.{_FROM[name]}"), name)
    globals()[name] = found
    return found
