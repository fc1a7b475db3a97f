"""What is timed: a network compiled for each runtime, and plain PyTorch that draws its weights.

Each contestant is a function of a batch. *Full* is the answer with its uncertainties, as :func:`szilard.deploy.compile`
gives it, with its checks. *Bare* is the runtime's forward pass to the network's outputs alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from szilard import bayes, deploy
from szilard.deploy import backends, graph
from szilard.deploy.backends import Job
from szilard.deploy.lowered import as_point
from szilard.deploy.uncertainty import OfClasses, Rule
from szilard.errors import SzilardError

DRAWS = 30
CLASSES = 10
Call = Callable[[Tensor], Any]
Key = tuple[str, str, str]  # runtime, mode, part


class Outputs(Rule):
    """No rule: the network's outputs alone."""

    def of_moments(self, mean: Tensor, variance: Tensor) -> Any:
        return ()

    def of_point(self, output: Tensor) -> Any:
        return ()


def compiled(network: nn.Module, x: Tensor, backend: str, mode: str) -> Call:
    """The full answer of a runtime; draws for the batch size of ``x`` only, else for any."""
    return deploy.compile(
        network, x, backend=backend, mode=mode, samples=DRAWS if mode == "samples" else None
    )


def bare(network: nn.Module, x: Tensor, backend: str, mode: str) -> Call:
    """The forward pass of a runtime, from an input to the network's outputs, in mode "point" or "moments"."""
    kind = {"point": graph.PointGraph, "moments": graph.MomentsGraph}[mode]
    made = kind(network, Outputs())
    made.outputs = ("mean",) if mode == "point" else ("mean", "variance")
    return backends.backend(backend).compile(Job(made, x[:1].contiguous()))


class Sequential:
    """30 coherent draws one after the other in plain PyTorch, and the answer from them.

    Args:
        network: Bayesian; its weights become dense tensors in ordinary layers.
        drawn: whether the weights of all draws are made before, once. They are then the same for every input, and take
            30 times the memory; otherwise each call draws new ones: mean + deviation x noise.
    """

    def __init__(self, network: nn.Module, drawn: bool) -> None:
        self.rule = OfClasses(CLASSES).eval()
        self.networks = [graph.draw(network, 0, number) for number in range(DRAWS)] if drawn else []
        self.plain = as_point(network)
        self.weights: list[tuple[nn.Parameter, Tensor, Tensor]] = []
        ordinary = dict(self.plain.named_modules())
        for name, layer in bayes.bayes_layers(network).items():
            weight = layer.weight
            if weight.log_std is not None:
                target: Any = next(
                    module
                    for module in ordinary[name].modules()
                    if isinstance(getattr(module, "weight", None), Tensor)
                )
                std = weight.support.scatter(weight.log_std.detach().exp())
                self.weights.append((target.weight, target.weight.detach().clone(), std))

    def outputs(self, x: Tensor) -> Tensor:
        """``[S, B, C]``."""
        if self.networks:
            return torch.stack([network(x) for network in self.networks])
        found = []
        for _ in range(DRAWS):
            for weight, mean, std in self.weights:
                weight.data = torch.randn_like(mean).mul_(std).add_(mean)
            found.append(self.plain(x))
        return torch.stack(found)

    def full(self, x: Tensor) -> Any:
        with torch.inference_mode():
            return self.rule.of_draws(self.outputs(x))

    def bare(self, x: Tensor) -> Any:
        with torch.inference_mode():
            return self.outputs(x)


def native_dense(network: nn.Module, x: Tensor, mode: str) -> Call:
    """The native backend with every weight dense: what sparse weights are compared with."""
    from szilard.deploy.native import layers

    before = layers.DENSEST
    layers.DENSEST = -1.0  # every weight is denser
    try:
        return deploy.compile(network, x, backend="native", mode=mode)
    finally:
        layers.DENSEST = before


def contestants(
    network: nn.Module,
    x: Tensor,
    runtimes: dict[str, tuple[str, ...]],
    bare_runtimes: tuple[str, ...],
    before: Mapping[Key, Call] = MappingProxyType({}),
) -> tuple[dict[Key, Call], dict[str, str]]:
    """Everything that is timed on one network and batch size.

    Args:
        network: Bayesian, in eval mode.
        x: a batch.
        runtimes: the modes of each backend.
        bare_runtimes: the backends whose forward pass is also timed alone.
        before: those of another batch size, to take over what is not for one size only.

    Returns:
        functions by (runtime, mode, part), and the reason why a runtime was left out.
    """
    made: dict[Key, Call] = {}
    left: dict[str, str] = {}
    for backend, modes in runtimes.items():
        for mode in modes:
            if mode != "samples" and (backend, mode, "full") in before:
                made |= {key: call for key, call in before.items() if key[:2] == (backend, mode)}
                continue
            try:
                made[backend, mode, "full"] = compiled(network, x, backend, mode)
                if backend in bare_runtimes and mode in ("point", "moments"):
                    made[backend, mode, "bare"] = bare(network, x, backend, mode)
            except SzilardError as error:
                left[f"{backend}, {mode}"] = str(error)
    in_torch = {key: call for key, call in before.items() if key[0] == "PyTorch"}
    if in_torch:
        return made | in_torch, left
    for name, drawn in (("30 draws in turn, weights drawn before", True), ("30 draws in turn", False)):
        sequential = Sequential(network, drawn)
        made["PyTorch", name, "full"], made["PyTorch", name, "bare"] = sequential.full, sequential.bare
    point = as_point(network)

    def plain(x: Tensor) -> Any:
        with torch.inference_mode():
            return point(x)

    made["PyTorch", "point", "bare"] = plain
    return made, left
