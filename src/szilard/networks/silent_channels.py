"""Which inputs and outputs of layers are useless if some channels of BatchNorms are always zero.

Whether an input is zero must not depend on the values of today's weights, which training goes on to change. So every
number that can change (inputs, parameters, statistics) is NaN while the network runs, and the silent channels are zero:
what is still zero at a layer's input is zero for all values. Any function between layers is followed in this way
(activations, pooling, flattening, shortcuts, padding), without rules for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from szilard.networks.evaluating import evaluating
from szilard.networks.norm import NormReLU

#: Runs the network once; its argument changes each tensor of the input.
Run = Callable[[Callable[[Tensor], Tensor]], Any]


@dataclass(frozen=True)
class Useless:
    """Inputs and outputs of one layer that can be removed.

    Attributes:
        inputs: bool ``[features]`` or ``[channels]``, always zero; None if the network does not call the layer.
        outputs: bool ``[features]`` or ``[channels]``, read by silent channels alone; None if that is not known.
    """

    inputs: Tensor | None
    outputs: Tensor | None


@torch.no_grad()
def useless(
    network: nn.Module, run: Run, layers: Sequence[nn.Module], silent: Mapping[nn.Module, Tensor]
) -> list[Useless]:
    """Inputs and outputs of linear layers and convolutions without any effect.

    Args:
        network: in any mode; it runs in eval mode a few times. Afterwards its tensors have the values from before.
        run: calls the network on a batch.
        layers: whose first argument is ``[..., features]`` if their weight is a matrix, else ``[B, channels, ...]``.
        silent: bool ``[channels]`` for BatchNorms: the channels whose slope and shift are zero.
    """
    with evaluating(network), ExitStack() as stack:
        for norm, channels in silent.items():
            handle = norm.register_forward_hook(_silencer(channels), with_kwargs=True)
            stack.callback(handle.remove)
        dead = _dead_inputs(network, run, layers)
        alone = _before_norms(run, layers, silent)
        if not _unread(run, alone, silent):  # the outputs of some layer are also read elsewhere
            alone = {layer: norm for layer, norm in alone.items() if _unread(run, {layer: norm}, silent)}
    return [Useless(dead.get(layer), silent[alone[layer]] if layer in alone else None) for layer in layers]


def _silencer(channels: Tensor) -> Callable[..., Tensor]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
        output = output.clone()
        zero: Tensor | float = 0.0
        if isinstance(module, NormReLU):
            shortcut = kwargs.get("shortcut", args[1] if len(args) > 1 else None)
            zero = 0.0 if shortcut is None else F.relu(shortcut[:, channels])
        output[:, channels] = zero
        return output

    return hook


def _dead_inputs(network: nn.Module, run: Run, layers: Sequence[nn.Module]) -> dict[nn.Module, Tensor]:
    found: dict[nn.Module, Tensor] = {}

    def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
        zero = args[0] == 0
        place = zero.dim() - 1 if _is_matrix(module) else 1
        now = zero.movedim(place, 0).flatten(1).all(1)
        found[module] = found[module] & now if module in found else now

    handles = [layer.register_forward_pre_hook(hook) for layer in layers]
    try:
        with _all_nan(network):
            run(lambda x: torch.full_like(x, torch.nan) if x.is_floating_point() else x)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _before_norms(
    run: Run, layers: Sequence[nn.Module], silent: Mapping[nn.Module, Tensor]
) -> dict[nn.Module, nn.Module]:
    """The BatchNorm that takes the very tensor that a layer returns, for layers before one."""
    made: list[tuple[nn.Module, Tensor]] = []
    found: dict[nn.Module, nn.Module] = {}

    def after(layer: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        made.append((layer, output))

    def before(norm: nn.Module, args: tuple[Any, ...]) -> None:
        found.update((layer, norm) for layer, output in made if output is args[0])

    handles = [layer.register_forward_hook(after) for layer in layers]
    handles += [norm.register_forward_pre_hook(before) for norm in silent]
    try:
        run(lambda x: x)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _unread(run: Run, pairs: Mapping[nn.Module, nn.Module], silent: Mapping[nn.Module, Tensor]) -> bool:
    """Whether the network's output stays finite if the outputs before silent channels are NaN."""
    handles = []
    for layer, norm in pairs.items():

        def spoil(
            _: nn.Module, args: tuple[Any, ...], output: Tensor, channels: Tensor = silent[norm]
        ) -> Tensor:
            output = output.clone()
            output[:, channels] = torch.nan
            return output

        handles.append(layer.register_forward_hook(spoil))
    try:
        answer = run(lambda x: x)
    finally:
        for handle in handles:
            handle.remove()
    return isinstance(answer, Tensor) and not bool(torch.isnan(answer).any())


@contextmanager
def _all_nan(network: nn.Module) -> Iterator[None]:
    """All parameters and buffers of a floating type are NaN inside the block."""
    tensors = [t for t in (*network.parameters(), *network.buffers()) if t.is_floating_point()]
    kept = [tensor.clone() for tensor in tensors]
    try:
        for tensor in tensors:
            tensor.fill_(torch.nan)
        yield
    finally:
        for tensor, values in zip(tensors, kept, strict=True):
            tensor.copy_(values)


def affine_norms(network: nn.Module) -> dict[str, _BatchNorm]:
    """The BatchNorms of a network with slopes and shifts that are trained, by name, each once."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, _BatchNorm) and module.affine and module.weight.requires_grad
    }


def _is_matrix(layer: Any) -> bool:
    return len(getattr(layer.weight, "support", layer.weight).shape) == 2
