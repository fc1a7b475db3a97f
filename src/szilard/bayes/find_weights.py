"""Find the weights of a network to convert, and those that stay dense without being excluded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import is_lazy

from szilard.bayes import kinds
from szilard.bayes.drawn_weights import CHILD
from szilard.bayes.in_place import unregistered
from szilard.bayes.kinds import How
from szilard.bayes.user_selection import Selection, joined
from szilard.errors import SzilardError

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)


@dataclass(frozen=True, eq=False)
class Found:
    """A module with weights to convert.

    Attributes:
        name: of the module.
        how: how it is converted.
        leaves: names of the weights in the module; empty if the module is replaced.
        tensors: the dense weights.
    """

    name: str
    module: nn.Module
    how: How
    leaves: tuple[str, ...]
    tensors: list[Tensor]


@dataclass(frozen=True, eq=False)
class LeftDense:
    """A weight that was not excluded, but stays dense and without σ."""

    name: str
    numbers: int
    why: str


def find(network: nn.Module, asked: Selection) -> tuple[list[Found], list[LeftDense]]:
    """The modules to convert, in order, and the weights that stay dense without being excluded.

    Frozen weights and excluded ones are in neither list, because the user chose them.

    Raises:
        SzilardError: uninitialised weights; names and patterns that match nothing.
    """
    for name, parameter in network.named_parameters():
        if is_lazy(parameter):
            raise SzilardError(
                f"{name} has no shape yet; call the network once on a batch, and then make it Bayesian"
            )
    asked.check(network)
    shared = _shared_parameters(network) | unregistered(network).keys()
    found: list[Found] = []
    inside: list[str] = []
    scripted: list[str] = []
    for name, module in network.named_modules():
        if _is_inside(name, inside):
            continue
        if _is_scripted(module):
            scripted.append(name)
            inside.append(name)
            continue
        one = _found(name, module, asked, shared, _is_attention_part(network, name))
        if one is not None:
            found.append(one)
            if one.how == "attention":
                inside.append(name)
    taken = {id(parameter) for one in found for parameter in _originals(one)}
    left = [
        LeftDense(path, parameter.numel(), _why(parameter, module, path, id(parameter) in shared, scripted))
        for path, module, leaf, parameter in _parameters(network)
        if id(parameter) not in taken and _is_trained_weight(module, parameter)
        and asked.takes(path.removesuffix(leaf).removesuffix("."), module, leaf)
    ]  # fmt: skip
    return found, left


def all_weights(network: nn.Module) -> int:
    """Number of entries in the trainable matrices of an ordinary network, without normalisation."""
    return sum(p.numel() for _, m, _, p in _parameters(network) if _is_trained_weight(m, p))


def is_first(network: nn.Module, module: nn.Module) -> bool:
    """Whether a module holds the first matrix of a network, including frozen and excluded ones."""
    return next((m is module for _, m, _, p in _parameters(network) if counts_as_weight(m, p)), False)


def _found(
    name: str, module: nn.Module, asked: Selection, shared: set[int], in_attention: bool
) -> Found | None:
    how = kinds.how(module)
    if in_attention and how == "linear":
        how = "drawn"  # the attention around it reads its weight and does not call it
    if how in ("linear", "convolution"):
        weight: Tensor = module.weight  # type: ignore[assignment]
        stored = [f"{joined(name, part)}.mean" for part in ("weight", "layer.weight")]
        if _can_convert(weight, shared, asked, stored) and (
            asked.stored or asked.takes(name, module, "weight")
        ):
            return Found(name, module, how, (), [weight])
        return None
    if how == "attention":
        parts = _projections(module)  # type: ignore[arg-type]
        originals = [p for p in module.parameters() if p.dim() > 1]
        whole = all(
            _can_convert(p, shared, asked, [f"{joined(name, 'query.weight')}.mean"]) for p in originals
        )
        if whole and (asked.stored or (asked.takes(name, module) and _whole(name, module, asked))):
            return Found(name, module, how, (), parts)
        if asked.stored and any(one.startswith(f"{joined(name, 'query.')}") for one in asked.stored):
            return None
    known = kinds.matrices(module)
    leaves = tuple(
        leaf
        for leaf, parameter in module._parameters.items()
        if parameter is not None
        and parameter.dim() > 1
        and parameter.is_floating_point()
        and _can_convert(parameter, shared, asked, [f"{joined(name, f'{CHILD}.{leaf}')}.mean"])
        and (
            asked.stored
            or (asked.takes(name, module, leaf) if leaf in known else asked.takes_bare(name, module, leaf))
        )
    )
    if not leaves or CHILD in module._modules:
        return None
    return Found(name, module, "drawn", leaves, [module._parameters[leaf] for leaf in leaves])  # type: ignore[misc]


def _whole(name: str, attention: nn.Module, asked: Selection) -> bool:
    """Whether all weights of an attention are selected, and not only some."""
    out = asked.takes(joined(name, "out_proj"), attention.out_proj, "weight")  # type: ignore[arg-type]
    return out and all(asked.takes(name, attention, leaf) for leaf in kinds.matrices(attention))


def _can_convert(parameter: Tensor, shared: set[int], asked: Selection, stored: list[str]) -> bool:
    """Whether a weight can be converted: tied, frozen and complex ones cannot."""
    if id(parameter) in shared or parameter.is_complex():
        return False
    if asked.stored:
        return any(name in asked.stored for name in stored)
    return parameter.requires_grad or asked.frozen


def counts_as_weight(module: nn.Module, parameter: Tensor) -> bool:
    """Whether a parameter has two or more axes and does not belong to a normalisation layer."""
    numbers = parameter.is_floating_point() or parameter.is_complex()
    return parameter.dim() > 1 and numbers and not isinstance(module, _NORMS)


def _is_trained_weight(module: nn.Module, parameter: Tensor) -> bool:
    return counts_as_weight(module, parameter) and parameter.requires_grad


def _parameters(network: nn.Module) -> Iterator[tuple[str, nn.Module, str, Tensor]]:
    """(name, owner, name in the owner, parameter), each parameter once."""
    seen: dict[int, Tensor] = {}  # keeps them alive: a scripted module makes them at each access
    for name, module in network.named_modules():
        for leaf, parameter in module._parameters.items():
            if parameter is not None and id(parameter) not in seen:
                seen[id(parameter)] = parameter
                yield joined(name, leaf), module, leaf, parameter


def _originals(one: Found) -> list[Tensor]:
    if one.how == "attention":
        return [p for p in one.module.parameters() if p.dim() > 1]
    return one.tensors


def _shared_parameters(network: nn.Module) -> set[int]:
    """Ids of the parameters that are used in several places."""
    seen: dict[int, Tensor] = {}
    shared: set[int] = set()
    for module in network.modules():
        for parameter in module._parameters.values():
            if parameter is None:
                continue
            if id(parameter) in seen:
                shared.add(id(parameter))
            seen[id(parameter)] = parameter
    return shared


def _projections(attention: nn.MultiheadAttention) -> list[Tensor]:
    if attention.in_proj_weight is not None:
        first = list(attention.in_proj_weight.chunk(3))
    else:
        first = [attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight]
    return [*first, attention.out_proj.weight]


def _why(parameter: Tensor, module: nn.Module, path: str, shared: bool, scripted: list[str]) -> str:
    if parameter.is_complex():
        return "complex numbers"
    if shared:
        return "used in two places"
    if _is_inside(path, scripted) or "" in scripted:
        return "scripted"
    if "parametrizations" in path.split(".") or module._forward_pre_hooks:
        return "under a parametrization"
    return "a matrix of no known layer"


def _is_scripted(module: nn.Module) -> bool:
    return isinstance(module, torch.jit.ScriptModule)


def _is_attention_part(network: nn.Module, name: str) -> bool:
    around, _, _ = name.rpartition(".")
    return bool(name) and isinstance(network.get_submodule(around), nn.MultiheadAttention)


def _is_inside(name: str, around: list[str]) -> bool:
    return any(not one or name == one or name.startswith(f"{one}.") for one in around)
