"""Give back to biases what rounding took from the means of a layer's outputs.

Rounding moves the mean of output r by (ŵ_r - w_r) E[x], and every layer after it computes with that. Layer by layer, in
the order in which the network calls them, the bias takes the difference to the original network's mean (Nagel et al.
2019, with the mean measured).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from szilard.compress.curvature import Layer
from szilard.compress.draft import Draft, Setting

MOST = 512  # inputs
MOST_VALUES = 1 << 23  # of them together: activations of a whole network are in memory at once


class Correct:
    """Biases so that the mean of each output of each layer is the original's. Needs calibration inputs."""

    @torch.no_grad()
    def __call__(self, draft: Draft, setting: Setting) -> None:
        if not setting.inputs:
            return
        inputs = torch.cat(list(setting.inputs))
        inputs = inputs[: max(1, min(MOST, MOST_VALUES // max(1, inputs[0].numel())))]
        places = _places(draft)
        wanted: dict[str, Tensor] = {}

        def note(name: str, mean: Tensor) -> Tensor:
            wanted[name] = mean
            return torch.zeros_like(mean)

        _run(setting.original, places, inputs, setting, note)

        def lift(name: str, mean: Tensor) -> Tensor:
            difference = (wanted.pop(name) if name in wanted else mean) - mean
            places[name].add_(difference.to(places[name]))
            return difference

        _run(draft.network, places, inputs, setting, lift)


def _places(draft: Draft) -> dict[str, Tensor]:
    """Module whose output counts, and the bias that moves it: a BatchNorm for the layer that it follows."""
    modules = dict(draft.network.named_modules())
    followed = set(draft.norms.values())
    found: dict[str, Tensor] = {}
    for name, module in modules.items():
        if isinstance(module, Layer) and name not in followed and module.bias is not None:
            found[name] = module.bias
    for norm in draft.norms:
        bias = modules[norm].bias
        assert isinstance(bias, Tensor)
        found[norm] = bias
    return found


See = Callable[[str, Tensor], Tensor]


def _run(network: nn.Module, places: dict[str, Tensor], inputs: Tensor, setting: Setting, see: See) -> None:
    """One forward pass; ``see`` is told the mean of each output and answers what is to be added to it."""

    def hook(name: str, conv: bool) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def after(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
            axis = 1 if conv else output.dim() - 1
            mean = output.double().mean([d for d in range(output.dim()) if d != axis])
            shape = [-1 if d == axis else 1 for d in range(output.dim())]
            return output + see(name, mean).to(output).reshape(shape)

        return after

    modules = dict(network.named_modules())
    handles = [
        modules[n].register_forward_hook(hook(n, not isinstance(modules[n], nn.Linear))) for n in places
    ]
    try:
        setting.forward(network, inputs)
    finally:
        for handle in handles:
            handle.remove()
