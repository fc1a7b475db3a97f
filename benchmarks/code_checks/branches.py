"""Branches on the name of a task in the source code of the package."""

from __future__ import annotations

import ast

from code_checks.graph import ROOT, SOURCE

TASKS = frozenset({"classification", "multilabel", "regression", "embedding"})
#: Objects of :mod:`szilard.likelihood.targets`; comparing with one of them counts as a branch on a task, too.
TARGET_TYPES = frozenset({"Classes", "Labels", "Quantities", "Vectors", "CLASSES", "LABELS", "QUANTITIES"})
_TARGETS = ("szilard.likelihood.targets", "szilard.data.target_readers")
_TESTS = frozenset(
    {"isinstance", "issubclass", "startswith", "endswith", "fullmatch", "__eq__", "index", "count"}
)


def task_branches() -> list[str]:
    """Branches on the name of a task, as ``"file:line"``."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text()
        if any(word in text for word in TASKS | TARGET_TYPES):  # to parse the others takes seconds
            lines = sorted(branches_of(ast.parse(text)))
            found += [f"{path.relative_to(ROOT)}:{line}" for line in lines]
    return found


def branches_of(tree: ast.Module) -> list[int]:
    """Lines of the branches of one file.

    Counted are: comparisons with a name, with a collection of names (also one that the file has assigned to a
    variable) or with an object of :mod:`szilard.likelihood.targets`; ``isinstance`` of these; cases of ``match``; dicts
    keyed by name; and ``startswith`` and similar calls. A dict keyed by the class of the targets is not counted: it
    defines what a package does with each.
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
        tested: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            tested = [node.left, *node.comparators]
        elif isinstance(node, ast.match_case):
            tested = [one.value for one in ast.walk(node.pattern) if isinstance(one, ast.MatchValue)]
        elif isinstance(node, ast.Dict) and len(node.keys) > 1:
            tested = [key for key in node.keys if isinstance(key, ast.Constant)]
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            tested = node.args if called in _TESTS else []
        found += [one.lineno for one in tested if _names_a_task(one, known)][:1]
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
