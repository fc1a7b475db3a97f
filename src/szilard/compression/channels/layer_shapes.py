"""Sizes of the layers of a network, as a run of it shows them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from szilard.errors import SzilardError, printable
from szilard.networks import is_itself

KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class LayerShape:
    """Sizes of a convolution or a linear layer.

    Attributes:
        kind: of layer.
        inputs: channels, or features of a linear layer.
        outputs: channels, or features of a linear layer.
        kernel: sizes of a convolution's kernel; empty for a linear layer, as the next three.
        stride: of a convolution.
        padding: of a convolution, on each side; that before the input if the sides differ.
        dilation: of a convolution.
        groups: of a convolution; 1 for a linear layer.
        positions_in: (H, W) of the input of a convolution in two dimensions, (T,) of ``[B, T, F]``, () of ``[B, F]``.
        positions_out: of the output.
        macs: multiply-adds for one input of the network.
        parameters: of weight and bias.
    """

    kind: Literal["conv", "linear"]
    inputs: int
    outputs: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    positions_in: tuple[int, ...]
    positions_out: tuple[int, ...]
    macs: int
    parameters: int


def layer_shapes(network: nn.Module, inputs: Tensor) -> tuple[dict[str, LayerShape], dict[str, str]]:
    """Convolutions and linear layers that are called once, in order of call, and why the others are none of these.

    Args:
        network: in eval mode.
        inputs: ``[B, ...]``.

    Returns:
        shapes by name, and for the other layers half a sentence each.
    """
    seen: list[tuple[nn.Module, tuple[int, ...], tuple[int, ...]]] = []

    def see(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        x = given[0] if given else None
        shape = tuple(x.shape) if isinstance(x, Tensor) else ()
        seen.append((module, shape, tuple(output.shape) if isinstance(output, Tensor) else ()))

    names: dict[nn.Module, str] = {}
    for name, module in network.named_modules():
        if isinstance(module, (nn.Linear, _ConvNd)):
            names[module] = name
    odd = {module for module in names if not is_itself(module, KINDS)}
    handles = [module.register_forward_hook(see) for module in names]
    try:
        with torch.no_grad():
            network(inputs)
    finally:
        for handle in handles:
            handle.remove()
    called = [module for module, _, _ in seen]
    why: dict[str, str] = {}
    for module, name in names.items():
        if called.count(module) != 1:
            why[name] = "it is not called" if module not in called else "it is called more than once"
        elif module in odd:
            why[name] = (
                "transposed convolutions are not understood"
                if getattr(module, "transposed", False)
                else "it has hooks, computed weights or a forward of its own"
            )
    found = {
        names[module]: _shape(module, given, output)
        for module, given, output in seen
        if names[module] not in why and given and output
    }
    return found, why


def check_layers(network: nn.Module, layers: Mapping[str, LayerShape]) -> None:
    """Check that a network has layers of these names and outputs.

    Raises:
        SzilardError: a layer is missing or has another size; the message names the first one.
    """
    for name, shape in layers.items():
        try:
            weight = network.get_submodule(name).weight
        except AttributeError:
            weight = None
        if not isinstance(weight, Tensor) or len(weight) != shape.outputs:
            raise SzilardError(
                f"the network has no layer {printable(name)} with {shape.outputs} channels; give the network whose "
                "units these are"
            )


def _shape(module: Any, given: tuple[int, ...], output: tuple[int, ...]) -> LayerShape:
    weight = module.weight
    parameters = weight.numel() + (0 if module.bias is None else module.bias.numel())
    if isinstance(module, nn.Linear):
        before, behind = given[1:-1], output[1:-1]
        macs = math.prod(behind) * weight.numel()
        sizes = module.in_features, module.out_features
        return LayerShape("linear", *sizes, (), (), (), (), 1, before, behind, macs, parameters)
    before, behind = given[2:], output[2:]
    padding = module.padding
    if isinstance(padding, str):
        full = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        padding = tuple(one // 2 if padding == "same" else 0 for one in full)
    return LayerShape(
        "conv", module.in_channels, module.out_channels, module.kernel_size, module.stride, padding,
        module.dilation, module.groups, before, behind, math.prod(behind) * weight.numel(), parameters,
    )  # fmt: skip
