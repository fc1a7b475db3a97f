"""Deprecated names still work for one release, and the warning states the new name."""

from __future__ import annotations

import importlib
import inspect
import operator
import pickle
import sys
import warnings

import pytest
import torch

import szilard
from szilard import _moved
from szilard.compression import Draft, Setting
from szilard.compression.judge import Scores
from szilard.compression.pass_runner import run_passes


@pytest.mark.parametrize("old", sorted(_moved.MODULES))
def test_an_old_module_name_gives_the_new_module(old):
    new = _moved.MODULES[old]
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old} is now {new}"):
        found = importlib.import_module(old)
    assert found is importlib.import_module(new)


@pytest.mark.parametrize(
    ("package", "name"), [(package, name) for package, names in _moved.NAMES.items() for name in names]
)
def test_an_old_name_gives_the_new_object(package, name):
    with pytest.warns(DeprecationWarning, match=f"{package}.{name} is now"):
        found = getattr(importlib.import_module(package), name)
    where, new = _moved.NAMES[package][name]
    assert found == operator.attrgetter(new)(importlib.import_module(where))


@pytest.mark.parametrize("old", sorted(_moved.SHADOWED))
def test_an_old_module_shadowed_by_a_function_can_still_be_imported(old):
    new = importlib.import_module(_moved.SHADOWED[old])
    name = next(name for name in vars(new) if not name.startswith("_") and callable(vars(new)[name]))
    with pytest.warns(DeprecationWarning, match=f"{old} is now {new.__name__}"):
        assert getattr(importlib.import_module(old), name) is getattr(new, name)
    package, _, leaf = old.rpartition(".")
    function = getattr(importlib.import_module(_moved.PACKAGES.get(package, package)), leaf)
    assert inspect.isfunction(function)


def test_a_renamed_package_and_its_modules_can_be_imported():
    with pytest.warns(DeprecationWarning, match=r"szilard.compress is now szilard.compression"):
        from szilard.compress import Quantise
    assert Quantise is szilard.compression.Quantise
    sys.modules.pop("szilard.compress.curvature", None)
    with pytest.warns(
        DeprecationWarning, match=r"szilard.compress.curvature is now szilard.compression.curv"
    ):
        from szilard.compress.curvature import curvatures
    assert curvatures is szilard.compression.curvatures
    with pytest.raises(ImportError):
        from szilard.compress import nothing  # noqa: F401
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("szilard.compress.nothing")


def test_the_function_compress_still_has_the_names_of_the_former_module():
    assert inspect.isfunction(szilard.compress)
    assert szilard.compress.Calibration is szilard.compression.Calibration
    assert szilard.compress.Offsets is szilard.compression.QuantiseVectors


def test_no_new_name_is_deprecated():
    modules = {**_moved.MODULES, **_moved.SHADOWED}
    old = {*modules, *_moved.PACKAGES}
    old |= {f"{package}.{name}" for package, names in _moved.NAMES.items() for name in names}
    new = {*modules.values(), *_moved.PACKAGES.values(), *_moved.NAMES}
    new |= {part for names in _moved.NAMES.values() for where, name in names.values()
            for part in (where, f"{where}.{name}")}  # fmt: skip
    assert not old & new


@pytest.mark.parametrize(
    ("package", "name"), [("szilard.compress", "Quantise"), ("szilard.sparse", "GrowthGradient")]
)
def test_an_import_from_an_old_name_warns_once(package, name):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exec(f"from {package} import {name}", {})
    assert len([one for one in caught if one.category is DeprecationWarning]) == 1


def test_names_can_be_imported_from_old_modules():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from szilard.compress.rounding import Offsets
        from szilard.metrics.predictive import matching_labels
        from szilard.model.finished import Finished
        from szilard.report.finding import finding

        assert pickle.loads(b"cszilard.file.records\nRaw\n.") is szilard.file.kinds.raw.Raw
    assert Finished is szilard.model.saved_network.SavedNetwork
    assert Offsets is szilard.compression.QuantiseVectors
    assert finding is szilard.report.summary.comparison
    with pytest.raises(szilard.SzilardError, match="classes"):
        matching_labels(torch.tensor([0, 7]), 3)


def test_unknown_names_raise():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        szilard.sparse.nothing  # noqa: B018
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("szilard.nothing")


def test_the_package_itself_uses_no_deprecated_name():
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        for name in (
            "cli.application",
            "training",
            "compression",
            "report",
            "model.saved_network",
            "topology",
        ):
            importlib.import_module(f"szilard.{name}")


def test_former_names_of_attributes_and_arguments_serve_and_say_so():
    data = szilard.data.load("digits")
    with pytest.warns(DeprecationWarning, match="DataSet.is_pictures is now DataSet.is_image"):
        assert data.is_pictures
    output, y = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    likelihood = szilard.likelihood.Categorical()
    with pytest.warns(DeprecationWarning, match="sureness is now Likelihood.label_probability"):
        assert torch.equal(likelihood.sureness(output, y), likelihood.label_probability(output, y))
    with pytest.warns(DeprecationWarning, match="keep_back is now hold_out"):
        whole = szilard.compression.Calibration.of(torch.randn(100, 3), keep_back=False)
    assert sum(map(len, whole.inputs)) == 100


def test_a_likelihood_with_the_former_name_of_a_method_is_asked():
    with pytest.warns(DeprecationWarning, match="sureness is now Likelihood.label_probability"):

        class Mine(szilard.likelihood.Categorical):
            def sureness(self, output, y):
                return torch.full((len(output),), 0.25)

    assert Mine().label_probability(torch.randn(2, 3), torch.tensor([0, 1])).tolist() == [0.25, 0.25]


def test_a_pass_with_the_former_name_of_an_attribute_is_undone():
    class Ruins:
        mends = True

        def __call__(self, draft, setting):
            draft.notes.append("ruined")

    network = torch.nn.Linear(2, 2)
    draft, fallen = Draft(network), iter([1.0, 0.0])
    with pytest.warns(DeprecationWarning, match="mends of Ruins is now undo_if_worse"):
        run_passes([Ruins()], draft, Setting(1e-6, [], network), lambda _: Scores(next(fallen)))
    assert draft.notes == []
