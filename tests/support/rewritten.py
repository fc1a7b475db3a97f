"""Whether a pass has changed a network."""

from __future__ import annotations

import torch

from szilard.compression import CanonicalBatchNorm, Draft, Setting
from szilard.networks import copied


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def changed(network, after, x):
    """The largest change of an output, relative to the largest output."""
    with torch.no_grad():
        wanted = network(x)
        return float((after(x) - wanted).abs().max() / wanted.abs().max())


def folded(network, inputs):
    draft = Draft(copied(network))
    CanonicalBatchNorm()(draft, Setting(1e-6, inputs, network))
    return draft
