"""The field codec for numcodecs and zarr format 2."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("numcodecs", reason="pip install 'szilard[field]'")
pytest.importorskip("zarr", reason="pip install 'szilard[field]'")

import numcodecs
import zarr
from field_stores import smooth

from szilard.codec import FieldCodec
from szilard.errors import SzilardError
from szilard.fields import NumcodecsField

BOUND = 0.05


@pytest.fixture(autouse=True)
def short_fits(monkeypatch):
    """Fits of a few steps, of one network."""
    monkeypatch.setattr("szilard.codec.candidates.HIDDEN", (4,))
    monkeypatch.setattr("szilard.codec.candidates._FEWEST", 3)
    whole = FieldCodec.fit.__func__

    def short(cls, sample, bound, **options):
        return whole(cls, sample, bound, **{**options, "effort": 0.01})

    monkeypatch.setattr(FieldCodec, "fit", classmethod(short))


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4"])
def test_an_array_comes_back_with_its_shape_within_the_bound(dtype):
    values = smooth(2, 40, 36).astype(dtype)
    field = NumcodecsField(BOUND, periodic=True)
    data = field.encode(values)
    assert isinstance(data, bytes)
    assert len(data) < values.nbytes / 2
    found = field.decode(data)
    assert (found.shape, found.dtype) == (values.shape, np.dtype(dtype).newbyteorder("<"))
    assert np.abs(found - values).max() <= BOUND


def test_a_relative_bound_and_an_array_for_the_values():
    values = smooth(40, 60) + 50
    field = NumcodecsField(0.01, kind="relative")
    data = field.encode(values)
    out = np.empty_like(values)
    assert field.decode(np.frombuffer(data, np.uint8), out=out) is out
    assert (np.abs(out.astype("f8") - values) <= 0.01 * np.abs(values.astype("f8"))).all()
    with pytest.raises(SzilardError, match="do not fit"):
        field.decode(data, out=np.empty(7, "f4"))


def test_the_order_in_memory_is_kept():
    """As numcodecs does it: bytes in, bytes out."""
    values = np.asfortranarray(smooth(30, 60))
    out = np.empty(values.shape, "f4", order="F")
    field = NumcodecsField(BOUND)
    field.decode(field.encode(values), out=out)
    assert np.abs(out - values).max() <= BOUND


def test_numcodecs_finds_the_codec_by_its_configuration():
    field = NumcodecsField(0.5, kind="relative", periodic=True, effort=0.3, seed=4)
    config = json.loads(json.dumps(field.get_config()))
    assert config == {
        "id": "szilard.field", "bound": 0.5, "kind": "relative", "periodic": True, "effort": 0.3, "seed": 4,
    }  # fmt: skip
    assert numcodecs.get_codec(config) == field


@pytest.mark.parametrize(
    "wrong",
    [
        {}, {"bound": -1}, {"bound": 0}, {"bound": float("nan")}, {"bound": "1"}, {"bound": True}, {"bound": None},
        {"bound": 1.5, "kind": "relative"}, {"bound": 1, "kind": "other"}, {"bound": 1, "effort": -1},
        {"bound": 1, "more": 2}, {"bound": 1, "seed": "x"},
    ],
)  # fmt: skip
def test_wrong_settings_are_one_sentence(wrong):
    with pytest.raises(SzilardError):
        NumcodecsField.from_config({"id": "szilard.field", **wrong})


@pytest.mark.parametrize("given", [b"bytes", np.zeros((3, 3), "i4"), np.zeros((1,) * 6, "f4")])
def test_what_is_no_field_is_refused(given):
    with pytest.raises(SzilardError):
        NumcodecsField(1.0).encode(given)


def test_damaged_bytes_are_refused():
    field = NumcodecsField(BOUND)
    data = field.encode(smooth(40, 60))
    for wrong in (b"", data[:-3], b"x" + data[1:], data[:50] + b"\0\0" + data[52:]):
        with pytest.raises(SzilardError):
            field.decode(wrong)


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_in_zarr_format_2(tmp_path, order):
    values = smooth(3, 30, 36)
    array = zarr.create_array(
        tmp_path / "a", shape=values.shape, chunks=(2, 30, 36), dtype="f4", zarr_format=2, order=order,
        compressors=NumcodecsField(BOUND),
    )  # fmt: skip
    array[...] = values
    found = zarr.open_array(tmp_path / "a", mode="r")
    assert json.loads((tmp_path / "a" / ".zarray").read_text())["compressor"]["id"] == "szilard.field"
    assert np.abs(found[...] - values).max() <= BOUND
