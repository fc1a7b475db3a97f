"""Options of a method, and what a network answers and is trained on, looked at before anything is made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from szilard.errors import SzilardError
from szilard.likelihood import Likelihood

_LOOKED, _SELDOM = 16, 64  # a GPU is waited for to look at targets in the first steps, then every so often


def options(
    n_data: int,
    temperature: float,
    lr: float,
    lr_log_std: float,
    warmup: float,
    total_steps: int | None,
) -> None:
    """Options that all methods have.

    Raises:
        SzilardError: the first that is out of its range.
    """
    if n_data < 1:
        raise SzilardError(f"n_data is the number of training examples and must be at least 1, not {n_data}")
    if not temperature >= 0:
        raise SzilardError(f"temperature must be zero or positive, not {temperature:g}")
    if not lr > 0:
        raise SzilardError(f"lr must be positive, not {lr:g}")
    if not lr_log_std >= 0:
        raise SzilardError(f"lr_log_std must be zero or positive, not {lr_log_std:g}")
    if not 0 <= warmup <= 1:
        raise SzilardError(f"warmup is a fraction of all steps and must lie in [0, 1], not {warmup:g}")
    if total_steps is not None and total_steps < 1:
        raise SzilardError(f"total_steps must be at least 1, not {total_steps}")


def run(forward: Callable[[nn.Module, Any], Any], network: nn.Module, x: Any) -> Tensor:
    """The one tensor that a network answers in training.

    Raises:
        SzilardError: something else, BatchNorm on a single example, or float16 without autocast.
    """
    try:
        output = one_tensor(forward(network, x))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise SzilardError(
            "BatchNorm cannot train on a batch of one example; give batches of two or more (batch_size), or put the "
            "last example into the batch before"
        ) from error
    if output.dtype is torch.float16 and not torch.is_autocast_enabled(output.device.type):
        raise SzilardError(
            "the network computes in float16, in which Adam's epsilon of 1e-8 and small gradients are zero; train "
            "it in float32 (network.float()) under torch.autocast, or in bfloat16"
        )
    return output


def one_tensor(output: Any) -> Tensor:
    """What the network answers, if it is a tensor."""
    if isinstance(output, Tensor):
        return output
    raise SzilardError(
        f"the network answers with {type(output).__name__}; wrap it so that it answers with one tensor"
    )


def targets(likelihood: Likelihood, output: Tensor, y: Any, step: int) -> None:
    """Refuse targets that do not go with an output; on a GPU their values only in some steps.

    Raises:
        SzilardError: see :meth:`szilard.likelihood.Likelihood.check`.
    """
    if not isinstance(y, Tensor):
        raise SzilardError(f"targets are {type(y).__name__}; a loss needs one tensor")
    if output.is_cpu or step < _LOOKED or step % _SELDOM == 0:
        likelihood.check(output, y)
    else:
        likelihood.check_shape(output, y)
