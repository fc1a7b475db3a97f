"""Supports of a stored network, for methods that change how many entries a weight has."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from szilard import bayes
from szilard.errors import SzilardError
from szilard.sparse import Pattern, Support
from szilard.sparse.pattern import UNSTRUCTURED


def match_supports(network: nn.Module, state: dict[str, Any], pattern: Pattern = UNSTRUCTURED) -> None:
    """Give the weights of a prepared network the supports in a state dict, with parameters of their sizes.

    Args:
        network: prepared by the method.
        state: of the trained network.
        pattern: of supports that are not full.

    Raises:
        SzilardError: a support is missing, or is no support of that weight.
    """
    for name, module in network.named_modules():
        if isinstance(module, bayes.Weight):
            crow, col = (state.get(f"{name}.support.{part}") for part in ("crow", "col"))
            if not isinstance(crow, Tensor) or not isinstance(col, Tensor):
                raise SzilardError(f"the support of {name} is missing; name the network that was trained")
            full = col.numel() == module.support.rows * module.support.cols
            module.set_support(Support(module.support.shape, crow, col, UNSTRUCTURED if full else pattern))
