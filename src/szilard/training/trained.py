"""The result of training one network."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from szilard.cost import Cost
from szilard.methods import Method


@dataclass(frozen=True, eq=False)
class Run:
    """The result of training one network.

    Attributes:
        method: name; ``label`` is the name to show.
        network: trained, in eval mode; ``trainer`` is the method object, which predicts with it.
        test, valid: metrics on the test and validation set, named as by :func:`szilard.metrics.evaluate`.
        cost: of one inference, and of the training.
        history: one dict for each epoch, as in ``metrics.jsonl``.
        folder: folder of the files, or None.
    """

    method: str
    label: str
    network: nn.Module
    trainer: Method
    test: dict[str, float]
    valid: dict[str, float]
    cost: Cost
    history: list[dict[str, Any]] = field(repr=False)
    folder: Path | None = None
