"""Langevin dynamics as an optimiser: where it has run for long, its parameters are draws from exp(-U/T).

The loss that it descends is U/N, the negative log posterior per example, so that learning rates mean what they mean in
SGD. A step is a kick by the gradient, half a drift, friction with noise, and half a drift (BAOAB with one gradient;
Leimkuhler and Matthews 2013). The positions of this order have no error in a Gaussian posterior, whatever the step,
where the usual Euler step of SGLD widens the variance by lr · curvature / 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

from szilard.bayes.noise import mix
from szilard.errors import SzilardError
from szilard.sparse.portable import normal

_SAMPLING = 0x6C76  # separates the noise of samplers from that of layers


class Langevin(Optimizer):
    """Draws from the posterior by noisy steps; without friction's memory (``momentum`` 0) it is SGLD, with it SGHMC.

    With h² = ``lr``, c = ``momentum`` and the potential U/N at temperature T/N, in coordinates θ/s for scales s:

        v ← v - h s g;  θ ← θ + h s v/2;  v ← c v + √((1 - c²) T/N) ξ;  θ ← θ + h s v/2

    The noise of a step is a function of (seed, chain, step, number of the parameter), so that nothing but the state
    dict is needed to continue with the same bits.

    After :meth:`anchor` the target is p^d q^(1-d), where q is the normal distribution of the scales about the anchors.

    Args:
        params: parameters or groups, as for every optimiser of torch.
        lr: h²; a step of SGD without noise moves by ``lr`` times the gradient.
        n_data: N, the number of examples over which the loss is a mean.
        momentum: c, the share of the velocity that a step keeps.
        temperature: T; 1 is the posterior, 0 no noise.
        seed: of the noise.
        chain: number of the chain, which has its own noise.

    Raises:
        SzilardError: a value outside of its range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        n_data: int,
        *,
        momentum: float = 0.0,
        temperature: float = 1.0,
        seed: int = 0,
        chain: int = 0,
    ) -> None:
        if not lr > 0:
            raise SzilardError(f"the learning rate of a sampler must be positive, not {lr:g}")
        if not 0 <= momentum < 1:
            raise SzilardError(f"momentum must be in [0, 1), not {momentum:g}")
        if not 0 <= temperature < math.inf:
            raise SzilardError(f"the temperature must be a number from 0, not {temperature:g}")
        if n_data < 1:
            raise SzilardError(f"n_data must be at least 1, not {n_data}")
        defaults = {
            "lr": lr, "momentum": momentum, "temperature": temperature, "n_data": n_data, "seed": seed,
            "chain": chain, "step": 0, "dial": 1.0,
        }  # fmt: skip
        super().__init__(params, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move all parameters that have a gradient.

        Args:
            closure: computes the loss and its gradients again; optional.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._move()
        return loss

    def _move(self) -> None:
        """A step of the sampler."""
        number = 0
        for group in self.param_groups:
            width = math.sqrt(self.rate(group))
            keep, deviation = group["momentum"], math.sqrt(group["temperature"] / group["n_data"])
            for parameter in group["params"]:
                number += 1
                if parameter.grad is None:
                    continue
                noise = self.noise(group, number, parameter)
                state = self.state[parameter]
                if "velocity" not in state:  # what the noise of a step before this one would have left
                    state["velocity"] = self.noise(group, -number, parameter).mul_(deviation)
                scale = width * state["scale"] if "scale" in state else width
                velocity = state["velocity"].sub_(self._gradient(parameter, group["dial"], state) * scale)
                parameter.add_(velocity * scale, alpha=0.5)
                velocity.mul_(keep).add_(noise, alpha=math.sqrt(1 - keep * keep) * deviation)
                parameter.add_(velocity * scale, alpha=0.5)
            group["step"] += 1

    def _gradient(self, parameter: Tensor, dial: float, state: dict[str, Tensor]) -> Tensor:
        """Of the potential per example: d g + (1 - d) (θ - m) / s²."""
        assert parameter.grad is not None
        if "anchor" not in state or dial == 1:
            return parameter.grad
        pull = (parameter - state["anchor"]) / state["scale"].square()
        return pull.mul_(1 - dial).add_(parameter.grad, alpha=dial)

    @torch.no_grad()
    def anchor(self, dial: float) -> None:
        """Sample p^d q^(1-d) from now on, where q = N(θ now, s²/N) for the scales s; parameters without stay free.

        Args:
            dial: d from 0, which is q, to 1, which is the posterior.

        Raises:
            SzilardError: another d, or no scales.
        """
        if not 0 <= dial <= 1:
            raise SzilardError(
                f"dial must be in [0, 1], from variational (0) to the posterior (1), not {dial:g}"
            )
        for group in self.param_groups:
            group["dial"] = float(dial)
            for parameter in group["params"]:
                if "scale" in self.state[parameter]:
                    self.state[parameter]["anchor"] = parameter.detach().clone()
        if not any("anchor" in state for state in self.state.values()):
            raise SzilardError("an anchored sampler needs scales; call set_scales first")

    @torch.no_grad()
    def log_anchor_density(self) -> float:
        """ln q of the parameters' values, nats."""
        total = 0.0
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if "anchor" not in state:
                    continue
                std = state["scale"].double() / math.sqrt(group["n_data"])
                error = (parameter.double() - state["anchor"].double()) / std
                total -= float((0.5 * error.square() + std.log()).sum())
                total -= 0.5 * math.log(2 * math.pi) * parameter.numel()
        return total

    def rate(self, group: dict[str, Any]) -> float:
        """h² of a group."""
        return float(group["lr"])

    def noise(self, group: dict[str, Any], number: int, like: Tensor) -> Tensor:
        """Standard normal numbers of a step for one parameter."""
        seed = mix(_SAMPLING, group["seed"], group["chain"], group["step"], number)
        return normal(torch.tensor([seed, 0]), list(like.shape), like)

    @torch.no_grad()
    def set_scales(self, scales: Mapping[Tensor, Tensor | float]) -> None:
        """Set s of parameters; directions in which the posterior is wide need a large one.

        Args:
            scales: by parameter, tensors of the parameters' shapes or numbers; positive. The posterior's standard
                deviations times √N make all directions alike, and ``lr`` then is a share of the largest step.

        Raises:
            SzilardError: a tensor that is not a parameter of the sampler, another shape, or a scale that is not
                positive and finite.
        """
        held = {id(parameter) for group in self.param_groups for parameter in group["params"]}
        for parameter, scale in scales.items():
            if id(parameter) not in held:
                raise SzilardError(
                    "a scale is of a tensor that the sampler does not move; give those of its groups"
                )
            made = torch.as_tensor(scale, dtype=parameter.dtype, device=parameter.device)
            if made.dim() and made.shape != parameter.shape:
                raise SzilardError(
                    f"a scale has shape {list(made.shape)} and its parameter {list(parameter.shape)}; they must agree"
                )
            if not bool(((made > 0) & made.isfinite()).all()):
                raise SzilardError("the scales of a sampler must be positive and finite")
            self.state[parameter]["scale"] = made.expand_as(parameter).clone()

    def restart_velocities(self) -> None:
        """Forget velocities; the next step draws new ones."""
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter].pop("velocity", None)

    def restart(self, chain: int | None = None) -> None:
        """Begin a new chain; scales stay.

        Args:
            chain: its number.
        """
        self.restart_velocities()
        for group in self.param_groups:
            if chain is not None:
                group["chain"] = chain
