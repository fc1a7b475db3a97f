"""The arguments of a network's forward, from its signature, and calls with several tensors."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from szilard.networks.ensemble import Ensemble


@dataclass(frozen=True)
class Takes:
    """The arguments of a forward.

    Attributes:
        names: names of the positional arguments, in order.
        required: number of positional arguments without a default.
        most: maximum number of positional arguments; infinite with ``*args``.
        keywords: arguments that can be given by name; None: any.
        needs: names of the arguments without a default.
    """

    names: tuple[str, ...]
    required: int
    most: float
    keywords: frozenset[str] | None
    needs: frozenset[str]

    @classmethod
    def of(cls, network: nn.Module) -> Takes | None:
        """The arguments of a network, also inside DataParallel or torch.compile; None if it has no signature."""
        network = _inner(network)
        if isinstance(network, torch.jit.ScriptModule):
            return _scripted(network)
        try:
            parameters = list(inspect.signature(network.forward).parameters.values())
        except (TypeError, ValueError):
            return None
        kinds = inspect.Parameter
        by_place = [p for p in parameters if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
        by_name = [p for p in parameters if p.kind in (kinds.KEYWORD_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
        anything = any(p.kind is kinds.VAR_KEYWORD for p in parameters)
        many = any(p.kind is kinds.VAR_POSITIONAL for p in parameters)
        needed = [p.name for p in parameters if p.default is kinds.empty and p in (*by_place, *by_name)]
        return cls(
            tuple(p.name for p in by_place),
            sum(p.default is kinds.empty for p in by_place),
            math.inf if many else len(by_place),
            None if anything else frozenset(p.name for p in by_name),
            frozenset(needed),
        )

    def knows(self, name: str) -> bool:
        """Whether the forward has an argument of this name."""
        return name in self.names or (self.keywords is not None and name in self.keywords)


def _inner(network: nn.Module) -> nn.Module:
    while True:
        found = getattr(network, "_orig_mod", None)
        if found is None and isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
            found = network.module
        if found is None and isinstance(network, Ensemble):
            found = network.current
        if not isinstance(found, nn.Module):
            return network
        network = found


def _scripted(network: torch.jit.ScriptModule) -> Takes | None:
    try:
        arguments = network.forward.schema.arguments[1:]  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError):
        return None
    names = tuple(one.name for one in arguments)
    needed = [one.name for one in arguments if not one.has_default_value()]
    return Takes(names, len(needed), len(names), frozenset(names), frozenset(needed))


def call(network: nn.Module, x: Any) -> Any:
    """The output for one batch. Several tensors in a tuple, list or dict are passed as separate arguments if the
    forward has that many, else as one argument.

    Args:
        x: a tensor, or a tuple, list or dict.
    """
    if isinstance(x, torch.Tensor):
        return network(x)
    takes = Takes.of(network)
    if takes is not None and isinstance(x, Mapping):
        given = set(x)
        if takes.needs <= given and (takes.keywords is None or given <= takes.keywords):
            return network(**x)
    elif takes is not None and takes.most > 1 and takes.required <= len(x) <= takes.most:
        return network(*x)
    return network(x)
