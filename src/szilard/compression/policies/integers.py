"""A network that computes with the integers of a runtime, in floats, so that it can be judged and trained.

The integers are those of ONNX Runtime after :func:`szilard.deploy.int8.quantise`: weights symmetric with a step for
each output channel, activations asymmetric with one step for each tensor, over the range of the calibration inputs and
zero. A tensor is rounded where it is made, so that all its readers see the same numbers, as in the runtime's graph. A
BatchNorm behind a layer is folded into it by the runtime; it multiplies a row and its step alike, so that the levels
stay the same, and the layer's output is rounded behind the BatchNorm.

The gradient passes through the rounding unchanged (straight-through; Bengio et al. 2013). It is taken inside the
layer's own call, so that it reaches the weight itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from szilard.compression.graph import NORMS, Tracer
from szilard.compression.outputs import call
from szilard.compression.policies.integer_layers import (
    CLASSES,
    PLAIN,
    IntegerNormReLU,
    Integers,
    Rounding,
    largest_level,
)
from szilard.compression.policies.policy import FLOAT
from szilard.errors import SzilardError, SzilardWarning
from szilard.networks import copied
from szilard.networks.evaluating import evaluating
from szilard.networks.norm import NormReLU

BITS = range(2, 9)
OUTPUT_BITS = 8  # a product of integers leaves the layer with 8 bits, whatever the bits of its factors
_BATCH = 64

Bits = Mapping[str, tuple[int, int]]


def with_integers(
    network: nn.Module, bits: Bits, inputs: Tensor | None, *, joined: bool = True
) -> fx.GraphModule:
    """A copy in which layers compute with integers; its parameters stay floats, under the same names.

    Args:
        network: float32, that ``torch.fx`` can trace; it is not changed.
        bits: by name of a layer, bits of its weights and of its inputs: 2 to 8, or 32 for floats.
        inputs: ``[N, ...]``, from which the ranges of activations are taken; None: :func:`recalibrate` or
            :func:`measuring` follows.
        joined: as of :func:`szilard.deploy.int8.quantise`: a ReLU behind a layer is part of its rounding.

    Raises:
        SzilardError: no layer of that name, bits outside of 2 to 8, or a network that cannot be traced.
    """
    made, graph = _traced(network)
    wanted: dict[fx.Node, int] = {}
    for name, (weight_bits, activation_bits) in bits.items():
        for one in (weight_bits, activation_bits):
            if one not in BITS and one != FLOAT:
                raise SzilardError(f"{name} cannot have {one} bits; choose 2 to 8, or 32 for floats")
        if (weight_bits, activation_bits) == (FLOAT, FLOAT):
            continue
        node, layer = _layer(made, graph, name)
        if node is None:
            warnings.warn(
                f"{name} stays in floats: a {type(layer).__name__} that is called more than once, or of a class that "
                "the runtime has no integers for",
                SzilardWarning,
                stacklevel=2,
            )
            continue
        if weight_bits < FLOAT:
            _round_weight(layer, weight_bits, activation_bits)
        if activation_bits < FLOAT:
            given, result = node.args[0], _result(made, node, joined)
            assert isinstance(given, fx.Node)
            wanted[given] = min(activation_bits, wanted.get(given, OUTPUT_BITS))
            norm = _module(made, result)
            if type(norm) is NormReLU and (not joined or len(result.all_input_nodes) > 1):
                _round_inside(norm)
            else:
                wanted.setdefault(result, OUTPUT_BITS)
    for place, count in wanted.items():
        _insert(made, graph, place, count)
    graph.lint()
    made.recompile()
    if inputs is not None:
        recalibrate(made, inputs)
    return made


@torch.no_grad()
def recalibrate(network: nn.Module, inputs: Tensor) -> None:
    """Measure the ranges of activations again, on the network in floats as the runtime's quantiser does.

    Args:
        network: of :func:`with_integers`; it is changed. One without integers stays as it is.
        inputs: ``[N, ...]``.
    """
    if has_integers(network):
        with measuring(network), evaluating(network):
            for x in inputs.split(_BATCH):
                call(network, x)


@contextmanager
def measuring(network: nn.Module) -> Iterator[None]:
    """Measure the ranges of activations in the forwards inside the block, and use them afterwards."""
    roundings = [one for one in network.modules() if isinstance(one, Rounding)]
    parts: list[Any] = [*roundings, *(one for one in network.modules() if isinstance(one, Integers))]
    for rounding in roundings:
        rounding.low = rounding.high = 0.0
    try:
        for part in parts:
            part.measuring = True
        yield
    finally:
        for part in parts:
            part.measuring = False
    for rounding in roundings:
        rounding.freeze()


def without_integers(network: nn.Module) -> nn.Module:
    """A copy with plain layers and the float weights, which a runtime's quantiser takes."""
    made = copied(network)
    for module in made.modules():
        if type(module) in PLAIN:
            module.__class__ = PLAIN[type(module)]
            for name in ("top", "stored", "measuring"):
                vars(module).pop(name, None)
            module._modules.pop("rounding", None)
    if isinstance(made, fx.GraphModule):
        for node in list(made.graph.nodes):
            if node.op == "call_module" and isinstance(made.get_submodule(str(node.target)), Rounding):
                node.replace_all_uses_with(node.args[0])
                made.graph.erase_node(node)
        made.delete_all_unused_submodules()
        made.recompile()
    return made


def has_integers(network: nn.Module) -> bool:
    """Whether a layer or an activation of a network is rounded."""
    return any(isinstance(one, Rounding | Integers) for one in network.modules())


def _traced(network: nn.Module) -> tuple[fx.GraphModule, fx.Graph]:
    base = copied(network)
    if any(p.is_floating_point() and p.dtype is not torch.float32 for p in base.parameters()):
        raise SzilardError("only networks of float32 compute with integers; convert it with .float()")
    try:
        graph = Tracer().trace(base)
    except Exception as error:
        raise SzilardError(
            f"the network cannot be traced, so that its layers stay in floats: {error}; write a forward that "
            "torch.fx traces"
        ) from error
    made = fx.GraphModule(base, graph, type(network).__name__)
    return made, made.graph


def _layer(made: fx.GraphModule, graph: fx.Graph, name: str) -> tuple[fx.Node | None, nn.Module]:
    """The call of a layer, None if it has no integers, and the layer."""
    modules = dict(made.named_modules())
    if name not in modules:
        raise SzilardError(
            f"the network calls no layer {name}; give names of its convolutions and linear layers"
        )
    layer = modules[name]
    nodes = [
        node for node in graph.nodes if node.op == "call_module" and modules.get(str(node.target)) is layer
    ]
    known = type(layer) in CLASSES and getattr(layer, "padding_mode", "zeros") == "zeros"
    return (nodes[0] if known and len(nodes) == 1 else None), layer


def _result(made: fx.GraphModule, node: fx.Node, joined: bool) -> fx.Node:
    """Where the runtime's layer ends: behind the BatchNorm that it folds and, if joined, behind a ReLU.

    A :class:`NormReLU` that adds a shortcut gets a rounding inside, and the node behind the layer's rounding is itself.
    """
    for _ in range(2):
        readers = list(node.users)
        if len(readers) != 1 or not readers[0].args or readers[0].args[0] is not node:
            break
        if not (_folds(made, readers[0]) or (joined and _rectifies(made, readers[0]))):
            break
        node = readers[0]
    return node


def _folds(made: fx.GraphModule, node: fx.Node) -> bool:
    norm = _module(made, node)
    return isinstance(norm, NORMS) and norm.track_running_stats


def _rectifies(made: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_method":
        return str(node.target) in ("relu", "relu_")
    return node.target in (F.relu, torch.relu, torch.relu_) or isinstance(
        _module(made, node), nn.ReLU | nn.ReLU6
    )


def _module(made: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return made.get_submodule(str(node.target)) if node.op == "call_module" else None


def _insert(made: fx.GraphModule, graph: fx.Graph, place: fx.Node, bits: int) -> None:
    """Round the tensor that a node makes, for all of its readers."""
    name = f"rounding_{place.name}"
    made.add_submodule(name, Rounding(bits))
    readers = list(place.users)
    with graph.inserting_after(place):
        rounded = graph.call_module(name, (place,))
    for reader in readers:
        reader.replace_input_with(place, rounded)


def _round_weight(layer: nn.Module, weight_bits: int, activation_bits: int) -> None:
    layer.__class__ = CLASSES[type(layer)]
    assert isinstance(layer, Integers)
    layer.top = largest_level(weight_bits, activation_bits)
    layer.stored, layer.measuring = activation_bits == FLOAT, False


def _round_inside(norm: nn.Module) -> None:
    """Round before the shortcut is added."""
    norm.__class__ = IntegerNormReLU
    norm.rounding = Rounding(OUTPUT_BITS)
