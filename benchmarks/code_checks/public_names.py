"""Public names of the package: whether the documentation shows them, and whether their docstrings are complete."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import itertools
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from code_checks.graph import FLOORS, ROOT, modules
from szilard.signatures import arguments


def packages() -> Iterator[ModuleType]:
    for floor in FLOORS:
        for name in floor:
            yield importlib.import_module(f"szilard.{name}")


def hook() -> ModuleType:
    """The MkDocs hook that fills in lists on the pages."""
    spec = importlib.util.spec_from_file_location("catalogue_hook", ROOT / "docs" / "catalogue_hook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_page() -> list[str]:
    """Public names (of ``__all__`` of every package) that no page of the documentation shows."""
    pages = "\n".join(hook().render(path.read_text()) for path in sorted((ROOT / "docs").rglob("*.md")))
    shown = set(re.findall(r"^::: (\S+)", pages, re.MULTILINE))
    members = {
        name.strip() for group in re.findall(r"members: \[([^\]]*)\]", pages) for name in group.split(",")
    }
    known = modules()
    values = {f"{page}.{name}" for page in shown & set(known) for name in documented_values(known[page])}
    found = []
    for one, name, value in public():
        home = getattr(value, "__module__", None) or one
        pages_of_it = {f"{home}.{name}", f"{one}.{name}", *([home] if inspect.getdoc(value) else ())} & shown
        in_its_module = any(path.startswith(f"{one}.") and path.endswith(f".{name}") for path in values)
        if not (pages_of_it or name in members or in_its_module):
            found.append(f"{one}.{name}")
    return found


def public() -> Iterator[tuple[str, str, Any]]:
    """Package, name and value of all public names, except those of the command line, which --help documents."""
    for one in packages():
        for name in getattr(one, "__all__", ()):
            value = getattr(one, name)
            if one.__name__ != "szilard.cli" and not isinstance(value, ModuleType):
                yield one.__name__, name, value


def documented_values(path: Path) -> set[str]:
    """Names that a module assigns and documents with a docstring; only these are on its page."""
    found: set[str] = set()
    for node, following in itertools.pairwise(ast.parse(path.read_text()).body):
        documented = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        if documented and isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def arguments_wrong() -> list[str]:
    """Public functions, classes and methods whose ``Args`` differ from their arguments.

    A class that passes ``**options`` to its base class need not document them.
    """
    found: dict[int, list[str]] = {}
    for one, name, value in public():
        if inspect.isclass(value):
            own = {key: member for key, member in vars(value).items() if inspect.isfunction(member)}
            known = {key: text for kind in value.__mro__ for key, text in arguments(kind.__doc__).items()}
            if "__init__" in own and arguments(value.__doc__):
                wrong = set(arguments(value.__doc__)) - taken(value.__init__) | taken(value.__init__) - set(
                    known
                )
                found[id(value)] = [f"{one}.{name}: {key}" for key in sorted(wrong)]
            functions = {f"{name}.{key}": member for key, member in own.items() if not key.startswith("_")}
        else:
            functions = {name: value} if inspect.isfunction(value) else {}
        for called, function in functions.items():
            described = set(arguments(function.__doc__))
            wrong = described ^ taken(function) if described else set()
            found[id(function)] = [f"{one}.{called}: {key}" for key in sorted(wrong)]
    return [line for lines in found.values() for line in lines]


def taken(function: Any) -> set[str]:
    """Names of the arguments of a function, without ``self`` and ``**options``."""
    parameters = inspect.signature(function).parameters.values()
    return {
        one.name for one in parameters if one.kind is not one.VAR_KEYWORD and one.name not in ("self", "cls")
    }


def shadowed() -> list[str]:
    """Submodules whose name is used for a different object in their package."""
    found = []
    for one in packages():
        for child in pkgutil.iter_modules(one.__path__):
            value = vars(one).get(child.name)
            if child.name in getattr(one, "__all__", ()) and not isinstance(value, ModuleType):
                found.append(f"{one.__name__}.{child.name}")
    return found
