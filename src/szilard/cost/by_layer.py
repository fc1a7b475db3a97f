"""Which layers of a network take the time: each is run alone on the inputs that it gets inside the network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from szilard.cost.clock import Clock
from szilard.cost.inputs import Inputs, runner
from szilard.cost.latency import Latency, latencies
from szilard.cost.runtime import plain_pytorch
from szilard.errors import SzilardError

_TURN = 0.005  # seconds: networks have hundreds of layers


@dataclass(frozen=True)
class LayerTime:
    """One layer.

    Attributes:
        name: of the module in the network; empty for the network itself.
        kind: name of its class.
        calls: how often the network calls it in one inference.
        seconds: median wall-clock seconds of all these calls together, each run alone.
    """

    name: str
    kind: str
    calls: int
    seconds: float


@dataclass(frozen=True)
class LayerTimes:
    """The layers of a network beside the network itself.

    Attributes:
        layers: in the order in which the network calls them first.
        network: latency of the whole network, measured in the same rounds.
    """

    layers: tuple[LayerTime, ...]
    network: Latency

    @property
    def total(self) -> float:
        """Sum over the layers, seconds."""
        return sum(layer.seconds for layer in self.layers)

    @property
    def error(self) -> float:
        """The sum minus the network's own time, seconds.

        It is negative if the network spends time between its layers, and positive if layers run slower alone: their
        inputs are copies, which other layers have moved out of the cache.
        """
        return self.total - self.network.median


@dataclass(frozen=True)
class _Call:
    """One call of a module inside the network."""

    name: str
    module: nn.Module
    run: Callable[[], object]


def by_layer(
    network: nn.Module,
    inputs: Inputs,
    *,
    batch: int = 1,
    threads: int | None = None,
    budget: float = 2.0,
    noisy: bool = False,
    clock: Clock | None = None,
    reference: Callable[[], object] | None = None,
) -> LayerTimes:
    """Seconds of each layer of a network in one inference, measured in turn with the whole network.

    A layer is a module that calls no other module, such as ``nn.Conv2d``; ``nn.MultiheadAttention`` is one, because it
    uses the weights of its parts without calling them. Work between layers belongs to none of them. The network runs in
    eval mode, without gradients; it is not changed.

    Args:
        network: any ``nn.Module`` without TorchScript.
        inputs: as in :func:`szilard.cost.count`.
        batch: number of examples in one inference.
        threads, budget, noisy, clock, reference: as in :func:`szilard.cost.latency.latencies`.

    Raises:
        SzilardError: the network does not run on these inputs, its layers cannot be observed, or the machine is too
            noisy now.
    """
    if any(isinstance(module, torch.jit.ScriptModule) for module in network.modules()):
        raise SzilardError("layers of TorchScript cannot be observed; give the network as a plain nn.Module")
    whole = plain_pytorch(network, inputs, batch=batch)
    calls = _calls(copy.deepcopy(network).eval(), inputs, batch)
    found = latencies(
        {"network": whole.run} | {f"layer {number}": call.run for number, call in enumerate(calls)},
        threads=threads, budget=budget, turn=_TURN, waits=whole.waits, noisy=noisy, clock=clock,
        reference=reference,
    )  # fmt: skip
    layers: dict[str, LayerTime] = {}
    for number, call in enumerate(calls):
        before = layers.get(call.name)
        layers[call.name] = LayerTime(
            call.name,
            type(call.module).__name__,
            1 + (before.calls if before else 0),
            found[f"layer {number}"].median + (before.seconds if before else 0.0),
        )
    return LayerTimes(tuple(layers.values()), found["network"])


def _calls(network: nn.Module, inputs: Inputs, batch: int) -> list[_Call]:
    """The calls of modules that call no other module, with copies of their inputs."""
    run = runner(network, inputs, batch)  # before the hooks are there: it tries inputs
    found: list[_Call] = []
    running: list[bool] = []  # for each module that is running: whether it has called another one
    held: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if running:
            running[-1] = True
        running.append(False)
        held.append((_copied(args), _copied(kwargs)))  # now, because a layer can work in place

    def after(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            given = held.pop()
            if not running.pop():
                found.append(_Call(name, module, _alone(module, *given)))

        return hook

    handles = []
    for name, module in network.named_modules():
        handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(module.register_forward_hook(after(name), with_kwargs=True))
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return found


def _alone(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], object]:
    on_gpu = any(tensor.is_cuda for tensor in module.parameters()) or _any_on_gpu((args, kwargs))

    def run() -> object:
        with torch.no_grad():
            output = module(*args, **kwargs)
        if on_gpu:
            torch.cuda.synchronize()
        return output

    return run


def _copied(value: Any) -> Any:
    """The value with copies of its tensors, which keep their strides."""
    if isinstance(value, Tensor):
        return value.clone(memory_format=torch.preserve_format)
    if type(value) in (tuple, list):
        return type(value)(_copied(one) for one in value)
    if type(value) is dict:
        return {key: _copied(one) for key, one in value.items()}
    return value


def _any_on_gpu(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.is_cuda
    if isinstance(value, tuple | list):
        return any(map(_any_on_gpu, value))
    return isinstance(value, dict) and any(map(_any_on_gpu, value.values()))
