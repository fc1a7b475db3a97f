"""Converts weights that are computed from other tensors to ordinary weights.

``torch.nn.utils.parametrize`` (new weight and spectral norms, users' own), the old ``weight_norm`` and
``spectral_norm`` and ``prune`` compute a weight in every forward pass. In eval mode it is constant and can be stored.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm, SpectralNormLoadStateDictPreHook
from torch.nn.utils.weight_norm import WeightNorm

from szilard.errors import SzilardError


def copied(network: nn.Module, memo: dict[int, object] | None = None) -> nn.Module:
    """A deep copy, also of a network with computed weights that have a gradient, which torch does not copy.

    Args:
        network: it is not changed.
        memo: as in :func:`copy.deepcopy`: replacement of an object, by the object's id.
    """
    memo = {} if memo is None else memo
    for module in network.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    try:
        return copy.deepcopy(network, memo)
    except TypeError as error:  # a lock, an open file
        raise SzilardError(
            f"the network cannot be copied: {error}; remove attributes that are not part of it, such as locks and "
            "open files"
        ) from error


def computed(network: nn.Module) -> list[str]:
    """Names of the tensors that are computed from others, such as "layer.weight"; each once."""
    return list(dict.fromkeys(name for name, _, _, _ in _computed(network)))


@torch.no_grad()
def make_plain(network: nn.Module, names: set[str] | None = None) -> list[str]:
    """Replace computed tensors of a network in eval mode by their values, in place; return their names.

    Args:
        network: in eval mode; it is changed.
        names: only these of :func:`computed`; by default all.
    """
    done: dict[str, None] = {}
    for name, module, leaf, remove in list(_computed(network)):
        if names is None or name in names:
            _own(module, leaf)
            remove(module, leaf)
            done[name] = None
    return list(done)


def is_itself(module: nn.Module, kinds: tuple[type, ...]) -> bool:
    """Whether a module is an instance of exactly one of these classes, with that class's behaviour.

    It is no subclass, which can have another forward; it has no hooks on its forward pass, no forward set on the
    instance, and no tensor that is computed from others.
    """
    return (
        type(module) in kinds
        and not module._forward_hooks
        and not module._forward_pre_hooks
        and "forward" not in vars(module)
        and not parametrize.is_parametrized(module)
    )


Remove = Callable[[nn.Module, str], object]


def _computed(network: nn.Module) -> Iterator[tuple[str, nn.Module, str, Remove]]:
    """Each computed tensor: its name, the owning module, its name there, and a function that makes it an ordinary
    tensor. If a tensor is computed in several steps, the last one comes first."""
    for path, module in network.named_modules():
        found: list[tuple[str, Remove]] = []
        for hook in reversed(list(module._forward_pre_hooks.values())):
            leaf = getattr(hook, "_tensor_name", None) or getattr(hook, "name", None)
            for kind, remove in _OLD.items():
                if isinstance(hook, kind) and isinstance(leaf, str):
                    found.append((leaf, remove))
        if parametrize.is_parametrized(module):
            found += [(leaf, _remove_parametrizations) for leaf in _parametrizations(module)]
        for leaf, remove in found:
            yield f"{path}.{leaf}" if path else leaf, module, leaf, remove


def _remove_spectral_norm(module: nn.Module, leaf: str) -> None:
    remove_spectral_norm(module, leaf)
    hooks = module._load_state_dict_pre_hooks
    for key, hook in list(hooks.items()):  # torch searches for the hook, but not inside its own wrapper
        if isinstance(getattr(hook, "hook", hook), SpectralNormLoadStateDictPreHook):
            del hooks[key]


_OLD: dict[type, Remove] = {
    WeightNorm: remove_weight_norm,
    SpectralNorm: _remove_spectral_norm,
    prune.BasePruningMethod: prune.remove,
}


def _parametrizations(module: nn.Module) -> nn.ModuleDict:
    found = module.parametrizations
    assert isinstance(found, nn.ModuleDict)
    return found


def _remove_parametrizations(module: nn.Module, leaf: str) -> None:
    # The class has a property for each computed tensor, which torch deletes, and copies of a module have one class.
    kind = type(module)
    own = {name: value for name, value in vars(kind).items() if name not in ("__dict__", "__weakref__")}
    module.__class__ = type(kind.__name__, kind.__bases__, own)
    parametrize.remove_parametrizations(module, leaf, leave_parametrized=True)


def _own(module: nn.Module, leaf: str) -> None:
    """Copy the tensors that a weight is computed from: the removal writes into them, and they can be shared."""
    if parametrize.is_parametrized(module, leaf):
        holder: nn.Module = _parametrizations(module)[leaf]
        names = [*holder._parameters, *holder._buffers]
    else:
        holder, names = module, [leaf, f"{leaf}_orig", f"{leaf}_g", f"{leaf}_v"]
    for name in names:
        parameter, buffer = holder._parameters.get(name), holder._buffers.get(name)
        if parameter is not None:
            holder._parameters[name] = nn.Parameter(parameter.detach().clone(), parameter.requires_grad)
        elif buffer is not None:
            holder._buffers[name] = buffer.detach().clone()
