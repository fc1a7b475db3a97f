"""Running statistics that belong to the network that answers, not to the noisy one that was trained."""

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

    Each batch counts by its number of examples, and one of a single example goes together with the one before it.
    If anything fails, the statistics are as they were. It is part of training: no other thread may ask the network
    meanwhile.

    Args:
        network: any module; its statistics are changed.
        batches: pairs ``(x, y)``; y is not used, unless x is not a tensor: then it tells the number of examples.
        how: mode in which the network runs meanwhile, see :func:`szilard.bayes.mode`.
    Returns:
        the number of BatchNorm layers (0: nothing was run).

    Raises:
        SzilardError: no batches, a single example, or statistics that are not finite.
    """
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    if not norms:
        return 0
    momenta = [norm.momentum for norm in norms]
    before = [_statistics(norm) for norm in norms]
    done = False
    try:
        with evaluating(network), mode(network, how):  # dropout and the like stay off
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
            ):  # a layer that the network has not called keeps its own
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
                "BatchNorm has no variance of a batch with a single example; give batches of two or more"
            ) from error
    if not seen:
        raise SzilardError(
            "there are no batches to take BatchNorm statistics from; give the training batches anew, because an "
            "iterator is empty after one pass"
        )
    for norm in norms:
        if not all(bool(torch.isfinite(value).all()) for value in _statistics(norm).values()):
            raise SzilardError(
                "the BatchNorm statistics of the finished network are NaN or infinite; check the inputs, and whether "
                "training has diverged"
            )


def _joined(batches: Iterable[tuple[Any, Tensor]]) -> Iterator[tuple[Any, int]]:
    """Inputs and their number, where one example alone goes together with the batch before it."""
    held: Any = None
    for batch in batches:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise SzilardError(
                f"a batch is {type(batch).__name__} and no pair (x, y); give the training batches, with targets"
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
