"""The catalogue finds every method and pass, and what it reads from the sources equals what the classes say."""

from __future__ import annotations

import importlib
import inspect
import shutil
from pathlib import Path

import pytest

from code_checks import graph, public_names
from common import plug_ins
from szilard import catalogue, compression, methods, signatures
from szilard.catalogue import METHODS, PASSES
from szilard.errors import SzilardError

METHODS_FOLDER = Path(methods.__file__).parent


def loaded():
    return [
        pytest.param(entry, id=entry.name)
        for package in (METHODS, PASSES)
        for entry in catalogue.entries(package)
    ]


@pytest.mark.parametrize("entry", loaded())
def test_an_entry_equals_the_attributes_of_its_class(entry):
    kind = entry.load()
    assert kind.__module__ == entry.module
    assert kind.__name__ == entry.class_name
    assert (kind.name, kind.summary) == (entry.name, entry.summary)
    for key, default in (("source", ""), ("order", catalogue.LAST), ("baseline", False)):
        assert getattr(kind, key, default) == getattr(entry, key)


@pytest.mark.parametrize("entry", loaded())
def test_every_option_is_documented(entry):
    found = signatures.options(entry.load())
    assert [one.name for one in found if not one.meaning] == []


@pytest.mark.parametrize("entry", loaded())
def test_a_summary_fits_one_line_of_a_terminal(entry):
    longest = max(len(one.name) for one in catalogue.entries(METHODS))
    assert len(entry.summary) <= 80 - longest - 2
    assert not entry.summary.endswith(".")


def test_every_method_is_listed():
    def classes(kind):
        return {kind, *(below for child in kind.__subclasses__() for below in classes(child))}

    ours = {kind for kind in classes(methods.Method) if kind.__module__.startswith("szilard.methods.")}
    listed = {kind for kind in ours if kind is not methods.Method and kind.summary}  # others are bases
    assert listed == {entry.load() for entry in catalogue.entries(METHODS)}


def test_every_pass_is_listed():
    found = set()
    for path in (METHODS_FOLDER.parent / "/".join(PASSES.split(".")[1:])).glob("[!_]*.py"):
        name = f"{PASSES}.{path.stem}"
        for kind in vars(importlib.import_module(name)).values():
            call = vars(kind).get("__call__") if inspect.isclass(kind) and kind.__module__ == name else None
            if call is not None and list(inspect.signature(call).parameters) == ["self", "draft", "setting"]:
                found.add(kind)
    assert found == {entry.load() for entry in catalogue.entries(PASSES)}


def test_the_packages_export_every_class():
    for entry in catalogue.entries(METHODS):
        assert entry.class_name in methods.__all__
        assert getattr(methods, entry.class_name) is entry.load()
    for entry in catalogue.entries(PASSES):
        assert entry.class_name in compression.__all__
        assert getattr(compression, entry.class_name) is entry.load()


def test_order_and_baselines():
    assert methods.names() == [
        "deterministic", "sparse-deterministic", "mean-field", "ssvi", "ssvi-published", "variational-dropout",
        "bayesian-compression", "static", "set", "rigl", "itop", "gradual", "granet", "srigl", "tickets", "snfs",
        "acdc", "topkast", "free-tickets", "early-bird", "posterior-tickets", "elastic-ticket", "sgld", "sghmc", "dial",
        "swag", "ensemble",
    ]  # fmt: skip
    assert [entry.name for entry in catalogue.entries(METHODS) if entry.baseline] == [
        "deterministic",
        "mean-field",
    ]


# -- adding a file -------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(METHODS_FOLDER, tmp_path / "methods", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "methods"


def test_a_new_file_adds_a_method(folder):
    (folder / "plugged.py").write_text(plug_ins.METHOD)
    found = catalogue.read(folder, METHODS)
    assert found[:-1] == catalogue.entries(METHODS)
    assert found[-1] == catalogue.Entry(
        f"{METHODS}.plugged", "PluggedMethod", "plugged-method", "Counts the files of a new method"
    )


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ("name = 'new'", "class New has a name and no summary; add summary"),
        ("name = 'new'\n    summary = f'{1}'", "its summary is not a literal str"),
        ("name = 'new'\n    summary = 'x'\n    order = '3'", "its order is not a literal int"),
        ("name = 'ssvi'\n    summary = 'x'", "both define 'ssvi'; rename one"),
        ("name = '../new'\n    summary = 'x'", "lower-case letters, digits and hyphens"),
    ],
)
def test_invalid_entries_are_refused(folder, body, match):
    (folder / "new.py").write_text(f"class New:\n    {body}\n")
    with pytest.raises(SzilardError, match=match):
        catalogue.read(folder, METHODS)


def test_classes_without_a_name_are_ignored(folder):
    (folder / "new.py").write_text(
        "class New:\n    name: str\n    summary = 'x'\n\nclass Other:\n    size = 3\n"
    )
    (folder / "base.py").write_text("class Base:\n    name = 'base'\n    summary = ''\n")
    assert catalogue.read(folder, METHODS) == catalogue.entries(METHODS)


def test_missing_sources_are_reported():
    with pytest.raises(
        SzilardError, match=r"sources of szilard\.nothing are not in .*; install szilard again"
    ):
        catalogue.entries("szilard.nothing")


# -- pages -----------------------------------------------------------------------------------------------


def test_pages_list_every_method_and_pass():
    render = public_names.hook().render
    for page, package in (("methods.md", METHODS), ("compress.md", PASSES)):
        text = render((graph.ROOT / "docs" / page).read_text())
        for entry in catalogue.entries(package):
            assert (
                f"| [`{entry.name}`](api/{page}#{entry.module}.{entry.class_name}) | {entry.summary} |"
                in text
            )
            assert f"\n::: {entry.module}.{entry.class_name}\n" in render(
                (graph.ROOT / "docs/api" / page).read_text()
            )
    assert render("<!-- catalogue: other -->") == "<!-- catalogue: other -->"
