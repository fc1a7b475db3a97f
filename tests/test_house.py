"""Checks of the code base: layers of packages as in docs/design.md, public names, and their docstrings."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

import pytest

from code_checks import branches, graph, public_names
from common import plug_ins

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def edges():
    return graph.graph()


def test_there_are_no_import_cycles(edges):
    assert graph.circles(edges) == []


def test_packages_import_only_from_lower_layers(edges):
    assert graph.broken_floors(edges) == []


def test_every_package_has_a_layer():
    packages = {path.name for path in graph.SOURCE.iterdir() if (path / "__init__.py").exists()}
    assert packages == {name for floor in graph.FLOORS for name in floor}


def test_the_design_page_lists_the_same_layers():
    page = (graph.ROOT / "docs" / "design.md").read_text()
    for number, floor in enumerate(graph.FLOORS, 1):
        line = next(line for line in page.splitlines() if line.strip().startswith(f"{number} "))
        assert {word.rstrip("/") for word in line.split() if word.endswith("/")} == set(floor)


def test_import_cycles_and_upward_imports_are_found():
    assert graph.circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    up = {"szilard.kernels.native": {"szilard.sparse.ops"}, "szilard.sparse.ops": set()}
    assert graph.broken_floors(up) == ["szilard.kernels.native imports szilard.sparse.ops"]


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("if data.task == 'regression': pass", 1),
        ("if task in ('multilabel', 'embedding'): pass", 1),
        ("KNOWN = {'multilabel'}\nif task not in KNOWN: pass", 1),
        ("match task:\n    case 'regression' | 'multilabel': pass\n    case _: pass", 1),
        ("{'classification': 1, 'regression': 2}.get(task)", 1),
        ("from szilard.likelihood.targets import Classes\nif isinstance(kind, Classes): pass", 1),
        ("if data.target_type is targets.QUANTITIES: pass", 1),
        ("task.startswith('regression')", 1),
        ("row = {'task': 'regression'}", 0),
        ("LABELS = ('y',)\nif name in LABELS: pass", 0),
        ("if data.target_type.in_units: pass", 0),
    ],
)
def test_branches_on_a_task_are_counted(code, count):
    assert len(branches.branches_of(ast.parse(code))) == count


def test_the_source_hardly_branches_on_the_name_of_a_task():
    assert len(branches.task_branches()) <= 3


def test_every_public_name_is_documented():
    assert public_names.without_page() == []


def test_no_module_has_the_name_of_a_function_of_its_package():
    assert public_names.shadowed() == []


def test_docstrings_match_the_arguments():
    assert public_names.arguments_wrong() == []


def test_wrong_arguments_and_undocumented_names_are_found(monkeypatch, tmp_path):
    def function(x, y):
        """Omits an argument and documents one that does not exist.

        Args:
            x: a number.
            z: another number.
        """

    class Options:
        """Takes an argument that is not documented.

        Args:
            a: documented.
        """

        def __init__(self, a, b, **options):
            pass

    given = [("szilard.metrics", "function", function), ("szilard.metrics", "Options", Options)]
    monkeypatch.setattr(public_names, "public", lambda: iter(given))
    assert public_names.arguments_wrong() == [
        "szilard.metrics.function: y",
        "szilard.metrics.function: z",
        "szilard.metrics.Options: b",
    ]
    assert public_names.without_page() == ["szilard.metrics.function", "szilard.metrics.Options"]
    path = tmp_path / "values.py"
    path.write_text('A = 1\n"""Documented."""\nB = 2\nC: int = 3\n"""Also documented."""\n')
    assert public_names.documented_values(path) == {"A", "C"}


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mkdocs") is None, reason="MkDocs builds the documentation")
def test_adding_a_method_or_a_pass_needs_one_file():
    assert plug_ins.unaware(graph.ROOT) == {"method": [], "pass": []}


def test_every_test_module_asserts_something():
    def asserts(tree: ast.AST) -> bool:
        return any(
            isinstance(node, ast.Assert)
            or (isinstance(node, ast.Attribute) and node.attr in ("raises", "warns", "fail"))
            for node in ast.walk(tree)
        )

    without = [path.name for path in TESTS.rglob("test_*.py") if not asserts(ast.parse(path.read_text()))]
    assert without == []


def test_test_files_have_different_names():
    """pytest imports them by name alone, and a part of the suite sees only its own files."""
    names = [path.name for path in (graph.ROOT / "tests").rglob("test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []
