"""An optimiser for a chain: Adam to a mode, then Langevin dynamics from there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from szilard.sampling.langevin import Langevin

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class DescendAndSample(Langevin):
    """Adam (Kingma and Ba 2015) while ``descends`` of its groups is true, then a :class:`Langevin` sampler.

    A group has ``lr``, the learning rate of Adam, ``step_size``, h² of the sampler, and ``largest_step``, what
    ``step_size`` is at most where a method varies it.

    Args:
        params: parameters or groups.
        lr: learning rate of Adam.
        step_size: h² of the sampler.
        n_data, momentum, temperature, seed, chain: as of :class:`Langevin`.
    """

    def __init__(
        self, params: Iterable[Any], lr: float, step_size: float, n_data: int, **options: Any
    ) -> None:
        super().__init__(params, lr, n_data, **options)
        for group in self.param_groups:
            group.update(step_size=step_size, largest_step=step_size, descends=True, descent_step=0)

    def _move(self) -> None:
        if not self.descends:
            super()._move()
            return
        for group in self.param_groups:
            group["descent_step"] += 1
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._adam(parameter, parameter.grad, group["lr"], group["descent_step"])

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

    def sample(self, scales: Mapping[Tensor, Tensor | float] | None = None) -> None:
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
