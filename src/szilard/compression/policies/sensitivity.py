"""Sensitivity: what each option of each decision costs alone, in nats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sensitivity:
    """KL(original ‖ compressed) of each option alone.

    Attributes:
        nats: ``[decision][option]``, nats per example; 0 for the first option.
        examples: number of inputs that it was measured on.
    """

    nats: Sequence[Sequence[float]]
    examples: int
