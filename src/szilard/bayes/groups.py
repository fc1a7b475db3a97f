"""Random scales shared by groups of weights: dropping a scale drops its whole group.

w_ij = z_g w̃_ij with prior w̃_ij ~ N(0, 1) and a prior on z_g with much mass near zero (Louizos, Ullrich and Welling
2017). Groups are the input features of a linear map and the output channels of a convolution.
"""

from __future__ import annotations

import copy
import math
import warnings

import torch
from torch import Tensor, nn

from szilard.bayes.base_layer import BayesLayer
from szilard.bayes.in_place import replace_in_place
from szilard.bayes.layers import BayesConv
from szilard.bayes.moments.gaussian import log_normal
from szilard.bayes.moments.value import GaussianTensor
from szilard.bayes.noise import Noise
from szilard.bayes.priors import log_uniform_kl
from szilard.bayes.thread_state import draw_of, mode_of


class GroupScale(nn.Module):
    """Scales ``z [groups]`` with a posterior and a prior.

    Attributes:
        draw: ``[groups]``, used instead of the posterior while set; as of a :class:`~szilard.bayes.weight.Weight`.
        mode: as of a :class:`~szilard.bayes.base_layer.BayesLayer`.
    """

    alive: Tensor

    def __init__(self, groups: int, noise: Noise) -> None:
        super().__init__()
        self.groups, self.noise = groups, noise
        self.draw: Tensor | None = None
        self.mode = "auto"
        self.register_buffer("alive", torch.ones(groups, dtype=torch.bool))

    def forward(self, batch: int) -> Tensor:
        """Scales for a batch: ``[batch, groups]`` if they are drawn for each example, else ``[groups]``."""
        mode, draw = mode_of(self), draw_of(self)
        if draw is not None:
            return draw
        if mode == "moments":
            return GaussianTensor(*(torch.where(self.alive, part, 0) for part in self.gaussian()))
        if mode == "mean":
            return self.mean_scale()
        shape = (batch, self.groups) if mode == "local" else (self.groups,)
        return self.sample(self.noise.normal(shape, self.like()))

    def like(self) -> Tensor:
        raise NotImplementedError

    def mean_scale(self) -> Tensor:
        """The scale in mean mode, ``[groups]``; zero if the group was dropped."""
        raise NotImplementedError

    def gaussian(self) -> tuple[Tensor, Tensor]:
        """Mean and variance of the scale of a group that was not dropped, ``[groups]`` each."""
        raise NotImplementedError

    def first_order(self) -> tuple[nn.Parameter, Tensor]:
        """A parameter, and the variance of it that gives the scale its variance to first order."""
        raise NotImplementedError

    def sample(self, noise: Tensor) -> Tensor:
        raise NotImplementedError

    def widths(self) -> list[nn.Parameter]:
        """The parameters on a logarithmic scale, which are trained with a larger learning rate."""
        raise NotImplementedError

    def kl(self) -> Tensor:
        """Divergence from the prior in nats, scalar."""
        raise NotImplementedError

    def drop_score(self) -> Tensor:
        """How uncertain it is that a group is needed, ``[groups]``; it is dropped from a threshold on."""
        raise NotImplementedError

    def doubt(self) -> Tensor:
        """The former name of :meth:`drop_score`; it goes with the next release."""
        warnings.warn("GroupScale.doubt is now GroupScale.drop_score", DeprecationWarning, stacklevel=2)
        return self.drop_score()

    @torch.no_grad()
    def drop(self, threshold: float) -> int:
        """Drop the groups whose score is at least ``threshold``, but never the lowest. Returns how many were
        dropped."""
        score = self.drop_score()
        dead = score >= threshold
        dead[score.argmin()] = False
        self.alive &= ~dead
        return int(dead.sum())


class NormalJeffreys(GroupScale):
    """q(z) = N(μ, σ²), p(z) ∝ 1/|z|; the drop score is ln α = ln σ²/μ²."""

    def __init__(self, groups: int, noise: Noise, generator: torch.Generator | None) -> None:
        super().__init__(groups, noise)
        self.mean = nn.Parameter(1 + 0.01 * torch.randn(groups, generator=generator))
        self.log_std = nn.Parameter(torch.full((groups,), -4.5))

    def like(self) -> Tensor:
        return self.mean

    def mean_scale(self) -> Tensor:
        return torch.where(self.alive, self.mean, 0)

    def gaussian(self) -> tuple[Tensor, Tensor]:
        return self.mean, (2 * self.log_std).exp()

    def first_order(self) -> tuple[nn.Parameter, Tensor]:
        return self.mean, (2 * self.log_std).exp()

    def sample(self, noise: Tensor) -> Tensor:
        return torch.where(self.alive, self.mean + self.log_std.exp() * noise, 0)

    def widths(self) -> list[nn.Parameter]:
        return [self.log_std]

    def kl(self) -> Tensor:
        return log_uniform_kl(self.mean, self.log_std)

    def drop_score(self) -> Tensor:
        return 2 * self.log_std - self.mean.square().clamp_min(1e-30).log()


class Horseshoe(GroupScale):
    """z = s z̃ with half-Cauchy s ~ C⁺(0, τ) for the layer and z̃ ~ C⁺(0, 1) for each group.

    Each is split into a product of a gamma and an inverse gamma variable, s² = s_a s_b and z̃² = α β, whose posteriors
    are log-normal: then z is log-normal, and every divergence has a closed form. The drop score is minus the logarithm
    of z's mode.
    """

    def __init__(
        self, groups: int, noise: Noise, generator: torch.Generator | None, tau: float = 1e-2
    ) -> None:
        super().__init__(groups, noise)
        self.tau = tau
        self.local_loc = nn.Parameter(0.01 * torch.randn(2, groups, generator=generator))
        self.local_log_var = nn.Parameter(torch.full((2, groups), math.log(2 * math.log(1.5))))
        self.layer_loc = nn.Parameter(0.01 * torch.randn(2, generator=generator))
        self.layer_log_var = nn.Parameter(torch.full((2,), math.log(0.5)))

    def like(self) -> Tensor:
        return self.local_loc

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and variance of ln z, ``[groups]`` each."""
        loc = (self.local_loc.sum(0) + self.layer_loc.sum()) / 2
        return loc, (self.local_log_var.exp().sum(0) + self.layer_log_var.exp().sum()) / 4

    def mean_scale(self) -> Tensor:
        loc, variance = self.moments()
        return torch.where(self.alive, (loc + variance / 2).exp(), 0)

    def gaussian(self) -> tuple[Tensor, Tensor]:
        """Moments of the log-normal scale; products treat it as a Gaussian."""
        return log_normal(*self.moments())

    def first_order(self) -> tuple[nn.Parameter, Tensor]:
        # ln z = (the sum of four variables) / 2; the variance of all four counts for the first.
        variance = 4 * self.moments()[1]
        return self.local_loc, torch.stack([variance, torch.zeros_like(variance)])

    def sample(self, noise: Tensor) -> Tensor:
        loc, variance = self.moments()
        return torch.where(self.alive, (loc + variance.sqrt() * noise).exp(), 0)

    def widths(self) -> list[nn.Parameter]:
        return list(self.parameters())

    def kl(self) -> Tensor:
        gamma = gamma_kl(self.local_loc[0], self.local_log_var[0], 1.0).sum()
        inverse = inverse_gamma_kl(self.local_loc[1], self.local_log_var[1]).sum()
        layer = gamma_kl(self.layer_loc[0], self.layer_log_var[0], self.tau**2)
        return gamma + inverse + layer + inverse_gamma_kl(self.layer_loc[1], self.layer_log_var[1])

    def drop_score(self) -> Tensor:
        loc, variance = self.moments()
        return variance - loc


def gamma_kl(loc: Tensor, log_var: Tensor, scale: float) -> Tensor:
    """KL(LN(m, v) ‖ Gamma(1/2, scale)) in nats, elementwise.

    ``ln(b)/2 + e^(m + v/2) / b - (m + ln v + 1 + ln 2) / 2`` with b the scale.
    """
    rise = (loc + log_var.exp() / 2).exp() / scale
    return 0.5 * math.log(scale) + rise - 0.5 * (loc + log_var + 1 + math.log(2))


def inverse_gamma_kl(loc: Tensor, log_var: Tensor) -> Tensor:
    """KL(LN(m, v) ‖ InvGamma(1/2, 1)) in nats, elementwise: the divergence of 1/x from a gamma variable."""
    return gamma_kl(-loc, log_var, 1.0)


class ScaledLayer(nn.Module):
    """A stochastic linear map or convolution with a scale for each group of its weights.

    The scale multiplies an input feature or an output channel of each example, instead of the weights.
    """

    def __init__(self, layer: BayesLayer, scale: GroupScale) -> None:
        super().__init__()
        self.layer, self.scale = layer, scale
        self.on_outputs = isinstance(layer, BayesConv)
        self.bias: nn.Parameter | None = None
        if self.on_outputs:  # the bias comes after the scale
            self.bias, layer.bias = layer.bias, None

    def forward(self, x: Tensor) -> Tensor:
        batch = x.shape[0]  # len(x) is a plain int, which torch.export would take for the only batch size
        z = self.scale(batch)
        if not self.on_outputs:
            return self.layer(x * (z if z.dim() == 1 else z.reshape(batch, *[1] * (x.dim() - 2), -1)))
        y = self.layer(x)
        aside = [1] * (y.dim() - 2)
        y = y * (z.reshape(-1, *aside) if z.dim() == 1 else z.reshape(batch, -1, *aside))
        return y if self.bias is None else y + self.bias.reshape(-1, *aside)

    @torch.no_grad()
    def dense_mean(self) -> Tensor:
        """The mean weight with its scales, dense."""
        weight = self.layer.weight.dense_mean()
        z = self.scale.mean_scale()
        return weight * (z.reshape(-1, *[1] * (weight.dim() - 1)) if self.on_outputs else z)


def scale_units(layer: BayesLayer, scale: GroupScale) -> None:
    """Replace a layer by a :class:`ScaledLayer` around it, everywhere in the network."""
    inner = copy.copy(layer)
    inner.weight.layer = (inner,)
    replace_in_place(layer, ScaledLayer(inner, scale))


def scales(network: nn.Module) -> list[GroupScale]:
    """The scales of a network, in registration order."""
    return [module for module in network.modules() if isinstance(module, GroupScale)]
