"""What a network answers and what it is trained on, looked at before a loss is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from szilard import bayes
from szilard.errors import SzilardError
from szilard.likelihood import Likelihood

_LOOKED, _SELDOM = 16, 64  # a GPU is waited for to look at targets in the first steps, then every so often


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


def prepared(network: nn.Module, label: str) -> None:
    """Refuse a network without Gaussian or sparse weights, which trains as if there were no method.

    Raises:
        SzilardError: there is none of them.
    """
    if not bayes.weights(network):
        raise SzilardError(
            f"{label} trains Gaussian or sparse weights, and this network has none; train the network that "
            "method.prepare(network) answers, or one of szilard.bayesianize: they leave the original as it is"
        )


def state(found: Mapping[str, Any], wanted: Mapping[str, Any], label: str) -> None:
    """Refuse a saved state that lacks something.

    Raises:
        SzilardError: a key of ``wanted`` is not in it.
    """
    missing = [key for key in wanted if key not in found]
    if missing:
        raise SzilardError(
            f"this is no state of {label}: it has no {' and no '.join(missing)}; load what the state_dict() of "
            "the same method gave"
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
