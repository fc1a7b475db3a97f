"""Load stored tensors into a network: names, shapes and types are checked before anything is allocated."""

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
from szilard.model.matching import COUNTER, Matched, match
from szilard.model.stored import Stored
from szilard.sparse.pattern import UNSTRUCTURED

_PARALLEL = "module."
_MOST_INDEX = 1024  # entries of an index per stored entry
_FREE_INDEX = 1 << 20


def state_of(path: Path, state: Any) -> dict[str, Tensor]:
    """A state dict that was read from ``path``, without the prefix ``module.`` of nn.DataParallel.

    Raises:
        SzilardFileError: it is not a state dict of dense tensors.
    """
    if (
        not isinstance(state, dict)
        or not all(isinstance(value, Tensor) for value in state.values())
        or not all(isinstance(name, str) for name in state)
    ):
        raise SzilardFileError(f"{path} has no state dict of tensors; save network.state_dict()")
    for name, value in state.items():
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise SzilardFileError(
                f"{path} has {name[:80]!r} as a sparse, quantized or meta tensor; make it dense"
            )
    if state and all(name.startswith(_PARALLEL) for name in state):
        state = {name.removeprefix(_PARALLEL): value for name, value in state.items()}
    return dict(state)


def load_state(path: Path, network: nn.Module, state: Any, key: str | None = None) -> Matched:
    """Load the weights that were read from ``path``, all or none of them; only batch counters can be missing.

    The weights can be in a checkpoint and under a prefix, see :mod:`szilard.model.matching`. If the network computes a
    weight from others (as with weight norm) and the file has it as an ordinary weight (as after compression), it
    becomes an ordinary weight.

    Args:
        state: a state dict or checkpoint, or the result of :func:`szilard.model.stored.read`.
        key: the group of tensors to take, or a prefix in it, if several match.

    Returns:
        the tensors, and a description of where they were found.

    Raises:
        SzilardFileError: names, shapes or types do not match the network's.
    """
    found = state if isinstance(state, Stored) else stored.of(path, state)
    if network.state_dict() and not any(found.groups.values()):
        raise SzilardFileError(
            f"{path} has an empty state dict; write it again with torch.save(network.state_dict(), ...)"
        )
    for name, value in network.state_dict().items():
        if is_lazy(value):
            raise SzilardFileError(
                f"{name} of the network has no shape yet; run the network on a batch in the function that builds it"
            )
    computed = networks.computed(network)
    try:
        matched = match(found, network.state_dict(), key, _spare(network))
    except SzilardFileError:
        names = {name for name in computed if found.has(name)}
        if not names:
            raise
        networks.make_plain(network, names)
        matched = match(found, network.state_dict(), key, _spare(network))
    wanted = network.state_dict()
    counters = {name: value for name, value in wanted.items() if name.endswith(COUNTER)}
    full = counters | matched.state
    _compare(path, full, wanted)
    network.load_state_dict(full)
    return matched


def _spare(network: nn.Module) -> dict[str, Tensor]:
    """Buffers that are not part of the state dict."""
    stored_names = network.state_dict().keys()
    return {name: value for name, value in network.named_buffers() if name not in stored_names}


def fill(path: Path, method: Method, network: nn.Module, state: Any) -> None:
    """Load the tensors that were read from ``path`` into a prepared network on the meta device.

    Nothing much larger than the stored tensors is allocated, whatever the sizes of the network are.

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
        raise SzilardFileError(f"{path} lacks {left[0]}, which its network needs; write it again")


def _take_support(path: Path, name: str, weight: bayes.Weight, state: dict[str, Tensor], stored: int) -> None:
    """Check a stored support against that of the network; with a pattern, take its number of entries from the file."""
    crow, col = (state.get(f"{name}.support.{part}") for part in ("crow", "col"))
    support = weight.support
    if crow is None or col is None:
        raise SzilardFileError(
            f"{path} is of another network: the support of {name} is missing; give the network that the file was made "
            "with"
        )
    if crow.dim() != 1 or col.dim() != 1 or not (_is_whole(crow) and _is_whole(col)):
        raise SzilardFileError(
            f"{path} has an invalid support of {name}: it must be two vectors of whole numbers; write it again"
        )
    patterned = support.pattern != UNSTRUCTURED
    index = max(support.cols, support.rows, math.prod(support.shape) // 16 if patterned else 0)
    if len(crow) != support.rows + 1 or len(col) > math.prod(support.shape):
        raise SzilardFileError(
            f"{path} is of another network: the support of {name} has {len(crow) - 1} rows and {len(col)} entries, "
            f"and the weight has shape {list(support.shape)}; give the network that the file was made with"
        )
    if index > _FREE_INDEX + _MOST_INDEX * stored:
        raise SzilardFileError(
            f"{path} has a weight {name} of shape {list(support.shape)}, far too large for its {stored} stored "
            "numbers; download or make the file again"
        )
    if patterned:
        weight.set_support(type(support).outline(support.shape, len(col), support.pattern))


def _compare(path: Path, state: dict[str, Tensor], wanted: dict[str, Any]) -> None:
    checkpoint.check_shapes(path, state, wanted)
    for name, value in wanted.items():
        if isinstance(value, Tensor) and _kind(state[name]) != _kind(value):
            raise SzilardFileError(
                f"{path} is of another network: {name} has type {state[name].dtype} and must have {value.dtype}; "
                "give the network that the file was made with"
            )


def _is_whole(tensor: Tensor) -> bool:
    return _kind(tensor) == "whole"


def _kind(tensor: Tensor) -> str:
    if tensor.dtype == torch.bool:
        return "bool"
    if tensor.is_complex():
        return "complex"
    return "floating" if tensor.is_floating_point() else "whole"
