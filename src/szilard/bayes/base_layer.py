"""What all layers whose weights are random variables on a support have in common."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from szilard.bayes.moments.linear import bilinear
from szilard.bayes.moments.sharing import Window, weighted
from szilard.bayes.moments.value import GaussianTensor, joined, split
from szilard.bayes.noise import Noise
from szilard.bayes.thread_state import draw_of, mode_of
from szilard.bayes.weight import NO_RESET, Weight
from szilard.errors import SzilardError
from szilard.kernels.transforms import transformed
from szilard.sparse import Support, differentiable
from szilard.sparse.differentiable import dense_weight
from szilard.sparse.growth import GradientCarrier, GradientListener, RowsGradient, linear_rows

#: Modes of a layer: ``local`` draws outputs (local reparametrisation), ``sample`` draws one weight for each forward
#: pass, ``mean`` uses the mean weight, ``moments`` computes mean and variance of the outputs
#: (:mod:`szilard.bayes.moments`); ``auto`` is ``local`` in training mode and ``mean`` in eval.
MODES = ("auto", "local", "sample", "mean", "moments")


def _in_full_precision(x: Tensor) -> AbstractContextManager[Any]:
    """Autocast off: sparse products exist only in single and double precision."""
    device = x.device.type
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


class BayesLayer(nn.Module):
    """A linear map with a :class:`~szilard.bayes.weight.Weight` and an ordinary bias.

    Attributes:
        mode: one of :data:`MODES`, for all threads; a block of :func:`szilard.bayes.mode` takes precedence.
    """

    def __init__(self, weight: Weight, bias: Tensor | None, noise: Noise) -> None:
        nn.Module.__init__(self)  # the __init__ of the torch class would make a weight
        self.weight = weight
        weight.layer = (self,)
        self.bias = None if bias is None else nn.Parameter(bias)
        self.noise = noise
        self.mode = "auto"
        #: Whether the layer always applies ReLU, as in networks that were pickled by version 0.1.
        self.relu = False

    def reset_parameters(self) -> None:
        """Not possible: a Gaussian weight is initialised when its network is made.

        Raises:
            SzilardError: always.
        """
        raise SzilardError(NO_RESET)

    @property
    def growth(self) -> GradientListener | GradientCarrier | None:
        """While set, the layer adds the output gradient and the input of each backward pass to it."""
        return self.weight.growth

    @growth.setter
    def growth(self, value: GradientListener | GradientCarrier | None) -> None:
        self.weight.growth = value

    @property
    def rows_gradient(self) -> RowsGradient:
        """Function that computes rows of the layer's dense weight gradient."""
        return linear_rows

    def entries_gradient(self, grad: Tensor, x: Tensor, support: Support) -> Tensor:
        """The gradient of the weight at the entries of any support, ``[nnz]``, by a sparse product.

        Args:
            grad: of the output of the layer, without its bias.
            x: its input.
            support: of the shape of the weight.
        """
        raise NotImplementedError

    def forward(self, x: Tensor, rectified: bool = False) -> Tensor:
        """The output; with ``rectified``, after a fused ReLU."""
        weight, relu = self.weight, rectified or self.relu
        mode, draw = mode_of(self), draw_of(weight)
        if mode == "moments" or isinstance(x, GaussianTensor):
            return self._moments(x, relu)
        x = x.to(weight.mean.dtype)
        if transformed():
            return self._followed(x, relu)
        mean, listener = weight.heard(weight.mean)
        with _in_full_precision(x):
            if draw is not None or weight.log_std is None or mode == "mean":
                y = self._finish(self._product(x, mean if draw is None else draw), relu)
            elif mode == "sample":
                values = weight.sample(self.noise.normal(mean.shape, mean))
                y = self._finish(self._product(x, values), relu)
            else:
                y = self._local(x, mean, weight.log_std, relu)
        if listener is not None and y.requires_grad:
            y.register_hook(functools.partial(self._record_growth, listener, x, y.detach() if relu else None))
        return y

    def _followed(self, x: Tensor, relu: bool) -> Tensor:
        """The same output by products of torch, which function transforms can trace."""
        weight, support = self.weight, self.weight.support
        mode, draw = mode_of(self), draw_of(weight)
        product = self._dense_product
        if draw is not None or weight.log_std is None or mode == "mean":
            return self._finish(
                product(x, dense_weight(weight.mean if draw is None else draw, support)), relu
            )
        if mode == "sample":
            values = weight.sample(self.noise.normal(weight.mean.shape, weight.mean))
            return self._finish(product(x, dense_weight(values, support)), relu)
        variance = dense_weight((2 * weight.log_std).exp(), support)

        def noise(std: Tensor) -> Tensor:
            return self.noise.normal(std.shape, std)

        y = differentiable.drawn(product, x, dense_weight(weight.mean, support), variance, noise)
        return self._finish(y, relu)

    def _moments(self, x: Tensor, relu: bool) -> Tensor:
        """Mean and variance of the output, for an input that is Gaussian or not."""
        x, values, product = x.to(self.weight.mean.dtype), self._gaussian_values(), self._product
        (mean, variance), support = split(values), self.weight.support
        if transformed():  # products of torch, which an exporter can trace
            dense = None if variance is None else dense_weight(variance, support)
            values, product = joined(dense_weight(mean, support), dense), self._dense_product
        with _in_full_precision(x):
            y = bilinear(product, x, values)
            weight = (
                lambda: dense_weight(mean, support),
                None if variance is None else lambda: dense_weight(variance, support),
            )
            return self._finish(weighted(y, x, weight, self._window()), relu)

    def _window(self) -> Window | None:
        """The window of a convolution."""
        return None

    def _gaussian_values(self) -> Tensor:
        weight, draw = self.weight, draw_of(self.weight)
        if draw is None and weight.log_std is not None and mode_of(self) == "moments":
            return GaussianTensor(weight.mean, (2 * weight.log_std).exp())
        return weight.mean if draw is None else draw

    def values_now(self) -> Tensor:
        """The entries of the weight as used in this thread, ``[nnz]``; a draw of them if outputs would be drawn."""
        weight = self.weight
        if mode_of(self) == "moments":
            return self._gaussian_values()
        draw = draw_of(weight)
        if draw is not None:
            return draw
        if weight.is_point or mode_of(self) == "mean":
            return weight.mean
        return weight.sample(self.noise.normal(weight.mean.shape, weight.mean))

    def _dense_product(self, x: Tensor, values: Tensor) -> Tensor:
        raise NotImplementedError

    def _record_growth(
        self, growth: GradientListener, x: Tensor, rectified: Tensor | None, grad: Tensor
    ) -> None:
        # The output is linear in μ, so its gradient and x give ∂L/∂μ at every entry, existing or not.
        growth.add(grad if rectified is None else torch.where(rectified > 0, grad, 0), x)

    def _finish(self, y: Tensor, relu: bool) -> Tensor:
        """Add the bias, then ReLU if ``relu``."""
        y = self._add_bias(y)
        return nn.functional.relu(y) if relu else y

    def _product(self, x: Tensor, values: Tensor) -> Tensor:
        raise NotImplementedError

    def _local(self, x: Tensor, mean: Tensor, log_std: Tensor, relu: bool) -> Tensor:
        raise NotImplementedError

    def _add_bias(self, y: Tensor) -> Tensor:
        return y if self.bias is None else y + self.bias


def bayes_layers(network: nn.Module) -> dict[str, BayesLayer]:
    """The stochastic layers of a network by name, each once, in registration order."""
    return {name: module for name, module in network.named_modules() if isinstance(module, BayesLayer)}
