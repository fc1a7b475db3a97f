"""Learning under drift: one Bayesian filter for rows that arrive one by one, and one for networks and batches.

Names are looked up when they are first used (PEP 562): ``szilard.adapt`` imports neither scikit-learn nor torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from szilard.adapt.classifier import OnlineClassifier
    from szilard.adapt.filter import Filter
    from szilard.adapt.network_filter import NetworkFilter
    from szilard.adapt.presets import PRESETS
    from szilard.adapt.regressor import OnlineRegressor

__all__ = ["PRESETS", "Filter", "NetworkFilter", "OnlineClassifier", "OnlineRegressor"]

_FROM = {
    "PRESETS": "presets",
    "Filter": "filter",
    "NetworkFilter": "network_filter",
    "OnlineClassifier": "classifier",
    "OnlineRegressor": "regressor",
}


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"szilard.adapt.{_FROM[name]}"), name)
    globals()[name] = found
    return found
