"""An optimiser for a chain: Adam to a mode, then Langevin dynamics from there, with the mode's curvature as scales."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from szilard.sampling.langevin import Langevin

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class DescendAndSample(Langevin):
    """Adam (Kingma and Ba 2015) while ``descends`` of its groups is true, then a :class:`Langevin` sampler.

    Args:
        params: parameters or groups.
        lr: learning rate of Adam.
        step_size: h² of the sampler.
        n_data, momentum, temperature, seed, chain: as of :class:`Langevin`.
    """

    def __init__(self, params: Iterable[Any], lr: float, step_size: float, n_data: int, **options: Any) -> None:
        super().__init__(params, lr, n_data, **options)
        for group in self.param_groups:
            group.update(step_size=step_size, descends=True, descent_step=0)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move all parameters that have a gradient."""
        if not self.param_groups[0]["descends"]:
            return super().step(closure)  # type: ignore[arg-type]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            group["descent_step"] += 1
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._adam(parameter, parameter.grad, group["lr"], group["descent_step"])
        return loss

    def _adam(self, parameter: Tensor, grad: Tensor, lr: float, count: int) -> None:
        state = self.state[parameter]
        if "exp_avg" not in state:
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        first, second = BETAS
        mean = state["exp_avg"].lerp_(grad, 1 - first)
        square = state["exp_avg_sq"].mul_(second).addcmul_(grad, grad, value=1 - second)
        root = (square / (1 - second**count)).sqrt_().add_(EPSILON)
        parameter.addcdiv_(mean, root, value=-lr / (1 - first**count))

    def rate(self, group: dict[str, Any]) -> float:
        return float(group["step_size"])

    @property
    def descends(self) -> bool:
        """Whether the next step is one of Adam."""
        return bool(self.param_groups[0]["descends"])

    def gradient_squares(self) -> dict[Tensor, Tensor]:
        """Mean squares of the gradients at the end of the descent, by parameter; those without a gradient are absent."""
        count = max(1, self.param_groups[0]["descent_step"])
        return {
            parameter: state["exp_avg_sq"] / (1 - BETAS[1] ** count)
            for parameter, state in self.state.items()
            if "exp_avg_sq" in state
        }

    def sample(self, scales: Iterable[Tensor | float] | None = None) -> None:
        """Sample from now on.

        Args:
            scales: as of :meth:`Langevin.set_scales`; None: all 1.
        """
        for group in self.param_groups:
            group["descends"] = False
            for parameter in group["params"]:
                self.state.pop(parameter, None)
        if scales is not None:
            self.set_scales(scales)

    def restart(self, chain: int | None = None) -> None:
        """Begin a new chain with a descent."""
        super().restart(chain)
        for group in self.param_groups:
            group.update(descends=True, descent_step=0)
            for parameter in group["params"]:
                self.state.pop(parameter, None)


def laplace_scales(
    squares: dict[Tensor, Tensor], prior_stds: Iterable[tuple[Tensor, Tensor | float]], n_data: int, batch: int
) -> list[Tensor]:
    """s = √N σ of each parameter, where σ is the standard deviation of a diagonal Laplace approximation.

    The mean square of the gradient of n examples' mean loss is about the Fisher information of one example over n, at
    a mode. So the precision of the posterior is N n E[g²] + 1/s₀² with the prior's s₀.

    Args:
        squares: E[g²] by parameter (:meth:`DescendAndSample.gradient_squares`).
        prior_stds: pairs of a parameter and s₀.
        n_data: N.
        batch: n, examples of a batch.
    """
    found = []
    for parameter, std in prior_stds:
        square = squares.get(parameter, torch.zeros_like(parameter))
        precision = n_data * batch * square + torch.as_tensor(std, dtype=square.dtype).pow(-2)
        found.append(math.sqrt(n_data) * precision.rsqrt())
    return found
