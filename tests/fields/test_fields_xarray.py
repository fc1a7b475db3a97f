"""Datasets written, opened, checked and inspected."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

pytest.importorskip("xarray", reason="pip install 'szilard[field]'")
pytest.importorskip("zarr", reason="pip install 'szilard[field]'")

import xarray as xr
import zarr
from field_stores import codec, codecs, dataset, smooth

from szilard import fields
from szilard.codec import Bound
from szilard.errors import SzilardError, SzilardWarning
from szilard.fields import zarr_codec
from szilard.fields.chunking import goes_around, usual
from szilard.fields.sampling import part, sample

BOUND = {"t": 0.05, "u": "relative:0.01"}
FIT = codecs(t=1, u=1)


def error(store, data, name):
    return float(abs(store[name].astype("f8") - data[name].astype("f8")).max())


def relative_ok(store, data, name, share):
    return bool((abs(store[name] - data[name]) <= share * abs(data[name])).all())


@pytest.mark.parametrize(
    "chunks", [None, {"time": 4}, {"time": 3, "lat": 7, "lon": 17}, {"time": -1, "lat": 99}]
)
@pytest.mark.parametrize("source", ["memory", "dask"])
def test_a_dataset_comes_back_within_its_bounds(tmp_path, chunks, source):
    data = dataset()
    given = data if source == "memory" else data.chunk(time=3, lat=8)
    written = given.szilard.to_zarr(tmp_path / "s", BOUND, chunks=chunks, fit=FIT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = xr.open_zarr(tmp_path / "s")
    assert 0.02 < error(opened, data, "t") <= 0.05
    assert relative_ok(opened, data, "u", 0.01)
    xr.testing.assert_identical(opened.drop_vars(["t", "u"]).load(), data.drop_vars(["t", "u"]))
    assert opened["t"].attrs == data["t"].attrs
    assert opened["t"].dtype == "f4"
    assert list(written.variables) == ["t", "u"]
    assert set(written.exact) == {"n", "time", "lat", "lon", "area", "label"}
    assert opened.szilard.check(data).ok
    assert opened["u"].szilard.check(data["u"]).ok


def test_what_was_written_is_counted(tmp_path):
    data = dataset()
    written = fields.write(data, tmp_path / "s", {"t": Bound(0.05)}, chunks={"time": 4}, fit=FIT)
    one, folder = written.variables["t"], tmp_path / "s"
    assert one.bytes == sum(file.stat().st_size for file in (folder / "t").rglob("*") if file.is_file())
    assert written.bytes == sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert (one.raw_bytes, one.chunks, one.n_chunks, one.new_chunks) == (data["t"].nbytes, (4, 20, 36), 3, 3)
    assert one.ratio == one.raw_bytes / one.bytes > 2
    assert (one.stated, one.bound, one.periodic) == ("0.05", "0.05 K", True)
    assert one.seconds > 0
    assert one.cpu_seconds > 0
    assert not list(tmp_path.glob("s.*"))


def test_a_store_is_inspected_without_decoding(tmp_path, monkeypatch):
    data = dataset()
    data["u"][...] = np.random.default_rng(0).normal(size=data["u"].shape) * 1e9
    written = fields.write(data, tmp_path / "s", {"t": 0.05, "u": 1e-9}, chunks={"time": 4}, fit=FIT)
    monkeypatch.setattr(zarr_codec.calls, "decoded", None)
    found = fields.inspect(tmp_path / "s")
    one = found.variables["t"]
    assert (one.shape, one.dtype, one.chunks, one.bound) == ((10, 20, 36), "float32", (4, 20, 36), "0.05 K")
    assert one.bytes == written.variables["t"].bytes
    assert one.ratio == written.variables["t"].ratio
    assert one.weights == len(codec().to_dict()["weights"])
    assert sum(one.modes.values()) == 3
    assert one.parts["symbols"] > 1000
    assert found.variables["u"].modes == {"raw": 3}
    assert set(found.exact) == {"n", "time", "lat", "lon", "area", "label"}
    (tmp_path / "s" / "t" / "c" / "1" / "0" / "0").unlink()
    assert fields.inspect(tmp_path / "s").variables["t"].modes["missing"] == 1
    with pytest.raises(SzilardError, match="not a zarr store"):
        fields.inspect(tmp_path)


def test_gaps_and_infinities_stay_where_they_are(tmp_path):
    data = dataset()
    data["t"][:, 3:9, 5:20] = np.nan
    data["t"][2, 0, 0], data["t"][2, 0, 1], data["u"][3] = np.inf, -np.inf, np.nan
    fields.write(data, tmp_path / "s", {"t": 0.05, "u": 0.05}, fit=FIT, chunks={"time": 3})
    done = fields.check(tmp_path / "s", data)
    assert done.ok
    opened = xr.open_zarr(tmp_path / "s")
    np.testing.assert_array_equal(np.isnan(opened["t"]), np.isnan(data["t"]))
    np.testing.assert_array_equal(opened["t"][2, 0, :2], [np.inf, -np.inf])
    moved = data.copy(deep=True)
    moved["t"][0, 4, 6], moved["t"][2, 0, 0] = 1.0, -np.inf
    assert fields.check(opened, moved).variables["t"].moved == 2


def test_a_slice_of_an_opened_store_decodes_its_chunks_alone(tmp_path, monkeypatch):
    data = dataset()
    fields.write(data, tmp_path / "s", {"t": 0.05}, chunks={"time": 2}, fit=FIT)
    whole, count = zarr_codec.calls.decoded, []
    monkeypatch.setattr(zarr_codec.calls, "decoded", lambda *given: count.append(1) or whole(*given))
    for opened in (xr.open_dataset(tmp_path / "s", engine="zarr"), xr.open_zarr(tmp_path / "s")):
        count.clear()
        part = opened["t"].isel(time=slice(3, 5), lat=2)
        assert not count
        np.testing.assert_allclose(part.values, data["t"][3:5, 2].values, atol=0.0501)
        assert len(count) == 2


def test_five_dimensions_and_more(tmp_path):
    data = xr.Dataset(
        {
            "t": (tuple("abcyx"), smooth(2, 3, 2, 12, 16)),
            "more": (tuple("dabcyx"), smooth(2, 2, 3, 2, 12, 16)),
            "line": ("along", smooth(500)),
        }
    )
    fit = codecs(t=1, more=1, line=1)
    written = fields.write(data, tmp_path / "s", 0.05, fit=fit, chunks={"a": 1, "along": 128})
    assert fields.check(tmp_path / "s", data).ok
    assert written.variables["t"].chunks == (1, 3, 2, 12, 16)
    assert error(xr.open_zarr(tmp_path / "s"), data, "t") > 0.02


def test_a_netcdf_file_packed_in_16_bits_is_unpacked_with_a_warning(tmp_path):
    pytest.importorskip("netCDF4")
    data = dataset()[["t", "u"]]
    packing = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 3.0, "_FillValue": -32768}
    data.to_netcdf(tmp_path / "a.nc", encoding={"t": packing, "u": {"_FillValue": 1e20}})
    for chunks in (None, {"time": 4}):
        with xr.open_dataset(tmp_path / "a.nc", chunks=chunks) as opened:
            with pytest.warns(SzilardWarning, match="t was packed as int16") as given:
                opened.szilard.to_zarr(tmp_path / "s", {"*": 0.05}, fit=FIT, overwrite=True)
            assert sum(issubclass(one.category, SzilardWarning) for one in given) == 1
            stored = xr.open_zarr(tmp_path / "s")
            assert 0.02 < error(stored, opened, "t") <= 0.05
            assert stored["t"].dtype == opened["t"].dtype
            assert stored.szilard.check(opened).ok
    assert fields.check(tmp_path / "s", tmp_path / "a.nc").ok


def test_values_that_were_not_decoded_are_refused(tmp_path):
    data = dataset()
    data["t"].attrs["scale_factor"] = 0.1
    with pytest.raises(SzilardError, match="t has scale_factor in its attributes"):
        fields.write(data, tmp_path / "s", {"t": 0.05}, fit=FIT)
    fields.write(data, tmp_path / "s", {"u": 0.05}, fit=FIT)
    assert not (tmp_path / "s.unfinished").exists()


def test_a_store_that_was_opened_is_written_again(tmp_path):
    data = dataset().drop_vars("label")
    fields.write(data, tmp_path / "a", {"t": 0.05}, chunks={"time": 4}, fit=FIT)
    opened = xr.open_zarr(tmp_path / "a")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fields.write(opened, tmp_path / "b", {"u": 0.05}, fit=FIT)
    again = xr.open_zarr(tmp_path / "b")
    xr.testing.assert_equal(again["t"], opened["t"])
    assert fields.inspect(tmp_path / "b").variables.keys() == {"u"}


def test_a_check_counts_what_is_wrong(tmp_path):
    data = dataset()
    fields.write(data, tmp_path / "s", {"t": 0.05, "u": 0.05}, chunks={"time": 4}, fit=FIT)
    other = data.copy(deep=True)
    other["t"][3, 4, 5] += 1
    other["n"][2] += 1
    other["new"] = ("lat", np.zeros(20))
    done = fields.check(tmp_path / "s", other)
    assert not done.ok
    one = done.variables["t"]
    assert (one.beyond, one.values, one.moved, one.ok) == (1, 7200, 0, False)
    assert one.largest == pytest.approx(20, abs=1.01)
    assert (done.changed, done.missing) == (("n",), ("new",))
    assert done.variables["u"].ok
    tight = fields.check(tmp_path / "s", data, {"t": 0.01, "u": "relative:0.5"})
    assert tight.variables["t"].beyond > 1000
    assert tight.variables["t"].bound == "0.01 K"
    with pytest.raises(SzilardError, match="select the same part"):
        fields.check(xr.open_zarr(tmp_path / "s"), data.isel(time=slice(5)))
    (tmp_path / "s" / "t" / "c" / "1" / "0" / "0").unlink()
    assert fields.check(tmp_path / "s", data).variables["t"].moved == 4 * 20 * 36


def test_a_relative_error_of_zero_is_allowed_nothing():
    found = fields.checking.compare(
        np.array([0, 1.0, 2.0, np.nan]), np.array([0, 1.01, 0, np.nan]), Bound(0.01, relative=True)
    )
    assert found[0] == 1
    assert found[1] == np.inf
    assert found[2] == 2
    assert found[3] == 0


def test_without_a_fit_the_default_weights_serve(tmp_path):
    data = dataset()
    written = fields.write(data, tmp_path / "s", {"t": 0.05}, fit=False)
    assert 0 < error(xr.open_zarr(tmp_path / "s"), data, "t") <= 0.05
    assert written.variables["t"].ratio > 2


def test_weights_are_fitted_once_for_each_variable(tmp_path, monkeypatch):
    monkeypatch.setattr("szilard.codec.candidates.HIDDEN", (4,))
    monkeypatch.setattr("szilard.codec.candidates._FEWEST", 3)
    data = dataset()[["t"]]
    written = fields.write(data, tmp_path / "s", "range:0.002", effort=0.01, chunks={"time": 2})
    assert fields.check(tmp_path / "s", data, "range:0.002").ok
    assert written.variables["t"].ratio > 2
    configuration = zarr.open_group(tmp_path / "s")["t"].metadata.codecs[0].to_dict()["configuration"]
    assert configuration["weights"]
    assert not configuration["within"]


def test_progress_is_told_of_every_chunk(tmp_path):
    class Told:
        def __init__(self):
            self.texts, self.total, self.done = [], None, []

        def status(self, text):
            self.texts.append(text)

        def start(self, total_chunks, raw_bytes):
            self.total = total_chunks, raw_bytes

        def advance(self, variable, raw_bytes, written_bytes):
            self.done.append((variable, raw_bytes, written_bytes))

    data, told = dataset(), Told()
    written = fields.write(data, tmp_path / "s", BOUND, chunks={"time": 3, "lat": 11}, fit=FIT, progress=told)
    assert (
        told.total
        == (16, data["t"].nbytes + data["u"].nbytes)
        == (len(told.done), sum(one[1] for one in told.done))
    )
    assert 0 < sum(one[2] for one in told.done) < written.bytes
    assert "fitting t" in told.texts


def test_an_array_needs_a_name(tmp_path):
    data = dataset()["t"]
    data.szilard.to_zarr(tmp_path / "s", 0.05, fit=FIT)
    assert data.szilard.check(data).ok
    with pytest.raises(SzilardError, match="has no name"):
        data.rename(None).szilard.to_zarr(tmp_path / "b", 0.05)
    with pytest.raises(SzilardError, match="dataset of xarray is needed, not ndarray"):
        fields.write(data.values, tmp_path / "b", 0.05)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"chunks": {"level": 2}}, "level.*time, lat, lon"),
        ({"chunks": {"time": 0}}, "positive integer"),
        ({"chunks": {"time": 2.5}}, "positive integer"),
        ({"effort": -1}, "effort"),
        ({"effort": float("nan")}, "effort"),
        ({"workers": 0}, "workers"),
        ({"resume": True, "overwrite": True}, "not both"),
    ],
)
def test_wrong_options_are_one_sentence(tmp_path, options, said):
    with pytest.raises(SzilardError, match=said):
        fields.write(dataset(), tmp_path / "s", 0.05, fit=FIT, **options)
    assert not list(tmp_path.iterdir())


def test_chunks_that_are_too_large_for_a_stream_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("szilard.codec.head.MOST_SLICE", 500)
    with pytest.raises(SzilardError, match="chunks of t would have 7,200 values, 720 of them"):
        fields.write(dataset(), tmp_path / "s", 0.05, fit=FIT)
    fields.write(dataset(), tmp_path / "s", 0.05, fit=FIT, chunks={"lat": 10})


def test_usual_chunks_have_whole_slices_and_two_to_four_million_values():
    for shape in [
        (1000, 721, 1440),
        (50, 1000, 361, 720),
        (10, 4, 37, 181, 360),
        (8760, 100, 100),
        (5, 3000, 7000),
        (10**8,),
    ]:
        chunks = usual(shape)
        assert 1_000_000 < np.prod(chunks) < 4_300_000
        if shape[-1] * shape[-2 if len(shape) > 1 else -1] <= 1 << 20:
            assert chunks[-2:] == shape[-2:]
    assert usual((4, 5, 6)) == (4, 5, 6)
    assert usual((0, 5)) == (1, 5)


@pytest.mark.parametrize(
    "shape",
    [(1000, 721, 1440), (50, 1000, 361, 720), (40, 10, 4, 181, 360), (9, 7, 5), (3000, 7000), (9_000_000,)],
)
def test_samples_are_small_and_have_neighbours_along_leading_axes(shape):
    chunks = usual(shape)
    found, count = part(shape, chunks)
    assert count * np.prod(found) <= 2_000_000
    assert all(a <= b for a, b in zip(found, chunks, strict=True))
    if len(shape) > 2:
        assert found[-3] >= 2
        assert found[-2] >= 0.9 * shape[-2]


def test_a_sample_is_spread_over_a_variable(monkeypatch):
    monkeypatch.setattr("szilard.fields.sampling.MOST", 4 * 3 * 20 * 36)
    variable = dataset(times=100)["t"].variable
    values, laid = sample(variable, None, (10, 20, 36))
    assert values.shape == (4, 3, 20, 36)
    assert laid is None
    starts = [int(np.flatnonzero((variable.values == one[0]).all((1, 2)))[0]) for one in values]
    assert starts == sorted(starts)
    assert starts[0] < 25
    assert starts[-1] > 70


@pytest.mark.parametrize(
    ("lon", "name", "attrs", "expected"),
    [
        (np.arange(36) * 10.0, "lon", {}, True),
        (np.arange(36)[::-1] * 10.0 - 180, "longitude", {}, True),
        ((np.arange(432) / 1.2).astype("f4"), "x", {"units": "degrees_east"}, True),
        (np.arange(36) * 10.0, "x", {"standard_name": "longitude"}, True),
        (np.arange(36) * 10.0, "x", {}, False),
        (np.arange(37) * 10.0, "lon", {}, False),
        (np.arange(18) * 10.0, "lon", {}, False),
        (np.sort(np.random.default_rng(0).uniform(0, 360, 36)), "lon", {}, False),
        (np.zeros(1), "lon", {}, False),
    ],
)  # fmt: skip
def test_longitudes_that_go_around_are_recognised(lon, name, attrs, expected):
    array = xr.DataArray(np.zeros((3, len(lon))), dims=("lat", name), coords={name: (name, lon, attrs)})
    assert goes_around(array) is expected
    assert not goes_around(array.drop_vars(name))
    assert not goes_around(array.T)
