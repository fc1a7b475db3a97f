"""How much the loss rises when a weight is moved: the Gauss-Newton matrix, the precision of a Laplace posterior.

The expectation over labels is the network's own, not the data's: no labels are needed, and a network that fits its data
perfectly still has a curvature. Of layers whose inputs can be seen, it is measured there (:mod:`szilard.compress.hooked`);
of all other tensors, from their gradients (:mod:`szilard.compress.squares`). Which of both is decided by a look: a hook is
believed if its inputs and its gradients multiply to the gradient of the weight, so that nothing else uses the weight.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from szilard.bayes import Weight
from szilard.compress.batches import length, mapped, rows
from szilard.compress.hooked import Curvature, Hooked
from szilard.compress.patches import LAYERS, Layer, product
from szilard.compress.precise import COARSE, in_float32
from szilard.compress.squares import Squares
from szilard.errors import SzilardWarning, printable
from szilard.likelihood import Categorical, Gaussian, Likelihood
from szilard.networks import is_itself

__all__ = ["Curvature", "Forward", "Layer", "curvatures"]

SAMPLES = 32  # of a gradient, about
MOST = 16  # examples in one of them
LOOK = 3  # examples at which a hook is compared with a gradient
AGREE = 1e-3  # of that gradient, relative; more for half precision
MANY = 0.05  # share of the examples without a gradient, of which a warning tells

Forward = Callable[[nn.Module, Any], Tensor]


@dataclass(eq=False)
class _Plan:
    """What is measured how.

    Attributes:
        hooked: layers that are seen at their inputs, by name.
        moments: of these, the ones whose G comes from gradients.
        squares: parameters whose gradients are wanted, by name.
        driving: further ones, so that gradients reach every hook.
    """

    hooked: dict[str, Layer] = field(default_factory=dict)
    moments: set[str] = field(default_factory=set)
    squares: dict[str, nn.Parameter] = field(default_factory=dict)
    driving: list[Tensor] = field(default_factory=list)

    @property
    def samples(self) -> bool:
        """Whether a matrix depends on how many gradients there are."""
        return any(p.dim() > 1 for p in self.squares.values())


@dataclass(eq=False)
class _Run:
    network: nn.Module
    forward: Forward
    softness: float
    generator: torch.Generator
    likelihood: Likelihood | None

    def backward(self, x: Any, wanted: Sequence[Tensor], draws: int = 1) -> Iterator[list[Tensor | None]]:
        """Gradients of ⟨answer, ε⟩ / √draws, one list a draw."""
        with torch.enable_grad():
            answer = self.forward(self.network, x)
            if not answer.requires_grad:
                raise _NoGradientError("its answer does not depend on them by anything that has a gradient")
            told = self.likelihood or guessed(answer)
            for draw in range(draws):
                direction = told.direction(answer.detach(), self.softness, self.generator) / math.sqrt(draws)
                found = torch.autograd.grad(
                    answer, wanted, direction.to(answer), retain_graph=draw + 1 < draws, allow_unused=True
                )
                yield list(found)


class _NoGradientError(RuntimeError):
    pass


def curvatures(
    network: nn.Module,
    inputs: Sequence[Any],
    forward: Forward,
    *,
    softness: float = 4.0,
    seed: int = 0,
    likelihood: Likelihood | None = None,
) -> dict[str, Curvature]:
    """Curvature of every parameter that the inputs reach, by its name: "0.weight", "rnn.weight_hh_l0", "norm.bias".

    The gradient that is sent back through the network has the covariance of the Gauss-Newton matrix of
    τ² KL(p_τ ‖ ·), with p_τ the network's answer at softmax temperature τ: (diag p - p pᵀ)^½ ε with normal ε. It
    stands for sampled labels, with far less noise where the network is sure. Networks of half precision are measured in
    float32. Where the network has no gradient, nothing is known, and a warning says why.

    Args:
        network: in eval mode.
        inputs: batches.
        softness: τ. Above 1, it counts doubts that a network trained to certainty does not show on such inputs.
        seed: of ε.
        likelihood: of the outputs; None: logits where they are ``[B, C > 1]``, else quantities with the squared error.
    """
    if not inputs or not length(inputs[0]):
        return {}

    def measure(given: Sequence[Any]) -> dict[str, Curvature]:
        run = _Run(network, forward, softness, torch.Generator().manual_seed(seed), likelihood)
        with (
            _learning(network),
            torch.backends.cudnn.flags(enabled=False),
        ):  # its recurrent cells only learn in training
            return _measure(run, given)

    try:
        try:
            with in_float32(network) as changed:
                return measure([mapped(x, _refined) for x in inputs] if changed else inputs)
        except (RuntimeError, TypeError):
            if not any(p.dtype in COARSE for p in network.parameters()):
                raise
            return measure(inputs)  # a forward that insists on a type of its own
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        warnings.warn(
            f"how sensitive the network is to its weights cannot be measured: {printable(reason)}; every tensor is taken "
            "to be as sensitive as others",
            SzilardWarning,
            stacklevel=2,
        )
        return {}


def _measure(run: _Run, inputs: Sequence[Any]) -> dict[str, Curvature]:
    plan = _plan(run, rows(inputs[0], slice(0, LOOK)))
    batches, draws = list(inputs), 1
    if plan.samples:
        total = sum(map(length, inputs))
        size = max(1, min(MOST, total // SAMPLES))
        batches = [rows(x, slice(i, i + size)) for x in inputs for i in range(0, length(x), size)]
        draws = math.ceil(SAMPLES / len(batches))
    generator = run.generator
    hooked = {name: Hooked(layer, generator) for name, layer in plan.hooked.items()}
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
                bad = [
                    name
                    for name, g in zip(squares, found, strict=False)
                    if g is not None and not _is_finite(g)
                ]
                for (name, one), g in zip(squares.items(), found, strict=False):
                    if name not in bad:
                        one.see(torch.zeros_like(plan.squares[name]) if g is None else g)
                del found
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
    return _means(plan, hooked, squares, lost, examples, draws)


def _means(
    plan: _Plan,
    hooked: dict[str, Hooked],
    squares: dict[str, Squares],
    lost: dict[str, int],
    examples: int,
    draws: int,
) -> dict[str, Curvature]:
    found: dict[str, Curvature] = {}
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
            f"{shown}{more}: gradients are NaN or infinite for {100 * max(lost.values()) / (examples * draws):.0f} % of "
            "the calibration examples, and how sensitive these tensors are is told by the others alone",
            SzilardWarning,
            stacklevel=2,
        )
    return found


def _without_bad(
    run: _Run, x: Any, wanted: dict[str, nn.Parameter], lost: dict[str, int], share: float
) -> dict[str, Tensor]:
    """Gradients of those examples of a batch that have finite ones; counts the others."""
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
        half = length(part) // 2
        if bad and half:
            waiting += [(rows(part, slice(0, half)), bad), (rows(part, slice(half, None)), bad)]
        else:
            for name in bad:
                lost[name] += 1
    return total


def _plan(run: _Run, few: Any) -> _Plan:
    """Look at a few examples, and believe the hooks that explain what is seen."""
    names = {
        id(p): name
        for name, p in run.network.named_parameters()
        if p.is_floating_point()
        and p.numel()
        and p.dim()
        and not isinstance(_owner(run.network, name), Weight)
    }
    parameters = {names[id(p)]: p for p in run.network.parameters() if id(p) in names}
    layers = {
        name: module
        for name, module in run.network.named_modules()
        if isinstance(module, LAYERS) and is_itself(module, LAYERS)
    }
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in layers}
    handles = [layer.register_forward_hook(_note(seen[name])) for name, layer in layers.items()]
    every = list(parameters.values())
    try:
        found = dict(zip(parameters, next(run.backward(few, every)), strict=True))
    finally:
        for handle in handles:
            handle.remove()
    plan = _Plan()
    explained: set[str] = set()
    for name, layer in layers.items():
        weight = f"{name}.weight" if name else "weight"
        gradient = found.get(weight)
        if not seen[name] or gradient is None or not _explains(layer, seen[name], gradient):
            continue
        plan.hooked[name] = layer
        if len(seen[name]) == 1 and len(seen[name][0][0]) == length(few):
            explained.add(weight)
            bias = f"{name}.bias" if name else "bias"
            if bias in found and _adds(layer, seen[name][0][1], found[bias]):
                explained.add(bias)
        else:
            plan.moments.add(weight)
    plan.squares = {name: p for name, p in parameters.items() if name not in explained}
    if plan.hooked:
        plan.driving = _drive(run, few, plan)
    return plan


def _drive(run: _Run, few: Any, plan: _Plan) -> list[Tensor]:
    """Further tensors to differentiate by, without which gradients would stop before they reach some hooks."""
    driving: list[Tensor] = []
    for name, layer in plan.hooked.items():
        if layer.bias is not None and name not in plan.moments:
            driving.append(layer.bias)  # costs next to nothing
    wanted = {id(p): p for p in (*plan.squares.values(), *driving)}
    watched = {name: Hooked(layer, run.generator) for name, layer in plan.hooked.items()}
    handles = [layer.register_forward_hook(_mark(watched[name])) for name, layer in plan.hooked.items()]
    first = next(iter(plan.hooked.values())).weight
    try:
        next(run.backward(few, list(wanted.values()) or [first]))
    finally:
        for handle in handles:
            handle.remove()
    if not wanted:
        wanted[id(first)] = first
    for name, one in watched.items():
        if not one.fired:
            weight = plan.hooked[name].weight
            wanted[id(weight)] = weight
    for p in plan.squares.values():
        wanted.pop(id(p), None)
    return list(wanted.values())


def _mark(one: Hooked) -> Callable[..., None]:
    def see(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        def fired(grad: Tensor) -> None:
            one.fired = True

        if output.requires_grad:
            output.register_hook(fired)

    return see


def _note(calls: list[tuple[Tensor, Tensor]]) -> Callable[..., None]:
    """A hook that keeps input and gradient of every call."""

    def see(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        if not isinstance(output, Tensor) or not output.requires_grad:
            return
        x = given[0].detach() if given else None  # or given by name, which hooks are not told
        place = len(calls)
        calls.append((torch.empty(0), torch.zeros_like(output)))

        def back(grad: Tensor) -> None:
            if x is not None:
                calls[place] = (x, grad.detach())

        output.register_hook(back)

    return see


def _explains(layer: Layer, calls: list[tuple[Tensor, Tensor]], gradient: Tensor) -> bool:
    """Whether what a hook saw is all that makes the gradient of the layer's weight."""
    dims = {nn.Linear: None, nn.Conv1d: 3, nn.Conv2d: 4, nn.Conv3d: 5}[type(layer)]
    total = torch.zeros_like(gradient, dtype=torch.float64)
    for x, grad in calls:
        if x.dim() < 2 or (dims is not None and x.dim() != dims) or not x.numel():
            return False
        total += product(layer, x.double(), grad.double())
    tolerance = AGREE if gradient.dtype not in COARSE else 0.1
    if not bool(torch.isfinite(total).all() and torch.isfinite(gradient).all()):
        return True  # nobody can tell; examples are sorted out later
    size = max(float(total.norm()), float(gradient.double().norm()))
    return float((total - gradient).norm()) <= tolerance * size


def _adds(layer: Layer, grad: Tensor, gradient: Tensor | None) -> bool:
    """Whether the gradient of the bias is the sum of those at the output."""
    if gradient is None:
        return False
    axis = grad.dim() - 1 if isinstance(layer, nn.Linear) else 1
    total = grad.double().sum([d for d in range(grad.dim()) if d != axis])
    if not bool(torch.isfinite(total).all() and torch.isfinite(gradient).all()):
        return True
    size = float(grad.double().abs().sum())
    return float((total - gradient).norm()) <= (AGREE if gradient.dtype not in COARSE else 0.1) * size


class _learning:
    """Every parameter has a gradient inside the block."""

    def __init__(self, network: nn.Module) -> None:
        self.wanted = {p: p.requires_grad for p in network.parameters() if p.is_floating_point()}

    def __enter__(self) -> None:
        for p in self.wanted:
            p.requires_grad_(True)

    def __exit__(self, *_: object) -> None:
        for p, was in self.wanted.items():
            p.requires_grad_(was)
            p.grad = None


def _groups(network: nn.Module, name: str) -> int:
    """Parts of a matrix that are multiplied with inputs of their own: queries, keys and values of attention."""
    leaf = name.rpartition(".")[2]
    return 3 if leaf == "in_proj_weight" and isinstance(_owner(network, name), nn.MultiheadAttention) else 1


def _owner(network: nn.Module, name: str) -> nn.Module:
    return network.get_submodule(name.rpartition(".")[0])


def _refined(t: Tensor) -> Tensor:
    return t.float() if t.dtype in COARSE else t


def _is_finite(t: Tensor) -> bool:
    return bool(torch.isfinite(t if t.layout is torch.strided else t.coalesce().values()).all())


def guessed(answer: Tensor) -> Likelihood:
    """What outputs mean where nobody says: logits where they are ``[B, C > 1]``, else quantities."""
    return Categorical() if answer.dim() == 2 and answer.shape[1] > 1 else Gaussian()
