"""The decoder written from docs/codec_format.md decodes what the library does, and refuses what it refuses."""

from __future__ import annotations

import hashlib
from pathlib import Path

import field_reference
import numpy as np
import pytest
from field_inputs import coded_network, smooth
from field_made import made, sealed
from field_reference import BASE, MAPPED, MARKED, PERIODIC, RASTER, RELATIVE
from field_reference_parts import PAGE, block
from szd_streams import Refused

from szilard.codec import Bound, opening, stream, weights
from szilard.errors import SzilardError

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.szf"))
EXAMPLE = bytes.fromhex("".join(block("example")))


def same(found, expected):
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_streams(path):
    data = path.read_bytes()
    same(field_reference.decode(data), opening.decode(data))


def test_example_of_the_page():
    found = field_reference.decode(EXAMPLE)
    same(found, opening.decode(EXAMPLE))
    assert hashlib.sha256(found.tobytes()).hexdigest() in PAGE


def field(shape, dtype, noise, seed):
    array = smooth(*shape, seed=seed, dtype=np.float64)
    return (array + noise * np.random.default_rng(seed).normal(size=shape)).astype(dtype)


@pytest.mark.parametrize(
    ("shape", "dtype", "bound", "named", "order", "sections"),
    [
        ((700,), np.float32, Bound(0.02), {}, "coarse to fine", ()),
        ((700,), np.float64, Bound(0.05), {"noise": 20.0, "periodic": True}, "coarse to fine", ("base",)),
        ((30, 48), np.float32, Bound(0.05), {"periodic": True}, "coarse to fine", ()),
        ((30, 45), np.float64, Bound(0.02, relative=True), {"periodic": True}, "coarse to fine", ("marks",)),
        ((48, 50), np.float64, Bound(0.05), {"raster": True}, "raster", ()),
        ((2, 30, 40), np.float32, Bound(0.05, relative=True), {"raster": True}, "raster", ("marks",)),
        ((3, 16, 30), np.float32, Bound(0.05), {"bounds": 9}, "coarse to fine", ("map",)),
        (
            (3, 16, 30),
            np.float64,
            Bound(0.02),
            {"bounds": 5, "noise": 9.0},
            "coarse to fine",
            ("map", "base"),
        ),
        ((2, 3, 12, 20), np.float32, Bound(0.05), {}, "coarse to fine", ()),
        ((2, 2, 3, 9, 14), np.float64, Bound(0.01, relative=True), {}, "coarse to fine", ("marks",)),
        ((90, 6, 7), np.float32, Bound(0.05), {"periodic": True}, "coarse to fine", ()),
        ((30, 2, 18, 3, 4), np.float64, Bound(0.05), {"noise": 5.0}, "coarse to fine", ("base",)),
        ((2, 3, 4, 5, 6), np.float32, Bound(1e-9), {}, "raw", ()),
        ((0, 3), np.float64, Bound(1.0), {}, "raw", ()),
    ],
)
def test_streams_of_the_encoder(shape, dtype, bound, named, order, sections):
    array = field(shape, dtype, 0.3 * bound.size, len(shape))
    if "marks" in sections:
        array.flat[5:300:7] = [np.nan, 0.0, -0.0] * 14 + [-np.inf]
    if "bounds" in named:
        bounds = bound.size * 2.0 ** np.linspace(0, named["bounds"], shape[-1])
        named = {**named, "bounds": np.broadcast_to(bounds, shape)}
    data = stream.encode(array, bound, weights.unchanged(), **named)
    assert opening.order(data) == order
    assert all(opening.sizes(data)[name] > 8 for name in sections)
    same(field_reference.decode(data), opening.decode(data))


def test_weights_outside():
    used = coded_network(size=0.01)
    array = smooth(40, 50, dtype=np.float64)
    data = stream.encode(array, Bound(0.01), used, within=False)
    assert opening.sizes(data)["weights"] == 8
    same(field_reference.decode(data, used.encode(6)), opening.decode(data, used.network))
    for other in (None, coded_network(seed=1).encode(6)):
        with pytest.raises(Refused, match="the weights are"):
            field_reference.decode(data, other)


@pytest.mark.parametrize(
    ("shape", "flags", "named"),
    [
        ((300,), MARKED | BASE, {"levels": 5, "hidden": 32, "size": 0.01}),
        ((17, 24), PERIODIC | MAPPED, {"levels": 3, "kind": 1, "largest": 9}),
        ((17, 20), PERIODIC | RELATIVE | MARKED, {"levels": 3, "hidden": 0}),
        ((2, 24, 40), RASTER | MAPPED | BASE | MARKED, {"axes": 56, "size": 1.0}),
        ((2, 24, 40), RASTER | RELATIVE | PERIODIC, {"hidden": 0, "kind": 1}),
        ((3, 2, 11, 13), MARKED | BASE | PERIODIC, {"levels": 2, "axes": 1, "size": 0.01}),
        ((2, 2, 2, 9, 16), MAPPED | BASE | PERIODIC, {"levels": 4, "axes": 2 + 8, "hidden": 1}),
        ((3, 7), MARKED, {"levels": 0, "hidden": 2, "kind": 1}),
    ],
)
def test_streams_of_random_numbers(shape, flags, named):
    data, array = made(len(shape), shape, flags, **named)
    sizes = opening.sizes(data)
    if shape != (3, 7):  # which is a coarse grid alone
        assert sizes["escapes"] > 9
        assert sizes["plain bits"] > 9 or flags & MAPPED
    same(field_reference.decode(data), array.reshape(shape))
    same(opening.decode(data), array.reshape(shape))


def outcome(decode, data, refusal):
    try:
        return decode(data).tobytes()
    except refusal:
        return None


@pytest.mark.parametrize("at", [*range(4, 13), 20, 25])
def test_bits_of_the_header_that_change(at):
    """Both decoders refuse a damaged header whose checksum fits, or decode the same."""
    for bit in range(8):
        data = bytearray(EXAMPLE[:-4])
        data[at] ^= 1 << bit
        damaged = sealed(bytes(data))
        expected = outcome(opening.decode, damaged, SzilardError)
        assert outcome(field_reference.decode, damaged, Refused) == expected


def test_a_map_has_an_absolute_bound():
    data, _ = made(0, (17, 24), MAPPED, levels=3)
    at = 9
    assert data[at] == MAPPED
    head = data[:at] + bytes([MAPPED | RELATIVE]) + data[at + 1 : at + 3] + np.float64(0.5).tobytes()
    damaged = sealed(head + data[at + 11 : -4])
    with pytest.raises(Refused, match="a relative bound has a map"):
        field_reference.decode(damaged)
    with pytest.raises(SzilardError, match="header of the field is damaged"):
        opening.decode(damaged)
