"""Undoes changes of class that a conversion made, for runtimes that know the original classes only."""

from __future__ import annotations

from torch import nn

from szilard.bayes.batch_innermost import release_innermost
from szilard.bayes.fuse import separate_rectifiers


def restore_classes(network: nn.Module) -> None:
    """Give sequences, normalisation and pooling the classes that the network was built with, in place."""
    release_innermost(network)
    separate_rectifiers(network)
