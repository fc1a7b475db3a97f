"""Removes dead units from a network before it is compiled for a runtime that stores weights densely."""

from __future__ import annotations

import dataclasses
import warnings

from torch import nn

from szilard import bayes
from szilard.cli.deployed_source import Source
from szilard.cli.deployment import Options, Tell
from szilard.compression import shrink
from szilard.deploy.arguments import mode_for
from szilard.deploy.units import Standardise
from szilard.errors import SzilardError, SzilardWarning

_COMPARED = 16  # inputs for which outputs are compared


def without_dead_units(source: Source, options: Options, tell: Tell) -> Source:
    """The source with a smaller network, if units are dead and the mode is the mean network.

    A unit is dead if all its mean weights are zero or do not exist. Its variance would be lost, so that the other modes
    keep the network whole; the native backend skips missing weights anyway.

    Args:
        source: networks and examples.
        options: as typed.
        tell: prints a sentence.
    """
    if (
        options.backend == "native"
        or len(source.networks) != 1
        or mode_for(source.networks, options.chosen_mode) != "point"
    ):
        return source
    network, x = source.networks[0], source.examples[:_COMPARED]
    x = x if source.inputs is None else Standardise(source.inputs)(x)
    try:
        plain = bayes.point_network(network).eval()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SzilardWarning)  # that no unit is dead is no news here
            smaller = shrink(plain, x).eval()
    except SzilardError:
        return source  # stochastic attention, or a network that cannot be traced, stays whole
    before, after = _size(plain), _size(smaller)
    if after >= before:
        return source
    tell(f"dead units were removed: the dense network has {after:,} parameters instead of {before:,}")
    return dataclasses.replace(source, networks=(smaller,))


def _size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
