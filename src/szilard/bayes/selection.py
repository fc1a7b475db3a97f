"""Which weights of a network are converted: by pattern or predicate, and by what the network allows."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import is_lazy

from szilard.bayes import kinds
from szilard.bayes.drawn import CHILD
from szilard.bayes.kinds import How
from szilard.errors import SzilardError

#: A pattern as of :mod:`fnmatch` for names of modules, several, or a predicate of (name, module).
Choice = str | Collection[str] | Callable[[str, nn.Module], bool] | None

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)


@dataclass(frozen=True, eq=False)
class Found:
    """A module with weights to convert.

    Attributes:
        name: of the module.
        how: it is converted.
        leaves: names of the weights in the module; empty where the module becomes another one.
        tensors: the dense weights.
    """

    name: str
    module: nn.Module
    how: How
    leaves: tuple[str, ...]
    tensors: list[Tensor]


@dataclass(frozen=True, eq=False)
class Left:
    """A weight that was not excluded, and stays dense and without σ all the same."""

    name: str
    numbers: int
    why: str


@dataclass(eq=False)
class Selection:
    """What the user asked for.

    Attributes:
        only, except_: see :func:`szilard.bayesianize`.
        matrices: names or patterns of bare parameters to convert, too.
        skip: names of modules to leave alone, with all inside.
        stored: names in a file that the network is to be opened from. They say which weights were converted.
        frozen: whether frozen weights are converted, too.
    """

    only: Choice = None
    except_: Choice = None
    matrices: str | Collection[str] = ()
    skip: Collection[str] = ()
    stored: Collection[str] = ()
    frozen: bool = False

    def check(self, network: nn.Module) -> None:
        """Raise :class:`SzilardError` for a name or pattern that nothing in the network has."""
        modules = {name for name, _ in network.named_modules(remove_duplicate=False)}
        parameters = {name for name, _ in network.named_parameters(remove_duplicate=False)}
        for name in self.skip:
            if name not in modules:
                raise SzilardError(f"skip names {name!r}, but the network has no module of that name")
        for what, choice, names in (
            ("only", self.only, modules | parameters),
            ("except_", self.except_, modules | parameters),
            ("matrices", self.matrices, parameters),
        ):
            for pattern in _patterns(what, choice):
                if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
                    near = difflib.get_close_matches(pattern, sorted(names), 1)
                    hint = f"; did you mean {near[0]!r}?" if near else "; look at network.named_modules()"
                    raise SzilardError(
                        f"{what} names {pattern!r}, which matches nothing in the network{hint}"
                    )

    def takes(self, name: str, module: nn.Module, leaf: str = "") -> bool:
        """Whether a weight of a module is asked for."""
        path = _joined(name, leaf)
        if any(name == one or name.startswith(f"{one}.") for one in self.skip if one):
            return False
        if _says("except_", self.except_, name, module) or (leaf and _matches(self.except_, [path])):
            return False
        if self.only is None or _says("only", self.only, name, module):
            return True
        return bool(leaf) and _matches(self.only, [path])

    def takes_bare(self, name: str, module: nn.Module, leaf: str) -> bool:
        """Whether a bare parameter is asked for by its own name, and not only with all that is around it."""
        if not self.takes(name, module, leaf) and not _matches(self.matrices, [_joined(name, leaf)]):
            return False
        if _says("except_", self.except_, name, module) or _matches(self.except_, [_joined(name, leaf)]):
            return False
        if _matches(self.matrices, [_joined(name, leaf)]):
            return True
        own = [p for p in _patterns("only", self.only) if not _matches(p, _within(name))]
        return _matches(own, [_joined(name, leaf)])


def find(network: nn.Module, asked: Selection) -> tuple[list[Found], list[Left]]:
    """What is to be converted, in the order of the modules, and what stays dense though nobody asked for that.

    Frozen weights and excluded ones are in neither list: they stay as they are because the user says so.

    Raises:
        SzilardError: weights without a shape; names and patterns that match nothing.
    """
    for name, parameter in network.named_parameters():
        if is_lazy(parameter):
            raise SzilardError(
                f"{name} has no shape yet; call the network once on a batch, and then make it Bayesian"
            )
    asked.check(network)
    shared = _shared_parameters(network)
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
        Left(path, parameter.numel(), _why(module, leaf, path, id(parameter) in shared, scripted))
        for path, module, leaf, parameter in _owned(network)
        if id(parameter) not in taken and _counts(parameter) and not isinstance(module, _NORMS)
        and asked.takes(path.removesuffix(leaf).removesuffix("."), module, leaf)
    ]  # fmt: skip
    return found, left


def all_weights(network: nn.Module) -> int:
    """Numbers in the trainable matrices of an ordinary network; norms are none."""
    return sum(p.numel() for _, m, _, p in _owned(network) if _counts(p) and not isinstance(m, _NORMS))


def _found(
    name: str, module: nn.Module, asked: Selection, shared: set[int], in_attention: bool
) -> Found | None:
    how = kinds.how(module)
    if in_attention and how == "linear":
        how = "drawn"  # the attention around it reads its weight, and does not call it
    if how in ("linear", "convolution"):
        weight: Tensor = module.weight  # type: ignore[assignment]
        stored = [f"{_joined(name, part)}.mean" for part in ("weight", "layer.weight")]
        if _is_free(weight, shared, asked, stored) and (asked.stored or asked.takes(name, module, "weight")):
            return Found(name, module, how, (), [weight])
        return None
    if how == "attention":
        parts = _projections(module)  # type: ignore[arg-type]
        originals = [p for p in module.parameters() if p.dim() > 1]
        whole = all(_is_free(p, shared, asked, [f"{_joined(name, 'query.weight')}.mean"]) for p in originals)
        if whole and (asked.stored or asked.takes(name, module)):
            return Found(name, module, how, (), parts)
        if asked.stored and any(one.startswith(f"{_joined(name, 'query.')}") for one in asked.stored):
            return None
    known = kinds.matrices(module)
    leaves = tuple(
        leaf
        for leaf, parameter in module._parameters.items()
        if parameter is not None
        and parameter.dim() > 1
        and parameter.is_floating_point()
        and _is_free(parameter, shared, asked, [f"{_joined(name, f'{CHILD}.{leaf}')}.mean"])
        and (
            asked.stored
            or (asked.takes(name, module, leaf) if leaf in known else asked.takes_bare(name, module, leaf))
        )
    )
    if not leaves or CHILD in module._modules:
        return None
    return Found(name, module, "drawn", leaves, [module._parameters[leaf] for leaf in leaves])  # type: ignore[misc]


def _is_free(parameter: Tensor, shared: set[int], asked: Selection, stored: list[str]) -> bool:
    """Whether a weight may be converted: a tied one must stay one tensor, a frozen one as it is."""
    if id(parameter) in shared:
        return False
    if asked.stored:
        return any(name in asked.stored for name in stored)
    return parameter.requires_grad or asked.frozen


def _counts(parameter: Tensor) -> bool:
    return parameter.dim() > 1 and parameter.is_floating_point() and parameter.requires_grad


def _owned(network: nn.Module) -> Iterator[tuple[str, nn.Module, str, Tensor]]:
    """(name, owner, name there, parameter), each parameter once."""
    seen: dict[int, Tensor] = {}  # keeps them alive: a scripted module makes them when it is asked
    for name, module in network.named_modules():
        for leaf, parameter in module._parameters.items():
            if parameter is not None and id(parameter) not in seen:
                seen[id(parameter)] = parameter
                yield _joined(name, leaf), module, leaf, parameter


def _originals(one: Found) -> list[Tensor]:
    if one.how == "attention":
        return [p for p in one.module.parameters() if p.dim() > 1]
    return one.tensors


def _shared_parameters(network: nn.Module) -> set[int]:
    """Ids of the parameters that stand in several places."""
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


def _why(module: nn.Module, leaf: str, path: str, shared: bool, scripted: list[str]) -> str:
    if shared:
        return "tied to another layer"
    if _is_inside(path, scripted) or "" in scripted:
        return "scripted"
    if "parametrizations" in path.split(".") or module._forward_pre_hooks:
        return "under a parametrization"
    return "a matrix of no layer"


def _is_scripted(module: nn.Module) -> bool:
    return isinstance(module, torch.jit.ScriptModule)


def _is_attention_part(network: nn.Module, name: str) -> bool:
    around, _, _ = name.rpartition(".")
    return bool(name) and isinstance(network.get_submodule(around), nn.MultiheadAttention)


def _is_inside(name: str, around: list[str]) -> bool:
    return any(not one or name == one or name.startswith(f"{one}.") for one in around)


def _joined(name: str, leaf: str) -> str:
    return f"{name}.{leaf}" if name and leaf else name or leaf


def _within(name: str) -> list[str]:
    """A name and those of the modules around it, without the root's unless it is the root."""
    parts = name.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]


def _says(what: str, choice: Choice, name: str, module: nn.Module) -> bool:
    if choice is None:
        return False
    if callable(choice):
        return bool(choice(name, module))
    return _matches(_patterns(what, choice), _within(name))


def _matches(choice: Choice, names: list[str]) -> bool:
    if choice is None or callable(choice):
        return False
    patterns = [choice] if isinstance(choice, str) else choice
    return any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in patterns)


def _patterns(what: str, choice: Choice) -> list[str]:
    if choice is None or callable(choice):
        return []
    patterns = [choice] if isinstance(choice, str) else list(choice)
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise SzilardError(
                f"{what} must be a pattern such as 'encoder.*', a list of patterns or a function of (name, module), "
                f"not {pattern!r}"
            )
    return patterns
