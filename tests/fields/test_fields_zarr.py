"""The field codec in zarr format 3: round trips, slices, damaged metadata and chunks, and readers without szilard."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import tracemalloc
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("zarr", reason="pip install 'szilard[field]'")
pytest.importorskip("xarray", reason="pip install 'szilard[field]'")

import zarr
from field_stores import codec, smooth

from szilard.codec import Bound, FieldCodec
from szilard.errors import SzilardError
from szilard.fields import ZarrField, zarr_codec

ROOT = Path(__file__).parents[2]
BOUND = 0.05


def made(path, values, chunks, given=None, **options):
    array = zarr.create_array(
        path, shape=values.shape, chunks=chunks, dtype=values.dtype, serializer=given or ZarrField(codec(BOUND)),
        compressors=None, fill_value=np.nan if values.dtype.kind == "f" else 0, **options,
    )  # fmt: skip
    array[...] = values
    return array


def edited(path, change):
    """The metadata of a store, changed in place."""
    file = path / "zarr.json"
    metadata = json.loads(file.read_text())
    change(metadata)
    file.write_text(json.dumps(metadata))


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4", ">f8"])
@pytest.mark.parametrize(
    ("shape", "chunks"),
    [
        ((50,), (20,)),
        ((20, 36), (20, 36)),
        ((5, 20, 36), (2, 20, 20)),
        ((2, 3, 2, 9, 8), (1, 3, 2, 9, 8)),
        ((2, 1, 2, 2, 9, 8), (2, 1, 1, 2, 9, 8)),
    ],
)
def test_values_stay_within_the_bound(tmp_path, dtype, shape, chunks):
    values = smooth(*shape).astype(dtype)
    made(tmp_path / "a", values, chunks)
    found = zarr.open_array(tmp_path / "a", mode="r")[...]
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    assert found.shape == shape
    assert np.abs(found.astype("f8") - values).max() <= BOUND


def test_the_weights_are_in_the_metadata_alone(tmp_path):
    array = made(tmp_path / "a", smooth(4, 20, 36), (1, 20, 36))
    entry = json.loads((tmp_path / "a" / "zarr.json").read_text())["codecs"]
    assert [one["name"] for one in entry] == ["szilard.field"]
    assert entry[0]["configuration"] == codec(BOUND).to_dict()
    chunk = (tmp_path / "a" / "c" / "0" / "0" / "0").read_bytes()
    assert codec(BOUND).decode(chunk).shape == (1, 20, 36)
    assert array.metadata.codecs[0] == ZarrField(codec(BOUND))
    assert array.metadata.codecs[0] != ZarrField(codec(2 * BOUND))
    assert hash(array.metadata.codecs[0]) == hash(ZarrField(codec(BOUND)))


def test_a_slice_decodes_its_chunks_alone(tmp_path, monkeypatch):
    values = smooth(6, 20, 36)
    made(tmp_path / "a", values, (2, 10, 36))
    array, whole, shapes = zarr.open_array(tmp_path / "a", mode="r"), zarr_codec.calls.decoded, []

    def counted(*given):
        shapes.append(given[2])
        return whole(*given)

    monkeypatch.setattr(zarr_codec.calls, "decoded", counted)
    np.testing.assert_allclose(array[2:4, 3, :5], values[2:4, 3, :5], atol=BOUND)
    assert shapes == [(2, 10, 36)]
    assert array[1:3, 5:15].shape == (2, 10, 36)
    assert len(shapes) == 1 + 4


def test_the_codec_works_within_shards(tmp_path):
    values = smooth(8, 16, 16)
    made(tmp_path / "a", values, (2, 16, 16), shards=(4, 16, 16))
    found = zarr.open_array(tmp_path / "a", mode="r")
    assert np.abs(found[...] - values).max() <= BOUND
    assert np.abs(found[5] - values[5]).max() <= BOUND


@pytest.mark.parametrize("dtype", ["f2", "i4", "u1", "c8", "?"])
def test_other_types_are_refused(tmp_path, dtype):
    with pytest.raises(SzilardError, match="float32 and float64"):
        made(tmp_path / "a", np.zeros((4, 4), dtype), (4, 4))


def test_the_encoded_size_is_not_known_before():
    with pytest.raises(NotImplementedError):
        ZarrField(codec()).compute_encoded_size(10, None)
    assert not ZarrField.is_fixed_size
    assert repr(ZarrField(codec(0.5))) == "ZarrField(absolute bound 0.5)"


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.pop("bound"),
        lambda c: c.update(bound="0.1"),
        lambda c: c.update(bound=-1.0),
        lambda c: c.update(bound=float("nan")),
        lambda c: c.update(kind="relative", bound=2.0),
        lambda c: c.update(kind="unknown"),
        lambda c: c.update(kind=[]),
        lambda c: c.update(periodic=1),
        lambda c: c.update(more=1),
        lambda c: c.update(weights="A" * 30_000),
        lambda c: c.update(weights="A" * 300),
        lambda c: c.update(weights="not base64!"),
        lambda c: c.update(weights=c["weights"][: len(c["weights"]) // 8 * 4]),
        lambda c: c.update(weights=7),
        lambda c: c.clear(),
    ],
)
def test_a_hostile_configuration_is_one_sentence(tmp_path, change):
    made(tmp_path / "a", smooth(4, 8, 8), (4, 8, 8))
    edited(tmp_path / "a", lambda metadata: change(metadata["codecs"][0]["configuration"]))
    with pytest.raises(SzilardError):
        zarr.open_array(tmp_path / "a", mode="r")


@pytest.mark.parametrize("configuration", [None, [], "x", 3])
def test_a_configuration_that_is_no_object_is_refused(configuration):
    with pytest.raises(SzilardError, match=r"zarr\.json"):
        ZarrField.from_dict({"name": "szilard.field", "configuration": configuration})


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["chunk_grid"]["configuration"].update(chunk_shape=[2, 20, 36]),
        lambda m: m.update(data_type="float64"),
        lambda m: m["codecs"][0]["configuration"].update(weights=None),
        lambda m: m["codecs"][0]["configuration"].update(weights=codec(hidden=4).to_dict()["weights"]),
    ],
)
def test_a_chunk_that_does_not_fit_the_metadata_is_refused(tmp_path, change):
    made(tmp_path / "a", smooth(4, 20, 36), (4, 20, 36))
    edited(tmp_path / "a", change)
    with pytest.raises(SzilardError):
        zarr.open_array(tmp_path / "a", mode="r")[:1]


def test_a_chunk_of_another_shape_or_cut_off_is_refused(tmp_path):
    made(tmp_path / "a", smooth(4, 20, 36), (2, 20, 36))
    file = tmp_path / "a" / "c" / "1" / "0" / "0"
    whole = file.read_bytes()
    for data in (codec().encode(smooth(2, 36, 20)), whole[:-9], b"", b"SZF0", whole[:40] + b"x" + whole[41:]):
        file.write_bytes(data)
        array = zarr.open_array(tmp_path / "a", mode="r")
        with pytest.raises(SzilardError):
            array[2:]
        assert array[:2].shape == (2, 20, 36)


def test_a_chunk_that_claims_more_values_costs_no_memory(tmp_path):
    made(tmp_path / "a", smooth(2, 8, 8), (2, 8, 8))
    (tmp_path / "a" / "c" / "0" / "0" / "0").write_bytes(FieldCodec(Bound(1)).encode(np.zeros((4000, 1000))))
    array = zarr.open_array(tmp_path / "a", mode="r")
    tracemalloc.start()
    with pytest.raises(SzilardError):
        array[...]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000


READER = """
import sys
import zarr

array = zarr.open_group(sys.argv[1], mode="r")["t"]
before = "szilard.fields" in sys.modules
values = array[1:3]
print(before, "torch" in sys.modules, values.shape, round(float(values.mean()), 3))
"""


def test_a_process_that_imports_zarr_alone_reads_a_store(tmp_path):
    values = smooth(4, 20, 36)
    zarr.create_group(tmp_path / "s")
    made(tmp_path / "s" / "t", values, (2, 20, 36))
    paths = [str(ROOT / "src")]
    if not entry_points(group="zarr.codecs", name="szilard.field"):  # a checkout that is not installed
        paths.append(str(metadata(tmp_path)))
    outside = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", READER, str(tmp_path / "s")],
        env=outside, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    loaded, torch, rest = done.stdout.split(" ", 2)
    assert (loaded, torch) == ("True", "False")
    assert rest.startswith("(2, 20, 36)")
    assert abs(float(rest.split()[-1]) - values[1:3].mean()) <= BOUND


def metadata(folder):
    """A folder whose metadata has the entry points of pyproject.toml, as an installation would."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    info = folder / "site" / "szilard-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: szilard\nVersion: 0\n")
    lines = []
    for group, points in project.items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return folder / "site"
