"""How much the loss rises when a weight is moved: the Gauss-Newton matrix, the precision of a Laplace posterior.

For the output y = W x of a layer, at every position and for every example,

    ΔL ≈ ½ Σ_r G_r (w_r - ŵ_r) A (w_r - ŵ_r)ᵀ,    A = E[x xᵀ],    G_r = E[(∂L/∂y_r)²]

with x a patch where the layer is a convolution, A its mean over patches and G its sum over positions (Martens and
Grosse 2015; Grosse and Martens 2016, with the diagonal of the second factor). That takes the gradients at different
positions for independent. Where they agree, as before global pooling, errors add up over the positions P instead. With
ρ = (E[(Σ ∂L/∂y)²] / G - 1) / (P - 1), which is 0 in the one case and 1 in the other, and x̄ an example's mean patch,

    A = (1 - ρ) E[x xᵀ] + ρ P E[x̄ x̄ᵀ].

The expectation over labels is the network's own, not the data's: no labels are needed, and a network that fits its data
perfectly still has a curvature.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from szilard.compress.precise import COARSE
from szilard.compress.shelf import Part, Shelf, Total
from szilard.likelihood import Categorical, Gaussian, Likelihood

AT_ONCE = 1 << 27  # values of patches in memory
MOST_PATCHES = 16384  # of one batch and layer; of more, a sample is taken
WIDEST = 4608  # columns up to which A is a full matrix

Forward = Callable[[nn.Module, Tensor], Tensor]
Layer = nn.Linear | nn.Conv1d | nn.Conv2d


@dataclass(eq=False)
class Curvature:
    """Of one layer.

    Attributes:
        inputs: A, float64 ``[groups, cols, cols]``; or its diagonal, ``[groups, cols]``, for very wide layers.
        outputs: G, float64 ``[rows]``.
        offset: E[(Σ ∂L/∂y_r)²], the sum over positions: the curvature of a bias, float64 ``[rows]``.
    """

    inputs: Tensor
    outputs: Tensor
    offset: Tensor


class _Sums:
    def __init__(self, layer: Layer, generator: torch.Generator, shelf: Shelf) -> None:
        self.layer, self.generator = layer, generator
        self.inputs = Total(shelf)
        self.coherent = Total(shelf)  # of the sums over positions
        self.positions = 1
        self.outputs: Tensor | float = 0.0
        self.offset: Tensor | float = 0.0
        self.examples = 0

    def see(self, module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        if not output.requires_grad:
            return
        x = given[0].detach()
        self.examples += len(x)
        values = _patches(self.layer, x[:1]).numel()
        for part in x.split(max(1, AT_ONCE // max(1, values))):
            self._inputs(_patches(self.layer, part), len(part), len(part) / len(x))
        output.register_hook(self._gradient)

    def _inputs(self, patches: Tensor, examples: int, share: float) -> None:
        """Take in patches ``[groups, n, cols]`` of some examples, a share of the batch."""
        if patches.dtype in COARSE:
            patches = patches.float()  # sums of products of eight bits are not positive definite
        n = patches.shape[1]
        self.positions = n // examples
        wide = patches.shape[2] > WIDEST
        if self.positions > 1:
            means = patches.reshape(len(patches), examples, self.positions, -1).mean(2)
            self.coherent.add(means.square().sum(1) if wide else means.transpose(1, 2) @ means)
        most = math.ceil(share * MOST_PATCHES)
        if n > most:
            chosen = torch.randperm(n, generator=self.generator)[:most]
            patches = patches[:, chosen.to(patches.device)]
        weight = examples / patches.shape[1]
        if wide:
            self.inputs.add(patches.double().square().sum(1), weight)
        else:
            self.inputs.add(patches.transpose(1, 2) @ patches, weight)

    def _gradient(self, grad: Tensor) -> None:
        channels = 1 if self.layer_is_conv else grad.dim() - 1
        grad = grad.double().movedim(channels, -1).reshape(len(grad), -1, grad.shape[channels])
        # The slope of sqrt at 0 is infinite where the network's answer is not: such an example says nothing here.
        finite = torch.isfinite(grad).all(2).all(1)
        if not bool(finite.all()):
            grad = torch.where(finite[:, None, None], grad, 0.0)
        self.outputs = self.outputs + grad.square().sum((0, 1))
        self.offset = self.offset + grad.sum(1).square().sum(0)

    @property
    def layer_is_conv(self) -> bool:
        return not isinstance(self.layer, nn.Linear)

    def mean(self) -> Curvature | None:
        inputs, coherent = self.inputs.take(), self.coherent.take()
        if inputs is None or not isinstance(self.outputs, Tensor):
            return None
        assert isinstance(self.offset, Tensor)
        n, positions = self.examples, self.positions
        if positions > 1:
            assert coherent is not None
            agreement = (self.offset.sum() / self.outputs.sum().clamp_min(1e-300)).item()
            share = min(1.0, max(0.0, (agreement - 1) / (positions - 1)))
            inputs = inputs.mul_(1 - share).add_(coherent.mul_(share * positions))
        return Curvature(inputs.div_(n).cpu(), (self.outputs / n).cpu(), (self.offset / n).cpu())


def curvatures(
    network: nn.Module,
    inputs: Sequence[Tensor],
    forward: Forward,
    *,
    softness: float = 4.0,
    seed: int = 0,
    likelihood: Likelihood | None = None,
    shelf: Shelf | None = None,
) -> Mapping[str, Curvature]:
    """Curvature of every linear and convolutional layer that the inputs reach, by the layer's name.

    The gradient that is sent back through the network has the covariance of the Gauss-Newton matrix of
    τ² KL(p_τ ‖ ·), with p_τ the network's answer at softmax temperature τ: (diag p - p pᵀ)^½ ε with normal ε. It
    stands for sampled labels, with far less noise where the network is sure.

    Args:
        network: in eval mode.
        inputs: batches.
        softness: τ. Above 1, it counts doubts that a network trained to certainty does not show on such inputs.
        seed: of ε.
        likelihood: of the outputs; None: logits where they are ``[B, C > 1]``, else quantities with the squared error.
        shelf: where sums and what is found take their room; by default one of its own.
    """
    generator = torch.Generator().manual_seed(seed)
    shelf = Shelf() if shelf is None else shelf
    sums = {
        name: _Sums(module, generator, shelf)
        for name, module in network.named_modules()
        if isinstance(module, Layer)
    }
    modules = dict(network.named_modules())
    hooks = [modules[name].register_forward_hook(one.see) for name, one in sums.items()]
    wanted = {p: p.requires_grad for p in network.parameters()}
    try:
        for p in wanted:
            p.requires_grad_(True)  # so that every layer's output has a gradient
        for x in inputs:
            with torch.enable_grad():
                answer = forward(network, x)
            told = likelihood or _guessed(answer)
            direction = told.direction(answer.detach(), softness, generator)
            torch.autograd.backward(answer, direction, inputs=[next(iter(wanted))])
            next(iter(wanted)).grad = None
    finally:
        for hook in hooks:
            hook.remove()
        for p, was in wanted.items():
            p.requires_grad_(was)
            p.grad = None
    found = Part(shelf)
    for name, one in sums.items():
        mean = one.mean()
        if mean is not None:
            found[name] = mean
    return found


def _guessed(answer: Tensor) -> Likelihood:
    return Categorical() if answer.dim() == 2 and answer.shape[1] > 1 else Gaussian()


def _patches(layer: Layer, x: Tensor) -> Tensor:
    """What each row of the weight is multiplied with, ``[groups, n, cols]``."""
    if isinstance(layer, nn.Linear):
        return x.reshape(1, -1, x.shape[-1])
    if isinstance(layer, nn.Conv1d):
        x, size, stride, dilation = (
            x[:, :, None],
            (1, *layer.kernel_size),
            (1, *layer.stride),
            (1, *layer.dilation),
        )
    else:
        size, stride, dilation = layer.kernel_size, layer.stride, layer.dilation
    if layer.padding_mode == "zeros" and isinstance(layer.padding, tuple):
        padding: tuple[int, ...] = layer.padding if isinstance(layer, nn.Conv2d) else (0, *layer.padding)
    else:
        sides = list(layer._reversed_padding_repeated_twice)
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        # Paddings that are not constant take one dimension of positions as such.
        x = (
            F.pad(x[:, :, 0], sides, mode=mode)[:, :, None]
            if isinstance(layer, nn.Conv1d)
            else F.pad(x, sides, mode=mode)
        )
        padding = (0, 0)
    unfolded = F.unfold(x, size, dilation, padding, stride)
    batch, _, n = unfolded.shape
    grouped = unfolded.reshape(batch, layer.groups, -1, n)
    return grouped.permute(1, 0, 3, 2).reshape(layer.groups, batch * n, -1)
