"""The tensor that counts in what a network answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from szilard.errors import SzilardError

NAMED = ("logits", "prediction", "last_hidden_state", "out", "output")


def call(network: nn.Module, x: Tensor) -> Tensor:
    """The answer of a network to one batch, ``[B, ...]``.

    Raises:
        SzilardError: it holds no tensor of numbers.
    """
    return answer(network(x))


def answer(output: Any) -> Tensor:
    """The tensor itself; the logits of a dict or data class, or else its first tensor; the first of a tuple."""
    found = _find(output)
    if found is None:
        raise SzilardError(
            f"the network answers {type(output).__name__}, in which there is no tensor; wrap it so that it answers one"
        )
    return found


def _find(output: Any) -> Tensor | None:
    if isinstance(output, Tensor):
        return output
    if dataclasses.is_dataclass(output) and not isinstance(output, type | Mapping):
        output = {one.name: getattr(output, one.name) for one in dataclasses.fields(output)}
    if isinstance(output, Mapping):
        first = [output[name] for name in NAMED if name in output]
        parts = [*first, *output.values()]
    elif isinstance(output, tuple | list):
        parts = list(output)
    else:
        return None
    return next((found for part in parts if (found := _find(part)) is not None), None)
