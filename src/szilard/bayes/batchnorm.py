"""Running statistics of the network that predicts, not of the noisy one that was trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from szilard.bayes.modes import evaluating, mode
from szilard.errors import SzilardError
from szilard.networks.takes import call

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@torch.no_grad()
def reestimate_batchnorm(network: nn.Module, batches: Iterable[tuple[Any, Tensor]], how: str = "mean") -> int:
    """Recompute the running mean and variance of every BatchNorm as the average over the examples of ``batches``.

    Each batch is weighted by its number of examples; a single example joins the batch before it. If anything fails, the
    statistics stay as they were. No other thread must use the network meanwhile.

    Args:
        network: any module; its statistics are changed.
        batches: pairs ``(x, y)``; y is used only if x is not a tensor, for the number of examples.
        how: mode in which the network runs, see :func:`szilard.bayes.mode`.
    Returns:
        the number of BatchNorm layers (0: the network was not run).

    Raises:
        SzilardError: no batches, a single example, or NaN or infinite statistics.
    """
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    if not norms:
        return 0
    momenta = [norm.momentum for norm in norms]
    before = [_statistics(norm) for norm in norms]
    done = False
    try:
        with evaluating(network), mode(network, how):  # dropout etc. stay off
            for norm in norms:
                norm.reset_running_stats()
                norm.train()
            _average(network, norms, batches)
        done = True
    finally:
        for norm, momentum, statistics in zip(norms, momenta, before, strict=True):
            norm.momentum = momentum
            if (
                not done or not norm.num_batches_tracked
            ):  # a layer that the network has not called keeps its statistics
                for name, value in statistics.items():
                    getattr(norm, name).copy_(value)
    return len(norms)


def _average(network: nn.Module, norms: list[_BatchNorm], batches: Iterable[tuple[Any, Tensor]]) -> None:
    seen = 0
    for x, count in _joined(batches):
        if not count:
            continue
        seen += count
        for norm in norms:
            norm.momentum = count / seen  # (1 - m) · average so far + m · this batch
        try:
            call(network, x)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise SzilardError(
                "BatchNorm has no variance for a batch with a single example; pass batches of two or more"
            ) from error
    if not seen:
        raise SzilardError(
            "there are no batches to compute BatchNorm statistics from; pass the training batches again, because an "
            "iterator is empty after one pass"
        )
    for norm in norms:
        if not all(bool(torch.isfinite(value).all()) for value in _statistics(norm).values()):
            raise SzilardError(
                "the BatchNorm statistics of the trained network are NaN or infinite; check the inputs, and whether "
                "training has diverged"
            )


def _joined(batches: Iterable[tuple[Any, Tensor]]) -> Iterator[tuple[Any, int]]:
    """Inputs and their number; a single example joins the batch before it."""
    held: Any = None
    for batch in batches:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise SzilardError(
                f"a batch must be a pair (x, y), not {type(batch).__name__}; pass the training batches, with targets"
            )
        x, y = batch
        if held is not None and isinstance(x, Tensor) and len(x) == 1 and isinstance(held[0], Tensor):
            held = (torch.cat((held[0], x)), held[1] + 1)
            continue
        if held is not None:
            yield held
        held = (x, len(x) if isinstance(x, Tensor) else len(y))
    if held is not None:
        yield held


def _statistics(norm: _BatchNorm) -> dict[str, Tensor]:
    return {name: getattr(norm, name).clone() for name in _STATISTICS if getattr(norm, name) is not None}
