"""A check that would leave something out is refused."""

from __future__ import annotations

import pytest

pytest.importorskip("xarray", reason="pip install 'szilard[field]'")
pytest.importorskip("zarr", reason="pip install 'szilard[field]'")

import xarray as xr
from field_stores import codecs, dataset

from szilard import fields
from szilard.errors import SzilardError


@pytest.fixture
def store(tmp_path):
    fields.write(dataset(), tmp_path / "s", 0.05, fit=codecs(t=1, u=1))
    return xr.open_zarr(tmp_path / "s")


def test_a_variable_that_the_original_lacks_is_refused(store):
    with pytest.raises(
        SzilardError, match="the original has no variable t, which the store holds with a bound"
    ):
        store.szilard.check(xr.Dataset())
    with pytest.raises(SzilardError, match="the original has no variable u"):
        store.szilard.check(dataset().drop_vars("u"))
    assert store[["t"]].szilard.check(dataset()[["t"]]).ok


@pytest.mark.parametrize("name", ["n", "area", "lat"])
def test_what_is_stored_exactly_must_be_in_the_original_too(store, name):
    with pytest.raises(SzilardError, match=f"the original has no {name}, which the store holds"):
        store.szilard.check(dataset().drop_vars(name))
    found = store.drop_vars(name).szilard.check(dataset())
    assert (found.missing, found.ok) == ((name,), False)


def test_a_dataset_without_a_bound_has_nothing_to_check(store):
    with pytest.raises(SzilardError, match="no variable of the store has a bound"):
        dataset().szilard.check(dataset())
    with pytest.raises(SzilardError, match="no variable of the store has a bound"):
        store.drop_encoding().szilard.check(dataset())
    assert store.drop_encoding().szilard.check(dataset(), 0.05).ok
