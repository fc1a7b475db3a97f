"""Patterns and predicates with which the user selects weights of a network."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable, Collection
from dataclasses import dataclass

from torch import nn

from szilard.errors import SzilardError

#: A pattern (:mod:`fnmatch`) for names of modules, a list of patterns, or a predicate of (name, module).
Choice = str | Collection[str] | Callable[[str, nn.Module], bool] | None


@dataclass(eq=False)
class Selection:
    """The weights that the user selects.

    Attributes:
        only, except_: see :func:`szilard.bayesianize`.
        matrices: names or patterns of bare parameters to convert too.
        skip: names of modules not to convert, with everything inside.
        stored: names of the tensors in the file that the network will be loaded from, which show which weights were
            converted.
        frozen: whether frozen weights are converted too.
    """

    only: Choice = None
    except_: Choice = None
    matrices: str | Collection[str] = ()
    skip: Collection[str] = ()
    stored: Collection[str] = ()
    frozen: bool = False

    def check(self, network: nn.Module) -> None:
        """Raise :class:`SzilardError` for a name or pattern that matches nothing in the network."""
        modules = {name for name, _ in network.named_modules(remove_duplicate=False)}
        parameters = {name for name, _ in network.named_parameters(remove_duplicate=False)}
        for name, parameter in network.named_parameters():
            if parameter.is_complex() and _matches(self.matrices, [name]):
                raise SzilardError(
                    f"matrices names {name!r}, which holds complex numbers and cannot be made Bayesian; leave it out"
                )
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
                    where = "named_parameters" if what == "matrices" else "named_modules"
                    hint = f"; did you mean {near[0]!r}?" if near else f"; look at network.{where}()"
                    raise SzilardError(
                        f"{what} names {pattern!r}, which matches nothing in the network{hint}"
                    )

    def takes(self, name: str, module: nn.Module, leaf: str = "") -> bool:
        """Whether a weight of a module is selected."""
        path = joined(name, leaf)
        if any(name == one or name.startswith(f"{one}.") for one in self.skip if one):
            return False
        if _matches_choice("except_", self.except_, name, module) or (
            leaf and _matches(self.except_, [path])
        ):
            return False
        if self.only is None or _matches_choice("only", self.only, name, module):
            return True
        return bool(leaf) and _matches(self.only, [path])

    def takes_bare(self, name: str, module: nn.Module, leaf: str) -> bool:
        """Whether a bare parameter is selected by its own name, and not only with its module."""
        if not self.takes(name, module, leaf) and not _matches(self.matrices, [joined(name, leaf)]):
            return False
        if _matches_choice("except_", self.except_, name, module) or _matches(
            self.except_, [joined(name, leaf)]
        ):
            return False
        if _matches(self.matrices, [joined(name, leaf)]):
            return True
        own = [p for p in _patterns("only", self.only) if not _matches(p, _within(name))]
        return _matches(own, [joined(name, leaf)])


def joined(name: str, leaf: str) -> str:
    return f"{name}.{leaf}" if name and leaf else name or leaf


def _within(name: str) -> list[str]:
    """A name and those of the modules around it, without the root unless the name is the root."""
    parts = name.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]


def _matches_choice(what: str, choice: Choice, name: str, module: nn.Module) -> bool:
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
    if not isinstance(choice, Collection):
        raise SzilardError(
            f"{what} must be a pattern such as 'encoder.*', a list of patterns or a function of (name, module), "
            f"not {choice!r}"
        )
    patterns = [choice] if isinstance(choice, str) else list(choice)
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise SzilardError(
                f"{what} must be a pattern such as 'encoder.*', a list of patterns or a function of (name, module), "
                f"not {pattern!r}"
            )
    return patterns
