"""How much the loss rises when a weight changes: the Gauss-Newton matrix, the precision of a Laplace posterior.

The expectation over labels is taken over the network's own predictions. No labels are needed, and a network that fits
its data perfectly still has a curvature. For layers whose inputs hooks can read, it is measured there
(:mod:`szilard.compression.hooked`); for all other tensors, from their gradients
(:mod:`szilard.compression.gradient_curvature`). :mod:`szilard.compression.plan` chooses between the two.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from szilard.compression.batches import length, mapped, rows, split
from szilard.compression.finite import all_finite
from szilard.compression.gradient_curvature import Squares
from szilard.compression.half_precision import COARSE, in_float32
from szilard.compression.hooked import Curvature, Hooked
from szilard.compression.memory import give_back
from szilard.compression.patches import Layer
from szilard.compression.plan import Forward, NoGradientError, Plan, Run, make_plan, owner
from szilard.compression.shelf import Part, Shelf
from szilard.errors import SzilardWarning, printable
from szilard.likelihood import Likelihood

__all__ = ["Curvature", "Forward", "Layer", "curvatures"]

SAMPLES = 32  # approximate number of gradient samples
FEW = 8  # the same if only vectors need them
MOST = 16  # most examples in a sample
LOOK = 3  # examples for choosing how each tensor is measured
MANY = 0.05  # share of examples without a finite gradient above which a warning is given


def curvatures(
    network: nn.Module,
    inputs: Sequence[Any],
    forward: Forward,
    *,
    softness: float = 4.0,
    seed: int = 0,
    likelihood: Likelihood | None = None,
    shelf: Shelf | None = None,
) -> Mapping[str, Curvature]:
    """Curvature of every parameter that the inputs reach, by its name: "0.weight", "rnn.weight_hh_l0", "norm.bias".

    The backpropagated gradient has the covariance of the Gauss-Newton matrix of τ² KL(p_τ ‖ ·), with p_τ the network's
    prediction at softmax temperature τ: (diag p - p pᵀ)^½ ε with normal ε. It replaces sampled labels, with far less
    noise if the network is certain. Networks of half precision are measured in float32. If the network has no gradient,
    the result is empty, and a warning gives the reason.

    Args:
        network: in eval mode.
        inputs: batches.
        forward: calls the network on a batch and returns the judged tensor.
        softness: τ. Above 1, a network that is very certain on these inputs still has a curvature.
        seed: of ε.
        likelihood: of the outputs; None: logits if they are ``[B, C > 1]``, else quantities with the squared error.
        shelf: stores the sums and the result; by default a new one.
    """
    if not inputs or not length(inputs[0]):
        return {}

    kept = Shelf() if shelf is None else shelf

    def measure(given: Sequence[Any]) -> Mapping[str, Curvature]:
        run = Run(network, forward, softness, torch.Generator().manual_seed(seed), likelihood)
        with (
            _Learning(network),
            torch.backends.cudnn.flags(enabled=False),
        ):  # cuDNN's recurrent cells have gradients in training mode only
            return _measure(run, given, kept)

    try:
        try:
            with in_float32(network) as changed:
                return measure([mapped(x, _refined) for x in inputs] if changed else inputs)
        except (NoGradientError, TypeError):
            if not any(p.dtype in COARSE for p in network.parameters()):
                raise
            return measure(inputs)  # the forward needs the original type
    except NoGradientError as error:
        warnings.warn(
            f"the sensitivity of the network to its weights cannot be measured: {printable(str(error))}; all tensors "
            "are assumed to be equally sensitive",
            SzilardWarning,
            stacklevel=2,
        )
        return {}


def _measure(run: Run, inputs: Sequence[Any], shelf: Shelf) -> Mapping[str, Curvature]:
    plan = make_plan(run, rows(inputs[0], slice(0, LOOK)))
    give_back(run.network)  # the gradients of all tensors
    run.generator.manual_seed(run.generator.initial_seed())  # random numbers must not depend on the plan
    batches, draws = list(inputs), 1
    if plan.samples:
        total = sum(map(length, inputs))
        size = max(1, min(MOST, total // SAMPLES))
        batches = [part for x in inputs for part in split(x, size)]
    if plan.squares:
        draws = math.ceil((SAMPLES if plan.samples else FEW) / len(batches))
    generator = run.generator
    hooked = {name: Hooked(layer, generator, shelf) for name, layer in plan.hooked.items()}
    count = len(batches) * draws
    squares = {
        name: Squares(
            p.shape, groups=_groups(run.network, name), samples=count, full=name not in plan.moments
        )
        for name, p in plan.squares.items()
    }
    lost = dict.fromkeys(squares, 0)
    examples = 0
    handles = [layer.register_forward_hook(hooked[name].see) for name, layer in plan.hooked.items()]
    try:
        for x in batches:
            examples += length(x)
            for found in run.backward(x, [*plan.squares.values(), *plan.driving], draws):
                bad = []
                for i, (name, one) in enumerate(squares.items()):
                    grad, found[i] = found[i], None  # the gradients of a network are as large as it is
                    if grad is not None and not _is_finite(grad):
                        bad.append(name)
                    else:
                        one.see(grad)
                if bad:
                    for handle in handles:
                        handle.remove()
                    again = _without_bad(run, x, {name: plan.squares[name] for name in bad}, lost, 1 / draws)
                    for name, g in again.items():
                        squares[name].see(g)
                    handles = [
                        layer.register_forward_hook(hooked[name].see) for name, layer in plan.hooked.items()
                    ]
    finally:
        for handle in handles:
            handle.remove()
    return _means(plan, hooked, squares, lost, examples, draws, Part(shelf))


def _means(
    plan: Plan,
    hooked: dict[str, Hooked],
    squares: dict[str, Squares],
    lost: dict[str, int],
    examples: int,
    draws: int,
    found: Part,
) -> Mapping[str, Curvature]:
    for layer, one in hooked.items():
        name = f"{layer}.weight" if layer else "weight"
        if name in squares:
            curvature = squares[name].mean(examples, one.moments())
        else:
            curvature = one.mean(examples)
            lost[name] = int(one.bad)
        if curvature is not None and bool((curvature.outputs > 0).any()):
            found[name] = curvature
            bias = f"{layer}.bias" if layer else "bias"
            if plan.hooked[layer].bias is not None and bias not in squares:
                found[bias] = Curvature(
                    torch.ones(1, 1, dtype=torch.float64), curvature.offset, curvature.offset
                )
    for name, sums in squares.items():
        if name not in found and (curvature := sums.mean(examples)) is not None:
            found[name] = curvature
    names = [name for name, n in lost.items() if n > MANY * examples * draws]
    if names:
        shown = ", ".join(printable(name) for name in names[:3])
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        warnings.warn(
            f"{shown}{more}: gradients are NaN or infinite for {100 * max(lost.values()) / (examples * draws):.0f} % "
            "of the calibration examples, so the sensitivity of these tensors is measured on the others only",
            SzilardWarning,
            stacklevel=2,
        )
    return found


def _without_bad(
    run: Run, x: Any, wanted: dict[str, nn.Parameter], lost: dict[str, int], share: float
) -> dict[str, Tensor]:
    """Gradients of the examples of a batch that have finite ones; counts the others."""
    total = {name: torch.zeros_like(p) for name, p in wanted.items()}
    waiting = [(x, list(wanted))]
    while waiting:
        part, names = waiting.pop()
        found = next(run.backward(part, [wanted[name] for name in names]))
        bad = []
        for name, g in zip(names, found, strict=True):
            if g is not None and not _is_finite(g):
                bad.append(name)
            elif g is not None:
                total[name] += math.sqrt(share) * (g if g.layout is torch.strided else g.to_dense())
        halves = split(part, max(1, (length(part) + 1) // 2))
        if bad and len(halves) > 1:
            waiting += [(half, bad) for half in halves]
        else:
            for name in bad:
                lost[name] += length(part)
    return total


class _Learning:
    """Let every parameter have a gradient inside the block, including the vectors of padding."""

    def __init__(self, network: nn.Module) -> None:
        self.wanted = {p: p.requires_grad for p in network.parameters() if p.is_floating_point()}
        self.padding = {
            module: module.padding_idx for module in network.modules() if isinstance(module, nn.Embedding)
        }

    def __enter__(self) -> None:
        for p in self.wanted:
            p.requires_grad_(True)
        for module in self.padding:
            module.padding_idx = None  # changes gradients only

    def __exit__(self, *_: object) -> None:
        for p, was in self.wanted.items():
            p.requires_grad_(was)
            p.grad = None
        for module, index in self.padding.items():
            module.padding_idx = index


def _groups(network: nn.Module, name: str) -> int:
    """Number of parts of a matrix with separate inputs: 3 for queries, keys and values of attention, else 1."""
    leaf = name.rpartition(".")[2]
    return 3 if leaf == "in_proj_weight" and isinstance(owner(network, name), nn.MultiheadAttention) else 1


def _refined(t: Tensor) -> Tensor:
    return t.float() if t.dtype in COARSE else t


def _is_finite(t: Tensor) -> bool:
    return all_finite(t if t.layout is torch.strided else t.coalesce().values())
