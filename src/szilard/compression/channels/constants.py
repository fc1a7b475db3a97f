"""Which channels are zero for every input of a network.

The network runs on NaN in place of its inputs. What is a number afterwards does not depend on the inputs. Layers and
norms ignore NaN where their weights are zero, and channels that are in no unit count as unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from szilard.compression.channels.cutting import by_channel
from szilard.compression.channels.removal import Cut, Held, Plan, Units
from szilard.networks.norm import NormReLU


@torch.no_grad()
def dead_units(
    network: nn.Module, plan: Plan, cuts: Mapping[str, Cut], producers: Mapping[str, Units], inputs: Tensor
) -> set[int]:
    """Units that are zero where they are made, and that every layer reads as zero or with zero weights, for all inputs.

    Args:
        network: in eval mode, with the units of ``plan`` and ``cuts``; it is not changed.
        plan: where the units are in its graph.
        cuts: where the units are in its modules.
        producers: units of the modules after which a channel is complete.
        inputs: ``[B, ...]``, whose shape is used; units are only found if they are floating-point numbers.
    """
    units = {unit for one in cuts.values() for unit in one.outputs or ()} - {-1}
    if not inputs.is_floating_point():
        return set()
    found = _Constants(network, plan, cuts, producers)
    found.run(torch.full_like(inputs, torch.nan))
    return units - found.alive


class _Constants(fx.Interpreter):
    """Runs a graph on NaN.

    Attributes:
        alive: units that are not always zero where they are made, or where some layer reads them.
    """

    def __init__(
        self, network: nn.Module, plan: Plan, cuts: Mapping[str, Cut], producers: Mapping[str, Units]
    ) -> None:
        super().__init__(fx.GraphModule(network, plan.graph))
        self.plan, self.cuts, self.producers = plan, cuts, producers
        self.alive: set[int] = set()

    def run_node(self, n: fx.Node) -> Any:
        value, held = super().run_node(n), self.plan.held.get(n)
        if n.op == "call_module" and str(n.target) in self.producers and isinstance(held, Held):
            zero = (value == 0).movedim(held.axis, 0).flatten(1).all(1)
            self.alive |= _where(self.producers[str(n.target)], ~zero)
        return value if n.op == "output" else _unknown(value, held)

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        module, cut = self.fetch_attr(target), self.cuts.get(target)
        if cut is None:
            return super().call_module(target, args, kwargs)
        if isinstance(module, nn.Linear | _ConvNd):
            return self._layer(module, (*args, *kwargs.values())[0], cut)
        if isinstance(module, _BatchNorm):
            given = (*args, *kwargs.values())
            y = _norm(module, given[0])
            if isinstance(module, NormReLU):
                return F.relu(y if len(given) < 2 or given[1] is None else y + given[1])
            return y
        return super().call_module(target, args, kwargs)

    def _layer(self, module: nn.Linear | _ConvNd, x: Tensor, cut: Cut) -> Tensor:
        axis = x.dim() - 1 if isinstance(module, nn.Linear) else 1
        rows = x.movedim(axis, 0).flatten(1)
        groups = module.groups if isinstance(module, _ConvNd) else 1
        weight = module.weight.reshape(groups, len(module.weight) // groups, module.weight.shape[1], -1)
        used = (weight != 0).any(-1)  # [groups, outputs of one, inputs of one]
        zero = (rows == 0).all(1)
        if cut.inputs is not None and not by_channel(module):
            self.alive |= _where(cut.inputs, used.any(1).flatten() & ~zero)
        unknown = rows.isnan().any(1).reshape(groups, 1, -1)
        spoilt = (used & unknown).any(2).flatten()
        y = module(x.nan_to_num(0.0)).movedim(axis, 0).clone()
        y[spoilt] = torch.nan
        return y.movedim(0, axis)


def _where(units: Units, chosen: Tensor) -> set[int]:
    return {unit for unit, one in zip(units, chosen.tolist(), strict=True) if one}


def _norm(module: _BatchNorm, x: Tensor) -> Tensor:
    y = F.batch_norm(
        x.nan_to_num(0.0), module.running_mean, module.running_var, module.weight, module.bias, eps=module.eps
    )
    flat = torch.ones(x.shape[1], dtype=torch.bool) if module.weight is None else module.weight.cpu() != 0
    spoilt = x.isnan() & flat.to(x.device).reshape(1, -1, *[1] * (x.dim() - 2))
    return y.masked_fill(spoilt, torch.nan)


def _unknown(value: Any, held: Any) -> Any:
    """A value with NaN for channels in no unit: functions that are not understood may return numbers for NaN."""
    if isinstance(value, tuple | list) and isinstance(held, list) and len(value) == len(held):
        parts = [_unknown(one, part) for one, part in zip(value, held, strict=True)]
        return parts if isinstance(value, list) else tuple(parts)
    if not isinstance(value, Tensor) or not isinstance(held, Held) or not value.is_floating_point():
        return value
    if tuple(value.shape)[held.axis] != len(held.units):
        return torch.full_like(value, torch.nan)
    view = [1] * value.dim()
    view[held.axis] = -1
    free = torch.tensor([unit == -1 for unit in held.units], device=value.device)
    return value.masked_fill(free.reshape(view), torch.nan)
