"""The negative log likelihood of each example, for comparisons in pairs."""

from __future__ import annotations

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.metrics.predictive import Predictive, flat
from szilard.metrics.quantities import mixture_nll


def nll_of_each(
    predictive: Predictive,
    y: Tensor,
    *,
    target_scale: float | Tensor = 1.0,
    ignore_index: int | None = None,
) -> Tensor:
    """Negative log likelihood of each example, nats: the mean over its targets (pixels, labels, quantities).

    Without ignored labels its mean is the ``nll`` of :func:`szilard.metrics.evaluate`.

    Args:
        predictive, y, target_scale, ignore_index: as for :func:`szilard.metrics.evaluate`.

    Returns:
        float64 ``[M]``; examples whose labels are all ignored are left out.

    Raises:
        SzilardError: every label is ignored, or targets do not fit the predictions.
    """
    p, targets = flat(predictive, y, ignore_index)
    if predictive.target_type.in_units:
        scales = torch.as_tensor(target_scale, dtype=torch.float64).cpu()
        nll = mixture_nll(p, targets).reshape(len(y), -1) + scales.log()
        return nll.mean(1)
    chosen = p.mean.double()[torch.arange(len(targets)), targets]
    nll = -chosen.clamp_min(torch.finfo(torch.float32).tiny).log()
    counted = torch.ones(y.shape, dtype=torch.bool) if ignore_index is None else y.cpu() != ignore_index
    example = torch.arange(len(y)).repeat_interleave(
        counted.flatten(1).sum(1) if y.dim() > 1 else counted.long()
    )
    sums = torch.zeros(len(y), dtype=torch.float64).index_add_(0, example, nll)
    counts = torch.bincount(example, minlength=len(y))
    if not len(nll):
        raise SzilardError("there is nothing to evaluate: the split is empty or all its labels are ignored")
    return (sums / counts)[counts > 0]
