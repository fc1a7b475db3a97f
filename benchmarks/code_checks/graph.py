"""The modules of the package, their imports, and the floors of docs/design.md."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "szilard"

#: The packages, lowest floor first. A package imports from floors below its own; files outside packages are below all.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("likelihood",),
    ("kernels", "cost", "metrics", "data", "networks"),
    ("sparse", "coding"),
    ("bayes", "codec", "file"),
    ("topology", "deploy", "solve", "sampling"),
    ("methods",),
    ("run",),
    ("model", "report"),
    ("adapt", "compression", "fields", "training"),
    ("cli",),
)
FREE = frozenset({"__main__", "_moved"})  # these start the command and forward old names


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = ("szilard", *path.relative_to(SOURCE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of the package that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in known}
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            full = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            inside = {name for name in full.values() if name in known}
            found |= inside
            if len(inside) < len(full):
                found.add(node.module)
    return found


def graph() -> dict[str, set[str]]:
    """By module, the modules that it imports. The package itself imports lazily and is left out."""
    known = modules()
    return {
        name: set() if name == "szilard" else imports(path, known) - {"szilard"}
        for name, path in known.items()
    }


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Sets of modules that import each other (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(edges[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            part = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(part) > 1 or name in edges[name]:
                found.append(sorted(part))

    for name in edges:
        if name not in index:
            visit(name)
    return found


def package(name: str) -> str | None:
    """The package of a module; None for files outside packages."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and (SOURCE / parts[1]).is_dir() else None


def broken_floors(edges: dict[str, set[str]]) -> list[str]:
    """Imports from the same floor or a higher one, as ``"a imports b"``."""
    height = {name: floor for floor, names in enumerate(FLOORS) for name in names}
    found = []
    for name, others in sorted(edges.items()):
        if name.split(".")[-1] in FREE:
            continue
        here = -1 if package(name) is None else height[package(name) or ""]
        for other in sorted(others):
            if package(other) not in (None, package(name)) and height[package(other) or ""] >= here:
                found.append(f"{name} imports {other}")
    return found


def function_lines() -> dict[str, int]:
    """Number of lines of every function, including its docstring."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                found[f"{path.relative_to(ROOT)}:{node.name}"] = lines
    return found


def code_map() -> str:
    """The first line of each file's docstring, by package, lowest floor first."""
    order = {name: number for number, name in enumerate(name for floor in FLOORS for name in floor)}
    lines = []
    for name, path in sorted(
        modules().items(), key=lambda one: (order.get(package(one[0]) or "", -1), one[0])
    ):
        described = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]
        lines.append(f"{name.removeprefix('szilard.')}: {described}" if described else name)
    return "\n".join(lines)
