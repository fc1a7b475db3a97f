"""Removes channels from one module, or sets them to zero: the only code that knows how modules store channels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from szilard.networks.resnet import PaddedShortcut


@torch.no_grad()
def cut(module: nn.Module, inputs: Tensor | None = None, outputs: Tensor | None = None) -> None:
    """Remove inputs and outputs of a module in place. Its tensors are replaced, not written into.

    Args:
        module: a convolution, a linear layer, a BatchNorm, a PReLU with a slope for each channel, or a padded shortcut.
        inputs: bool ``[inputs]``, which stay; None: all. Groups of a convolution with several channels each have to
            keep the same ones.
        outputs: bool ``[outputs]``, which stay; None: all.
    """
    if isinstance(module, nn.Linear | _ConvNd):
        weight = module.weight
        columns = None if inputs is None else _columns(module, inputs)
        if isinstance(module, _ConvNd) and inputs is not None:
            module.groups = int(inputs.sum()) if by_channel(module) else module.groups
        if inputs is not None:
            setattr(module, _SIZES[isinstance(module, nn.Linear)][0], int(inputs.sum()))
        if outputs is not None:
            setattr(module, _SIZES[isinstance(module, nn.Linear)][1], int(outputs.sum()))
        weight = weight if columns is None else weight[:, columns]
        weight = weight if outputs is None else weight[outputs]
        module.weight = _parameter(weight, module.weight)
        if module.bias is not None and outputs is not None:
            module.bias = _parameter(module.bias[outputs], module.bias)
    elif isinstance(module, PaddedShortcut):
        if outputs is not None:
            before, behind = outputs[: module.before], outputs[len(outputs) - module.behind :]
            module.before, module.behind = int(before.sum()), int(behind.sum())
    elif outputs is not None:
        _cut_vectors(module, outputs)


@torch.no_grad()
def silence(module: nn.Module, inputs: Tensor | None = None, outputs: Tensor | None = None) -> None:
    """Set inputs and outputs of a module to zero in place; sizes stay.

    Args:
        module: as in :func:`cut`.
        inputs: bool ``[inputs]``, which stay: the weights of the others become zero; None: all.
        outputs: bool ``[outputs]``, which stay: the others become zero for all inputs; None: all.
    """
    if isinstance(module, nn.Linear | _ConvNd):
        if inputs is not None and not by_channel(module):
            module.weight[:, ~_columns(module, inputs)] = 0
        if outputs is not None:
            module.weight[~outputs] = 0
            if module.bias is not None:
                module.bias[~outputs] = 0
    elif isinstance(module, _BatchNorm) and outputs is not None:
        for tensor in (module.weight, module.bias, module.running_mean):
            if tensor is not None:
                tensor[~outputs] = 0


_SIZES = {True: ("in_features", "out_features"), False: ("in_channels", "out_channels")}


def by_channel(module: nn.Module) -> bool:
    """Whether a layer is a depthwise convolution, which reads every channel by itself."""
    return isinstance(module, _ConvNd) and module.groups == module.in_channels > 1


def _columns(module: nn.Linear | _ConvNd, inputs: Tensor) -> Tensor:
    """Which columns of the weight read inputs that stay."""
    if not isinstance(module, _ConvNd) or module.groups == 1:
        return inputs
    if by_channel(module):
        return inputs.new_ones(1)
    each = inputs.reshape(module.groups, -1)
    assert bool((each == each[0]).all())
    return each[0]


def _cut_vectors(module: Any, outputs: Tensor) -> None:
    """Keep some entries of a BatchNorm's or a PReLU's vectors."""
    if isinstance(module, _BatchNorm):
        module.num_features = int(outputs.sum())
        for name in ("running_mean", "running_var"):
            if (buffer := getattr(module, name)) is not None:
                setattr(module, name, buffer[outputs].clone())
        names = [name for name in ("weight", "bias") if getattr(module, name) is not None]
    else:
        assert isinstance(module, nn.PReLU)
        module.num_parameters, names = int(outputs.sum()), ["weight"]
    for name in names:
        setattr(module, name, _parameter(getattr(module, name)[outputs], getattr(module, name)))


def _parameter(values: Tensor, old: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().clone(), old.requires_grad)
