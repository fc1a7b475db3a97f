"""Old names of modules serve for one release, and say what the new ones are."""

from __future__ import annotations

import importlib
import sys
import warnings

import pytest

import szilard
from szilard import _moved


@pytest.mark.parametrize("old", sorted(_moved.MODULES))
def test_old_modules_are_the_new_ones(old):
    new = _moved.MODULES[old]
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old} is now {new}"):
        found = importlib.import_module(old)
    assert found is importlib.import_module(new)


@pytest.mark.parametrize(
    ("package", "name"), [(package, name) for package, names in _moved.NAMES.items() for name in names]
)
def test_old_names_are_the_new_ones(package, name):
    with pytest.warns(DeprecationWarning, match=f"{package}.{name} is now"):
        found = getattr(importlib.import_module(package), name)
    assert found is getattr(importlib.import_module(_moved.NAMES[package][name]), name)


def test_other_names_are_unknown():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        szilard.sparse.nothing  # noqa: B018
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("szilard.nothing")


def test_the_package_itself_uses_none_of_them():
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        for name in ("cli.application", "training", "compress", "report", "model.finished", "topology"):
            importlib.import_module(f"szilard.{name}")
