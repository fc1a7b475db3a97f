"""The list of methods and passes, read from the sources of their packages without importing them.

A class belongs to the list if its body assigns ``name`` and ``summary``. Both must be literals, because ``szilard fit
--help`` reads them without importing torch. There is no other list of methods or of passes.
"""

from __future__ import annotations

import ast
import functools
import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from szilard.errors import SzilardError

METHODS = "szilard.methods"
PASSES = "szilard.compression.passes"

LAST = 100  # the order of a class that does not set one
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_NAMED = re.compile(r"^    name\b.*=", re.MULTILINE)


@dataclass(frozen=True)
class Entry:
    """A method or a pass.

    Attributes:
        module: dotted name of the module with its class.
        class_name: name of its class.
        name: name for the command line, ``run.toml`` and tables.
        summary: one-line description.
        source: the publication; empty if there is none.
        order: position in lists; ties are sorted by name.
        baseline: whether ``szilard fit`` also trains it by default, for comparison.
    """

    module: str
    class_name: str
    name: str
    summary: str
    source: str = ""
    order: int = LAST
    baseline: bool = False

    def load(self) -> type:
        """The class; imports its module."""
        found: type = getattr(importlib.import_module(self.module), self.class_name)
        return found


_FIELDS = {"name": str, "summary": str, "source": str, "order": int, "baseline": bool}


@functools.cache
def entries(package: str) -> tuple[Entry, ...]:
    """The entries in the modules of a package, in list order.

    Args:
        package: :data:`METHODS` or :data:`PASSES`.

    Raises:
        SzilardError: a class with a name but no summary, a value that is not a literal, a duplicate name, or no files.
    """
    folder = Path(__file__).parent.joinpath(*package.split(".")[1:])
    found = read(folder, package)
    if not found:
        raise SzilardError(f"the sources of {package} are not in {folder}; install szilard again")
    return found


def read(folder: Path, package: str) -> tuple[Entry, ...]:
    """The entries of any folder, whose modules are treated as those of a package."""
    found: list[Entry] = []
    for path in sorted(folder.glob("*.py")):
        text = path.read_text("utf-8")
        if _NAMED.search(text):  # most files have no such class, and need not be parsed
            for node in ast.parse(text).body:
                if isinstance(node, ast.ClassDef):
                    found += _entry(node, path, package)
    known: dict[str, Entry] = {}
    for entry in sorted(found, key=lambda one: (one.order, one.name)):
        if entry.name in known:
            raise SzilardError(
                f"{entry.module} and {known[entry.name].module} both define {entry.name!r}; rename one"
            )
        known[entry.name] = entry
    return tuple(known.values())


def _entry(node: ast.ClassDef, path: Path, package: str) -> list[Entry]:
    """The entry of a class; none for a class without a name, or with an empty summary (a base class)."""
    values = _assigned(node)
    if "name" not in values:
        return []
    where = f"{path}: class {node.name}"
    if "summary" not in values:
        raise SzilardError(f"{where} has a name and no summary; add summary = and what it does, on one line")
    given: dict[str, Any] = {}
    for key, kind in _FIELDS.items():
        if key in values:
            try:
                given[key] = ast.literal_eval(values[key])
            except ValueError:
                given[key] = None
            if type(given[key]) is not kind:
                raise SzilardError(
                    f"{where}: its {key} is not a literal {kind.__name__}; write the value out"
                )
    if not given["summary"]:
        return []
    if not _NAME.fullmatch(given["name"]):
        raise SzilardError(f"{where} is named {given['name']!r}; use lower-case letters, digits and hyphens")
    return [Entry(f"{package}.{path.stem}", node.name, **given)]


def _assigned(node: ast.ClassDef) -> dict[str, ast.expr]:
    found: dict[str, ast.expr] = {}
    for one in node.body:
        if isinstance(one, ast.Assign):
            found |= {target.id: one.value for target in one.targets if isinstance(target, ast.Name)}
        elif isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and one.value is not None:
            found[one.target.id] = one.value
    return found
