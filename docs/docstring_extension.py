"""An extension of Griffe: docstrings as the code has them, in the Markdown that the API pages need.

The docstrings name other objects with Sphinx roles (``:func:`~szilard.data.load```), introduce examples with ``::``,
and document related arguments on one line (``start, stop: range of its bytes``). Markdown knows none of these.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:func|class|meth|mod|data|attr|exc|obj):`(~?)([\w.]+)`")
_EXAMPLE = re.compile(r"(?<=\S)::$", re.MULTILINE)
_SECTION = re.compile(r"^(\s*)(?:Args|Attributes):$")
_SHARED = re.compile(r"^(\s+)(\*{0,2}\w+(?:, \*{0,2}\w+)+)( \([^)]*\))?: ")


class Docstrings(griffe.Extension):
    """Rewrites every docstring of a package that was loaded."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """What Griffe calls when all modules of the package are known."""
        _rewrite(pkg, set())


def _rewrite(thing: griffe.Object, seen: set[str]) -> None:
    if thing.path in seen:
        return
    seen.add(thing.path)
    if thing.docstring:
        thing.docstring.value = markdown(thing.docstring.value, thing)
    for member in thing.members.values():
        if isinstance(member, griffe.Object):
            _rewrite(member, seen)


def markdown(text: str, thing: griffe.Object) -> str:
    """A docstring in Markdown; ``thing`` is the object that has it, from which short names are looked up."""
    text = "\n".join(_separate(text.split("\n")))
    text = _EXAMPLE.sub(":", text)
    return _ROLE.sub(lambda role: _link(role[2], thing, short=bool(role[1])), text)


def _link(name: str, thing: griffe.Object, short: bool) -> str:
    """A reference that is plain code if no page has the object."""
    shown = name.rpartition(".")[2] if short else name
    return f'<autoref identifier="{_full_path(name, thing)}" optional><code>{shown}</code></autoref>'


def _full_path(name: str, thing: griffe.Object) -> str:
    first = name.partition(".")[0]
    if first == thing.package.name:
        return name
    scope: griffe.Object | None = thing
    while scope is not None:
        if first in scope.members:
            return f"{scope.members[first].path}{name[len(first) :]}"
        scope = scope.parent
    return name


def _separate(lines: list[str]) -> list[str]:
    """Lines of arguments, each with one name: ``a, b: text`` becomes two arguments with the same text."""
    found: list[str] = []
    inside: str | None = None  # indentation of the section of arguments
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if section := _SECTION.match(line):
            inside = section[1]
        elif inside is not None and line.strip() and not line.startswith(inside + "  "):
            inside = None
        shared = _SHARED.match(line) if inside is not None else None
        if shared is None:
            found.append(line)
            continue
        rest = [line[shared.end() :]]
        while number < len(lines) and lines[number].startswith(shared[1] + "  "):
            rest.append(lines[number])
            number += 1
        for name in shared[2].split(", "):
            found += [f"{shared[1]}{name}{shared[3] or ''}: {rest[0]}", *rest[1:]]
    return found
