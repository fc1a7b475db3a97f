"""Streams of fields with a base."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from szilard.codec import Bound, FieldCodec, candidates, opening, stream, weights
from szilard.codec.features import INPUTS, LINEAR
from szilard.codec.grid import MOST_LEVELS
from szilard.codec.network import Network
from szilard.errors import SzilardError

WEIGHTS = weights.Weights(
    Network(
        np.zeros((MOST_LEVELS, 3, LINEAR), np.int64), np.zeros((1, INPUTS), np.int64), np.zeros((1, 1), np.int64),
        np.zeros((2, 1), np.int64), np.zeros(4, np.int64),
    ),
    dict.fromkeys(weights.PARTS, 0),
)  # fmt: skip


def field(*shape, seed=0, dtype=np.float32):
    r = np.random.default_rng(seed)
    total = 0.01 * r.normal(size=shape)
    for axis, grid in enumerate(np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij")):
        total += 5 * np.sin(2 * np.pi * (grid + r.random())) / (1 + axis)
    return total.astype(dtype)


@settings(max_examples=12, deadline=None)
@given(
    shape=st.lists(st.integers(1, 12), min_size=1, max_size=5), dtype=st.sampled_from([np.float32, np.float64]),
    periodic=st.booleans(), noise=st.floats(0.3, 50), gaps=st.booleans(), relative=st.booleans(),
)  # fmt: skip
def test_every_value_is_within_the_bound(shape, dtype, periodic, noise, gaps, relative):
    array = field(*shape, dtype=dtype)
    if gaps:
        array.reshape(-1)[::3] = np.nan
    bound = Bound(0.05, relative)
    data = stream.encode(array, bound, WEIGHTS, periodic=periodic, noise=noise)
    found = opening.decode(data)
    here = np.isfinite(array)
    assert not bound.broken(array[here], found[here]).any()
    assert (found[~here].view(f"u{array.itemsize}") == array[~here].view(f"u{array.itemsize}")).all()


def test_base_makes_the_stream_of_a_smooth_field_shorter():
    array = field(3, 40, 60)
    plain, smooth = (
        stream.encode(array, Bound(0.05), WEIGHTS, periodic=True, noise=noise) for noise in (0, 1.0)
    )
    assert len(smooth) < 0.8 * len(plain)


def test_damaged_base_is_refused_or_changes_nothing():
    data = stream.encode(field(3, 20, 30), Bound(0.05), WEIGHTS, noise=1.0)
    array = opening.decode(data)
    r = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        broken = bytearray(data[:-4])
        broken[-r.integers(1, 60)] ^= 1 << r.integers(8)
        broken += zlib.crc32(broken).to_bytes(4, "little")
        try:
            np.testing.assert_array_equal(opening.decode(bytes(broken)), array)
        except SzilardError:
            refused += 1
    assert refused > 50


def test_codec_chooses_a_base_and_is_json(monkeypatch):
    monkeypatch.setattr(candidates, "_FEWEST", 10)
    array = field(4, 24, 36)
    codec = FieldCodec.fit(array, Bound(0.2), periodic=True, within=True, effort=0.05)
    assert codec.noise > 0
    data = codec.encode(array)
    assert np.abs(codec.decode(data) - array).max() <= 0.2
    assert FieldCodec.from_dict(codec.to_dict()).encode(array) == data
    with pytest.raises(SzilardError, match="damaged"):
        FieldCodec.from_dict({**codec.to_dict(), "noise": -1.0})
