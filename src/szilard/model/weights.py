"""Stored tensors into a network: names, shapes and types are compared before anything is made."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from szilard import bayes, networks
from szilard.file.error import SzilardFileError
from szilard.methods import Method
from szilard.model import checkpoint, stored
from szilard.model.fitting import COUNTER, Fitted, fit
from szilard.model.stored import Stored
from szilard.sparse.pattern import UNSTRUCTURED

_PARALLEL = "module."
_MOST_INDEX = 1024  # entries of an index that a stored entry may lead to
_FREE_INDEX = 1 << 20


def state_of(path: Path, state: Any) -> dict[str, Tensor]:
    """A state dict that was read from ``path``, without the ``module.`` that nn.DataParallel puts before every name.

    Raises:
        SzilardFileError: it is none.
    """
    if (
        not isinstance(state, dict)
        or not all(isinstance(value, Tensor) for value in state.values())
        or not all(isinstance(name, str) for name in state)
    ):
        raise SzilardFileError(f"{path} holds no state dict of tensors; save network.state_dict()")
    for name, value in state.items():
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise SzilardFileError(
                f"{path} holds {name[:80]!r} as a sparse, quantized or meta tensor; make it dense"
            )
    if state and all(name.startswith(_PARALLEL) for name in state):
        state = {name.removeprefix(_PARALLEL): value for name, value in state.items()}
    return dict(state)


def load_state(path: Path, network: nn.Module, state: Any, key: str | None = None) -> Fitted:
    """Load the weights that were read from ``path``, all of them or nothing; batch counters may be missing.

    The weights may lie in a checkpoint and under a prefix, see :mod:`szilard.model.fitting`. Weights that the
    network computes from others, as under weight norm, and that the file holds as ordinary ones, as after compression,
    become ordinary ones.

    Args:
        state: a state dict or checkpoint, or what :func:`szilard.model.stored.read` gave.
        key: the group of tensors to take, or a prefix in it, where several fit.

    Returns:
        what was found, and how.

    Raises:
        SzilardFileError: names, shapes or types do not match the network's.
    """
    found = state if isinstance(state, Stored) else stored.of(path, state)
    if network.state_dict() and not any(found.groups.values()):
        raise SzilardFileError(
            f"{path} holds an empty state dict; write it again with torch.save(network.state_dict(), ...)"
        )
    for name, value in network.state_dict().items():
        if is_lazy(value):
            raise SzilardFileError(
                f"{name} of the network has no shape yet; let the function that builds it call it once on a batch"
            )
    computed = networks.computed(network)
    try:
        fitted = fit(found, network.state_dict(), key, _spare(network))
    except SzilardFileError:
        names = {name for name in computed if found.has(name)}
        if not names:
            raise
        networks.make_plain(network, names)
        fitted = fit(found, network.state_dict(), key, _spare(network))
    wanted = network.state_dict()
    counters = {name: value for name, value in wanted.items() if name.endswith(COUNTER)}
    full = counters | fitted.state
    _compare(path, full, wanted)
    network.load_state_dict(full)
    return fitted


def _spare(network: nn.Module) -> dict[str, Tensor]:
    """Buffers that are not part of the state dict."""
    stored_names = network.state_dict().keys()
    return {name: value for name, value in network.named_buffers() if name not in stored_names}


def fill(path: Path, method: Method, network: nn.Module, state: Any) -> None:
    """Give the outline of a prepared network, on the meta device, the tensors that were read from ``path``.

    Nothing is made that is much larger than the stored tensors, whatever sizes the outline has.

    Raises:
        SzilardFileError: names, shapes or types do not match the network's.
    """
    state = state_of(path, state)
    stored = sum(value.numel() for value in state.values())
    for name, module in network.named_modules():
        if isinstance(module, bayes.Weight):
            _take_support(path, name, module, state, stored)
    method.match_supports(network, state)
    wanted = network.state_dict()
    missing = [name for name in wanted if name.endswith(COUNTER) and name not in state]
    state |= {name: torch.zeros(wanted[name].shape, dtype=wanted[name].dtype) for name in missing}
    _compare(path, state, wanted)
    own = {name: state[name].to(value.dtype, copy=True).contiguous() for name, value in wanted.items()}
    network.load_state_dict(own, assign=True)
    left = [
        name for name, tensor in (*network.named_parameters(), *network.named_buffers()) if tensor.is_meta
    ]
    if left:
        raise SzilardFileError(f"{path} does not hold {left[0]}, which its network needs; write it again")


def _take_support(path: Path, name: str, weight: bayes.Weight, state: dict[str, Tensor], stored: int) -> None:
    """See that a stored support suits the outline's; where the number of entries is the file's to say, take it."""
    crow, col = (state.get(f"{name}.support.{part}") for part in ("crow", "col"))
    support = weight.support
    if crow is None or col is None:
        raise SzilardFileError(
            f"{path} is of another network: the support of {name} is missing; name the network it was made with"
        )
    if crow.dim() != 1 or col.dim() != 1 or not (_is_whole(crow) and _is_whole(col)):
        raise SzilardFileError(f"{path} holds no support of {name}: it must be two vectors of whole numbers")
    patterned = support.pattern != UNSTRUCTURED
    index = max(support.cols, support.rows, math.prod(support.shape) // 16 if patterned else 0)
    if len(crow) != support.rows + 1 or len(col) > math.prod(support.shape):
        raise SzilardFileError(
            f"{path} is of another network: the support of {name} has {len(crow) - 1} rows and {len(col)} entries, "
            f"and the weight has shape {list(support.shape)}; name the network it was made with"
        )
    if index > _FREE_INDEX + _MOST_INDEX * stored:
        raise SzilardFileError(
            f"{path} describes a weight {name} of shape {list(support.shape)}, far larger than its {stored} numbers "
            "suggest; get the file again from where it came"
        )
    if patterned:
        weight.set_support(type(support).outline(support.shape, len(col), support.pattern))


def _compare(path: Path, state: dict[str, Tensor], wanted: dict[str, Any]) -> None:
    checkpoint.check_shapes(path, state, wanted)
    for name, value in wanted.items():
        if isinstance(value, Tensor) and _kind(state[name]) != _kind(value):
            raise SzilardFileError(
                f"{path} is of another network: {name} holds {state[name].dtype} and must hold {value.dtype}; "
                "name the network it was made with"
            )


def _is_whole(tensor: Tensor) -> bool:
    return _kind(tensor) == "whole"


def _kind(tensor: Tensor) -> str:
    if tensor.dtype == torch.bool:
        return "bool"
    if tensor.is_complex():
        return "complex"
    return "floating" if tensor.is_floating_point() else "whole"
