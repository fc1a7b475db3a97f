"""Sizes of raw inputs, estimated from the BatchNorm after the first layer.

The running variances of a BatchNorm after y = W x + b are v_r = Σ_c W_rc² s_c² if inputs are independent. With at least
as many sums as inputs, s has a maximum-likelihood estimate: each sum is a variance with a relative error, so s²
maximises -½ Σ_r (v_r / m_r + ln m_r), m = W² s². Multiplicative updates reach its fixed point (Févotte and Idier 2011,
for the Itakura-Saito divergence).

An input that adds less than a hundredth to every sum cannot be seen in them. It is assumed to add a hundredth, so that
its weights are not rounded more coarsely than the statistics justify.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

STEPS = 300
UNSEEN = 0.01  # share of a sum below which an input cannot be seen
BETTER = 0.5  # largest remaining spread of ln v with s², relative to that with equal sizes


def sizes_by_norm(weight: Tensor, variance: Tensor) -> Tensor | None:
    """Sizes of inputs, float64 ``[cols]``; None if there are more inputs than sums, or no sizes explain the sums.

    Args:
        weight: ``[rows, cols]``.
        variance: of its outputs, ``[rows]``.
    """
    squares, seen = weight.detach().cpu().double().square(), variance.detach().cpu().double()
    rows, cols = squares.shape
    used = squares.sum(1) > 0
    squares, seen = squares[used], seen[used]
    if cols < 2 or rows < cols or len(seen) < cols:
        return None
    if not bool(torch.isfinite(squares).all()) or not bool(((seen > 0) & torch.isfinite(seen)).all()):
        return None
    if not bool((squares.sum(0) > 0).all()):
        return None
    flat = squares.sum(1)
    # Start from sizes for which all inputs count alike.
    found = float((seen / flat).log().mean().exp()) * flat.mean() / cols / squares.mean(0)
    for _ in range(STEPS):
        made = squares @ found
        found = found * ((squares.T @ (seen / made.square())) / (squares.T @ (1 / made))).sqrt()
        found = found.clamp_min(1e-300)
    left = float((seen / (squares @ found)).log().std())
    if not left < BETTER * float((seen / flat).log().std()):
        return None
    most = torch.where(squares > 0, seen[:, None] / squares, torch.inf).amin(0)
    return torch.maximum(found, UNSEEN * most).sqrt()


@torch.no_grad()
def norms_behind(network: nn.Module, x: Tensor) -> dict[str, _BatchNorm]:
    """BatchNorms with running statistics that read the output ``[B, rows]`` of a linear layer, by the layer's name."""
    made: dict[int, tuple[str, Tensor]] = {}
    found: dict[str, _BatchNorm] = {}
    handles = []
    for name, module in network.named_modules():
        if type(module) is nn.Linear:
            handles.append(
                module.register_forward_hook(
                    lambda _, given, output, name=name: made.update({id(output): (name, output)})
                )
            )
        elif isinstance(module, _BatchNorm) and module.running_var is not None:
            handles.append(
                module.register_forward_pre_hook(
                    lambda norm, given: (
                        found.update({made[id(given[0])][0]: norm})
                        if given and id(given[0]) in made and given[0].dim() == 2
                        else None
                    )
                )
            )
    try:
        network(x)
    except Exception:  # any error of a network on an input of the wrong shape
        return {}
    finally:
        for handle in handles:
            handle.remove()
    return found
