"""Several networks as one ensemble, for ``szilard deploy``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from szilard.cli.deployed_source import Source
from szilard.deploy import Units
from szilard.errors import SzilardError


class Calibrated(nn.Module):
    """A network with its own calibration, which divides its logits: members of an ensemble can have different ones."""

    divisor: Tensor

    def __init__(self, network: nn.Module, divisor: float) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("divisor", torch.tensor(divisor))

    def forward(self, x: Tensor) -> Tensor:
        divided: Tensor = self.network(x) / self.divisor
        return divided


def together(sources: Sequence[Source], files: Sequence[Path]) -> Source:
    """One source of all networks.

    Raises:
        SzilardError: they do not have the same inputs and outputs.
    """
    first, *others = sources
    for file, other in zip(files[1:], others, strict=True):
        for name, mine, theirs in (
            ("task", first.name, other.name),
            ("classes or targets", first.labels, other.labels),
            ("shape of inputs", first.examples.shape[1:], other.examples.shape[1:]),
            ("features", first.features, other.features),
            ("units of inputs", _numbers(first.inputs), _numbers(other.inputs)),
            ("range of images", first.range_of_inputs, other.range_of_inputs),
            ("units of targets", _numbers(first.targets), _numbers(other.targets)),
        ):
            if mine != theirs:
                raise SzilardError(
                    f"{files[0]} and {file} differ in their {name}; an ensemble needs the same"
                )
    networks = tuple(network for source in sources for network in source.networks)
    divisors = [source.calibration for source in sources for _ in source.networks]
    if len(set(divisors)) == 1:
        return replace(first, networks=networks)
    members = tuple(Calibrated(*pair).eval() for pair in zip(networks, divisors, strict=True))
    return replace(first, networks=members, calibration=1.0)


def _numbers(units: Units | None) -> list[Any] | None:
    return None if units is None else [part.tolist() for part in units.tensors()]
