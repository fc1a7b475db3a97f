"""The weight that a layer starts with: its support, its means and its σ."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from szilard.bayes import embedding, kinds, recurrent, transposed
from szilard.bayes.find_weights import Found
from szilard.bayes.priors import Prior
from szilard.bayes.weight import Weight
from szilard.sparse import Pattern, Support
from szilard.sparse.pattern import UNSTRUCTURED


@dataclass(frozen=True)
class Start:
    """Options of initialisation, as in :func:`szilard.bayesianize`."""

    fresh: bool
    prior: Prior
    initial_std: float
    point: bool


@torch.no_grad()
def make_weight(
    one: Found, part: int, nnz: int, pattern: Pattern, start: Start, generator: torch.Generator
) -> Weight:
    """Weight number ``part`` of a module, with ``nnz`` entries to the nearest unit of ``pattern``."""
    dense = one.tensors[part].detach()
    share = transposed.fan_in_share(one.module) if transposed.is_transposed(one.module) else 1.0
    if dense.is_meta:  # only shapes
        placed = UNSTRUCTURED if nnz == dense.numel() else pattern
        support, mean = Support.outline(dense.shape, nnz, placed), dense.new_empty(nnz)
        weight = Weight(support, mean, None if start.point else dense.new_empty(nnz), start.prior)
        weight.fan_in_share = share
        return weight
    if nnz == dense.numel():
        support = Support.full(dense.shape)
    elif start.fresh:
        support = Support.from_flat(dense.shape, pattern.fresh(dense.shape, nnz, generator), pattern)
    else:
        support = Support.largest(dense, nnz, pattern)
    support = support.to(dense.device)
    mean = support.gather(dense).clone()
    if start.fresh:
        drawn = torch.randn(support.nnz, generator=generator, dtype=torch.float32)
        mean = (drawn * _fresh_std(one, part, dense, support, share)).to(dense)
    scale = mean.square().mean().sqrt().clamp(min=1e-6) * start.initial_std
    log_std = None if start.point else scale.log().expand(support.nnz).clone()
    weight = Weight(support, mean, log_std, start.prior)
    weight.fan_in_share = share
    return weight


def _fresh_std(one: Found, part: int, dense: Tensor, support: Support, share: float) -> float:
    """Standard deviation of fresh means, so that signals keep their size with the existing entries (He et al. 2015)."""
    module = one.module
    if one.how == "drawn" and one.leaves[part] not in kinds.matrices(module):
        return float(dense.square().mean().sqrt()) / math.sqrt(support.density)  # its role is not known
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        return recurrent.fresh_std(module, support.density)
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return embedding.FRESH_STD
    return math.sqrt(2 / (support.fan_in * share))
