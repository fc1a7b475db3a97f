"""How the package hangs together, counted from its own imports and signatures.

    python benchmarks/house.py [--help-runs 9]

prints one JSON object: ``circles`` among modules (lazy imports and those for type checkers included), ``floors_broken``
(imports from the same floor or above, see :data:`FLOORS`), ``task_branches`` (branches on the name of a task,
see :func:`branches_of`), ``public_names_without_page``, ``shadowed_submodules`` (packages that export a function under
the name of one of their modules), ``docstring_arguments_wrong``, ``files_for_a_new_method`` and
``files_for_a_new_pass`` (:mod:`common.plug_ins` adds one of each to a copy and asks every place that should know it;
null where MkDocs is not installed, which builds the documentation), ``help_seconds`` (median of ``szilard --help``),
``median_file_lines`` and ``max_function_lines``.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import inspect
import itertools
import json
import pkgutil
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from common import plug_ins
from szilard.signatures import arguments

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "szilard"

#: The packages, lowest floor first. A package imports from floors below its own; files outside of packages are below
#: all.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("likelihood",),
    ("kernels", "cost", "metrics", "data", "networks"),
    ("sparse", "coding"),
    ("bayes", "file"),
    ("topology",),
    ("methods",),
    ("run",),
    ("model", "report"),
    ("compression", "training"),
    ("cli",),
)
FREE = frozenset({"__main__", "_moved"})  # they start the command, and forward old names
TASKS = frozenset({"classification", "multilabel", "regression", "embedding"})
#: Objects of :mod:`szilard.likelihood.targets`; to ask for one of them is to branch on a name, too.
TARGET_TYPES = frozenset({"Classes", "Labels", "Quantities", "Vectors", "CLASSES", "LABELS", "QUANTITIES"})
_TARGETS = ("szilard.likelihood.targets", "szilard.data.target_readers")
_TESTS = frozenset(
    {"isinstance", "issubclass", "startswith", "endswith", "fullmatch", "__eq__", "index", "count"}
)


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
    """By module, the modules that it imports. The lazy front of the package is nobody's importer."""
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


def package_of(name: str) -> str | None:
    """The package of a module; None for files outside of packages."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and (SOURCE / parts[1]).is_dir() else None


def broken_floors(edges: dict[str, set[str]]) -> list[str]:
    """Imports that go sideways or up, as ``"a imports b"``."""
    height = {name: floor for floor, names in enumerate(FLOORS) for name in names}
    found = []
    for name, others in sorted(edges.items()):
        if name.split(".")[-1] in FREE:
            continue
        here = -1 if package_of(name) is None else height[package_of(name) or ""]
        for other in sorted(others):
            if package_of(other) not in (None, package_of(name)) and height[package_of(other) or ""] >= here:
                found.append(f"{name} imports {other}")
    return found


def task_branches() -> list[str]:
    """Branches on the name of a task, as ``"file:line"``."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        found += [f"{path.relative_to(ROOT)}:{line}" for line in sorted(branches_of(tree))]
    return found


def branches_of(tree: ast.Module) -> list[int]:
    """Lines of the branches of one file.

    Counted are comparisons with a name, with a collection of names (also one that the file has given a name of its own)
    or with an object of :mod:`szilard.likelihood.targets`; ``isinstance`` of these; cases of ``match``; dicts by name;
    and ``startswith`` and its like. A dict by the class of the targets is not: it says what a package does with each.
    """
    known = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_TARGETS)
        for alias in node.names
        if alias.name in TARGET_TYPES
    }
    for node in tree.body:
        if isinstance(node, ast.Assign) and _names_a_task(node.value, set()):
            known |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    found = []
    for node in ast.walk(tree):
        asked: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            asked = [node.left, *node.comparators]
        elif isinstance(node, ast.match_case):
            asked = [one.value for one in ast.walk(node.pattern) if isinstance(one, ast.MatchValue)]
        elif isinstance(node, ast.Dict) and len(node.keys) > 1:
            asked = [key for key in node.keys if isinstance(key, ast.Constant)]
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            asked = node.args if called in _TESTS else []
        found += [one.lineno for one in asked if _names_a_task(one, known)][:1]
    return found


def _names_a_task(node: ast.expr, known: set[str]) -> bool:
    """Whether an expression is the name of a task or one of the ``known`` names, or a collection that holds one."""
    if isinstance(node, ast.Constant):
        return node.value in TASKS
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return any(_names_a_task(one, known) for one in node.elts)
    if isinstance(node, ast.Call):  # frozenset(...), type(...)
        return any(_names_a_task(one, known) for one in node.args)
    if isinstance(node, ast.Attribute):
        return node.attr in TARGET_TYPES
    return isinstance(node, ast.Name) and node.id in known


def packages() -> Iterator[ModuleType]:
    for floor in FLOORS:
        for name in floor:
            yield importlib.import_module(f"szilard.{name}")


def hook() -> ModuleType:
    """The hook that fills in lists on the pages, as MkDocs does."""
    spec = importlib.util.spec_from_file_location("catalogue_hook", ROOT / "docs" / "catalogue_hook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_page() -> list[str]:
    """Public names (of ``__all__`` of every package) that no page shows."""
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
    """Package, name and value of what packages declare public; what is typed at the command line stands in --help."""
    for one in packages():
        for name in getattr(one, "__all__", ()):
            value = getattr(one, name)
            if one.__name__ != "szilard.cli" and not isinstance(value, ModuleType):
                yield one.__name__, name, value


def documented_values(path: Path) -> set[str]:
    """Names that a module assigns with a docstring behind; only these are on its page."""
    found: set[str] = set()
    for node, behind in itertools.pairwise(ast.parse(path.read_text()).body):
        told = isinstance(behind, ast.Expr) and isinstance(behind.value, ast.Constant)
        if told and isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def arguments_wrong() -> list[str]:
    """Public functions, classes and their methods whose ``Args`` are not the arguments that they take.

    A class that hands ``**options`` on to the one it derives from may leave their meaning to that one.
    """
    found: dict[int, list[str]] = {}
    for one, name, value in public():
        if inspect.isclass(value):
            own = {key: member for key, member in vars(value).items() if inspect.isfunction(member)}
            told = {key: text for kind in value.__mro__ for key, text in arguments(kind.__doc__).items()}
            if "__init__" in own and arguments(value.__doc__):
                wrong = set(arguments(value.__doc__)) - taken(value.__init__) | taken(value.__init__) - set(
                    told
                )
                found[id(value)] = [f"{one}.{name}: {key}" for key in sorted(wrong)]
            functions = {f"{name}.{key}": member for key, member in own.items() if not key.startswith("_")}
        else:
            functions = {name: value} if inspect.isfunction(value) else {}
        for called, function in functions.items():
            said = set(arguments(function.__doc__))
            wrong = said ^ taken(function) if said else set()
            found[id(function)] = [f"{one}.{called}: {key}" for key in sorted(wrong)]
    return [line for lines in found.values() for line in lines]


def taken(function: Any) -> set[str]:
    """Names of the arguments of a function, without ``self`` and ``**options``."""
    parameters = inspect.signature(function).parameters.values()
    return {
        one.name for one in parameters if one.kind is not one.VAR_KEYWORD and one.name not in ("self", "cls")
    }


def shadowed() -> list[str]:
    """Submodules whose name their package gives to something else."""
    found = []
    for one in packages():
        for child in pkgutil.iter_modules(one.__path__):
            value = vars(one).get(child.name)
            if child.name in getattr(one, "__all__", ()) and not isinstance(value, ModuleType):
                found.append(f"{one.__name__}.{child.name}")
    return found


def function_lines() -> dict[str, int]:
    """Lines of every function, its docstring included."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                found[f"{path.relative_to(ROOT)}:{node.name}"] = lines
    return found


def help_seconds(runs: int) -> float:
    """Median of the wall time of ``szilard --help``, start of Python included."""
    command = [str(Path(sys.executable).parent / "szilard"), "--help"]
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def code_map() -> str:
    """The first line of each file's docstring, by package, lowest floor first."""
    order = {name: number for number, name in enumerate(name for floor in FLOORS for name in floor)}
    lines = []
    for name, path in sorted(
        modules().items(), key=lambda one: (order.get(package_of(one[0]) or "", -1), one[0])
    ):
        described = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]
        lines.append(f"{name.removeprefix('szilard.')}: {described}" if described else name)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--help-runs", type=int, default=9)
    parser.add_argument("--list", action="store_true", help="print what was counted on standard error")
    parser.add_argument(
        "--map", action="store_true", help="print what each file is for, by package, and nothing else"
    )
    options = parser.parse_args()
    if options.map:
        print(code_map())
        return
    edges = graph()
    counted = {
        "circles": circles(edges),
        "floors_broken": broken_floors(edges),
        "task_branches": task_branches(),
        "public_names_without_page": without_page(),
        "shadowed_submodules": shadowed(),
        "docstring_arguments_wrong": arguments_wrong(),
    }
    if options.list:
        for key, names in counted.items():
            print(key, *names, sep="\n  ", file=sys.stderr)
    plugged = plug_ins.unaware(ROOT)
    if plugged is None:
        print("MkDocs is not installed (make docs installs it): plug-ins are not counted", file=sys.stderr)
    elif options.list:
        for kind, places in plugged.items():
            print(f"places that do not know a new {kind}", *places, sep="\n  ", file=sys.stderr)
    lengths = [len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")]
    figures = {
        **{key: len(names) for key, names in counted.items()},
        **{
            f"files_for_a_new_{kind}": None if plugged is None else 1 + len(plugged[kind])
            for kind in plug_ins.KINDS
        },
        "help_seconds": round(help_seconds(options.help_runs), 3),
        "median_file_lines": int(statistics.median(lengths)),
        "max_function_lines": max(function_lines().values()),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
