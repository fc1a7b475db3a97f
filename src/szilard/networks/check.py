"""Checks that a network fits a data set."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from szilard.errors import SzilardError
from szilard.likelihood.targets import DataTargets
from szilard.networks.evaluating import evaluating
from szilard.networks.finite import advice


class _Split(Protocol):
    @property
    def x(self) -> Tensor: ...
    @property
    def y(self) -> Tensor: ...


class _DataSet(Protocol):
    """The part of :class:`szilard.data.DataSet` that is used here; ``data`` is not imported, see ``docs/design.md``."""

    @property
    def name(self) -> str: ...
    @property
    def target_type(self) -> DataTargets: ...
    @property
    def train(self) -> _Split: ...
    @property
    def input_shape(self) -> tuple[int, ...]: ...
    @property
    def n_outputs(self) -> int: ...


def check_fits(network: nn.Module, dataset: _DataSet, *, own: nn.Module | None = None) -> None:
    """Run three training examples through the network, in eval mode, and check its output.

    The output must be ``[B, n_classes]`` for classification (``[B, n_classes, H, W]`` with labels ``[N, H, W]``),
    ``[B, k]`` for k labels, ``[B, k]`` or ``[B, 2 k]`` (means, logs of the noises' standard deviations) for regression
    of k targets, finite, and of a floating type. The training modes of the modules are restored.

    Args:
        network: the network to train.
        dataset: with a training split.
        own: the user's network inside this one, whose tensor names the message uses; None: this one.

    Raises:
        SzilardError: the output is not of this form, or the network cannot take the inputs.
    """
    x = dataset.train.x[:3]
    parameter = next(network.parameters(), None)
    if parameter is None:
        raise SzilardError("the network has no parameters; there is nothing to train")
    try:
        with torch.no_grad(), evaluating(network):
            output = network(x.to(parameter.device))
    except SzilardError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SzilardError(
            f"the network cannot take inputs of {dataset.name}, {list(dataset.input_shape)} each: {reason}"
            + _hint(dataset.input_shape)
        ) from error
    if not isinstance(output, Tensor):
        raise SzilardError(f"the network returns {type(output).__name__}; it must return one tensor")
    count = len(x)
    positions = tuple(dataset.train.y.shape[1:])
    fitting, wanted = dataset.target_type.output_shapes(count, dataset.n_outputs, positions)
    if tuple(output.shape) not in fitting:
        raise SzilardError(
            f"the network returns {list(output.shape)} for {count} inputs of {dataset.name}; "
            f"{dataset.target_type.name} needs {wanted}"
        )
    if not output.is_floating_point():
        raise SzilardError(f"the network returns {output.dtype}; it must return a floating type")
    if not torch.isfinite(output).all():
        raise SzilardError(
            f"the network returns NaN or infinite values for {dataset.name}; "
            + advice(own or network, "check that the inputs are in the units that it takes, and its weights")
        )


def _hint(shape: tuple[int, ...]) -> str:
    """How a network for sequences takes arrays with three axes, which are read as images of one channel."""
    if len(shape) != 3 or shape[0] != 1:
        return ""
    return (
        f"; arrays [N, {shape[1]}, {shape[2]}] are images of one channel: let a network for sequences begin with "
        "nn.Flatten(1, 2)"
    )
