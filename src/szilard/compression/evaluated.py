"""Scores from a user's ``evaluate``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from szilard.compression.judge import Scores
from szilard.errors import SzilardError


def scored(given: object) -> Scores:
    """Scores from the result of a user's ``evaluate``: a number, or a value for each example.

    Raises:
        SzilardError: it is neither.
    """
    if isinstance(given, Scores):
        return given
    if isinstance(given, np.ndarray | list | tuple):
        given = _tensor(given)
    if isinstance(given, Tensor) and given.dim() == 1 and len(given) > 1:
        values = given.detach().double().cpu()
        return Scores(float(values.mean()), values)
    try:
        return Scores(float(given))  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError) as error:
        raise SzilardError(
            f"evaluate returned {type(given).__name__}; let it return a number, or a tensor with a value for each "
            "example"
        ) from error


def _tensor(given: Any) -> Any:
    try:
        return torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):
        return given


def finite(found: Scores, whose: str) -> Scores:
    """The scores, if they are not NaN; minus infinity is allowed.

    Raises:
        SzilardError: the score is NaN or plus infinity.
    """
    if not math.isnan(found.score) and found.score != math.inf:
        return found
    of = f" by its output {found.output}" if found.output else ""
    raise SzilardError(
        f"the score of {whose}{of} is {found.score}; its outputs overflow, or the judge divides by zero: check the "
        "inputs, the weights and evaluate"
    )
