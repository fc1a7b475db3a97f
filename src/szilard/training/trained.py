"""The result of training one network."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from szilard.cost import Cost
from szilard.methods import Method
from szilard.methods.chain_figures import ChainFigures
from szilard.training.prior_folds import Choice


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
        choice: with a prior from a run, what the folds chose.
        controls: with a prior from a run, "fan-in" (the same method without it) and "fine-tuning" (maximum likelihood
            from the source's weights).
        chains: of a method that keeps draws of chains: R̂ and effective draws, by which to trust the posterior.
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
    choice: Choice | None = None
    controls: dict[str, Run] = field(default_factory=dict, repr=False)
    chains: ChainFigures | None = None
