"""A warning about layers that cannot have as few weights as a density asks for."""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn

from szilard import bayes
from szilard.bayes.network_weights import every_weight
from szilard.errors import SzilardWarning

_MORE = 2.0  # times the density that was asked for


def warn(method: Any, network: nn.Module) -> None:
    """Warn before training if a method has, or will end with, more than twice the weights that were asked for."""
    asked = getattr(method, "density", None)
    if asked is None or asked >= 1:
        return
    counted = bayes.density(network)
    least = sum(not held.weight.stem for held in every_weight(network))  # one entry in each layer
    entries = max(least, round(asked * counted.converted)) if method.resizes else counted.existing
    stem = 0 if method.resizes else counted.stem  # there the density is that of the other layers
    found = (entries + stem) / max(1, counted.converted + stem)
    if found <= _MORE * asked:
        return
    pattern = str(getattr(method, "pattern", "unstructured"))
    if stem > entries:
        why = "the first layer stays dense; set dense_stem=False or choose larger layers"
    elif entries == least:
        why = "every layer keeps at least one entry; choose a larger density or larger layers"
    else:
        why = (
            f"units of pattern {pattern} are too large for its layers; choose smaller units or larger layers"
        )
    warnings.warn(
        f"{method.label} {'will have' if method.resizes else 'has'} {100 * found:.3g} % of its weights, where density "
        f"{asked:g} was asked for, because {why}",
        SzilardWarning,
        stacklevel=3,
    )
