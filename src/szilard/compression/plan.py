"""Choose which tensors are measured by hooks at the inputs of their layer, and which by their gradients.

The choice is made on a few examples: a hook is used if the product of the inputs and gradients that it saw equals the
gradient of the layer's weight. If it does not, the weight is used elsewhere, too, or its layer computes something else.
If a layer is called several times for an example, or its inputs do not begin with one row for each example, A is taken
from the hook, and G from gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from szilard.bayes import Weight
from szilard.compression.batches import length
from szilard.compression.group_norm import ContiguousGroupNorm
from szilard.compression.half_precision import COARSE
from szilard.compression.patches import LAYERS, Layer, product
from szilard.likelihood import Categorical, Gaussian, Likelihood
from szilard.networks import is_itself

AGREE = 1e-3  # relative difference of gradients that counts as equal; more for half precision

Forward = Callable[[nn.Module, Any], Tensor]


@dataclass(eq=False)
class Plan:
    """How each tensor is measured.

    Attributes:
        hooked: layers measured by hooks, by name.
        moments: of these, the weights whose G comes from gradients.
        squares: parameters measured by their gradients, by name.
        driving: further tensors to differentiate by, so that gradients reach every hook.
    """

    hooked: dict[str, Layer] = field(default_factory=dict)
    moments: set[str] = field(default_factory=set)
    squares: dict[str, nn.Parameter] = field(default_factory=dict)
    driving: list[Tensor] = field(default_factory=list)

    @property
    def samples(self) -> bool:
        """Whether a matrix is measured by gradients, for which more samples are needed."""
        return any(p.dim() > 1 for p in self.squares.values())


@dataclass(eq=False)
class Run:
    """How gradients are computed."""

    network: nn.Module
    forward: Forward
    softness: float
    generator: torch.Generator
    likelihood: Likelihood | None

    def backward(self, x: Any, wanted: Sequence[Tensor], draws: int = 1) -> Iterator[list[Tensor | None]]:
        """Gradients of ⟨output, ε⟩ / √draws, one list per draw."""
        try:
            with torch.enable_grad(), ContiguousGroupNorm():
                output = self.forward(self.network, x)
            if not output.requires_grad:
                raise NoGradientError("its output has no gradient with respect to them")
            likelihood = self.likelihood or guessed(output)
            for draw in range(draws):
                direction = likelihood.direction(output.detach(), self.softness, self.generator)
                direction = direction / math.sqrt(draws)
                with torch.enable_grad():
                    # A scalar, because for gradients of other tensors torch imports sympy, which takes 30 MB.
                    total = (output * direction.to(output)).sum()
                found = torch.autograd.grad(total, wanted, retain_graph=draw + 1 < draws, allow_unused=True)
                yield list(found)
        except RuntimeError as error:
            if isinstance(error, NoGradientError):
                raise
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise NoGradientError(reason) from error


class NoGradientError(RuntimeError):
    """The network's output has no gradient."""


def make_plan(run: Run, few: Any) -> Plan:
    """Choose on a few examples; a hook is used if it explains the gradient of the weight."""
    names = {
        id(p): name
        for name, p in run.network.named_parameters()
        if p.is_floating_point()
        and p.numel()
        and p.dim()
        and not isinstance(owner(run.network, name), Weight)
    }
    parameters = {names[id(p)]: p for p in run.network.parameters() if id(p) in names}
    layers = {
        name: module
        for name, module in run.network.named_modules()
        if isinstance(module, LAYERS) and is_itself(module, LAYERS)
    }
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in layers}
    handles = [layer.register_forward_hook(_note(seen[name])) for name, layer in layers.items()]
    # Hooks explain the gradients of their own layers; other gradients, as of an embedding, are not needed.
    own = {id(p) for layer in layers.values() for p in layer.parameters(recurse=False)}
    looked = {name: p for name, p in parameters.items() if id(p) in own} or parameters
    try:
        found = dict(zip(looked, next(run.backward(few, list(looked.values()))), strict=True))
    finally:
        for handle in handles:
            handle.remove()
    plan = Plan()
    explained: set[str] = set()
    gradient: Tensor | None = None
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
    del found, seen, gradient  # free the gradients of all parameters before the next ones are computed
    if plan.hooked:
        plan.driving = _drive(run, few, plan)
    return plan


def _drive(run: Run, few: Any, plan: Plan) -> list[Tensor]:
    """Further tensors to differentiate by, so that gradients reach all hooks."""
    driving: list[Tensor] = []
    for name, layer in plan.hooked.items():
        if layer.bias is not None and name not in plan.moments:
            driving.append(layer.bias)  # costs almost nothing
    wanted = {id(p): p for p in (*plan.squares.values(), *driving)}
    fired: set[str] = set()
    handles = [layer.register_forward_hook(_mark(name, fired)) for name, layer in plan.hooked.items()]
    first = next(iter(plan.hooked.values())).weight
    try:
        next(run.backward(few, list(wanted.values()) or [first]))
    finally:
        for handle in handles:
            handle.remove()
    if not wanted:
        wanted[id(first)] = first
    for name, layer in plan.hooked.items():
        if name not in fired:
            wanted[id(layer.weight)] = layer.weight
    for p in plan.squares.values():
        wanted.pop(id(p), None)
    return list(wanted.values())


def _mark(name: str, fired: set[str]) -> Callable[..., None]:
    def see(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(lambda grad: fired.add(name))

    return see


def _note(calls: list[tuple[Tensor, Tensor]]) -> Callable[..., None]:
    """A hook that stores the input and the output gradient of every call."""

    def see(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        if not isinstance(output, Tensor) or not output.requires_grad:
            return
        x = given[0].detach() if given else None  # None if passed by keyword, which hooks do not receive
        place = len(calls)
        calls.append((torch.empty(0), torch.zeros_like(output)))

        def back(grad: Tensor) -> None:
            if x is not None:
                calls[place] = (x, grad.detach())

        output.register_hook(back)

    return see


def _explains(layer: Layer, calls: list[tuple[Tensor, Tensor]], gradient: Tensor) -> bool:
    """Whether the calls that a hook saw explain the whole gradient of the layer's weight."""
    dims = {nn.Linear: None, nn.Conv1d: 3, nn.Conv2d: 4, nn.Conv3d: 5}[type(layer)]
    total = torch.zeros_like(gradient, dtype=torch.float64)
    for x, grad in calls:
        if x.dim() < 2 or (dims is not None and x.dim() != dims) or not x.numel():
            return False
        total += product(layer, x.double(), grad.double())
    tolerance = AGREE if gradient.dtype not in COARSE else 0.1
    if not bool(torch.isfinite(total).all() and torch.isfinite(gradient).all()):
        return True  # cannot be decided; such examples are dropped later
    size = max(float(total.norm()), float(gradient.double().norm()))
    return float((total - gradient).norm()) <= tolerance * size


def _adds(layer: Layer, grad: Tensor, gradient: Tensor | None) -> bool:
    """Whether the gradient of the bias is the sum of the gradients at the output."""
    if gradient is None:
        return False
    axis = grad.dim() - 1 if isinstance(layer, nn.Linear) else 1
    total = grad.double().sum([d for d in range(grad.dim()) if d != axis])
    if not bool(torch.isfinite(total).all() and torch.isfinite(gradient).all()):
        return True
    size = float(grad.double().abs().sum())
    return float((total - gradient).norm()) <= (AGREE if gradient.dtype not in COARSE else 0.1) * size


def owner(network: nn.Module, name: str) -> nn.Module:
    """The module that has a tensor."""
    module = network
    for part in name.split(".")[:-1]:
        module = getattr(module, part)  # scripted modules have no get_submodule
    return module


def guessed(output: Tensor) -> Likelihood:
    """The assumed likelihood if none is given: logits if outputs are ``[B, C > 1]``, else quantities."""
    return Categorical() if output.dim() == 2 and output.shape[1] > 1 else Gaussian()
