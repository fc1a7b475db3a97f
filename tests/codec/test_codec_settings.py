"""Settings of a field codec from a stranger: a codec that can be written again, or an error of ours."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from field_inputs import coded_network, smooth
from hypothesis import given
from hypothesis import strategies as st

from szilard.codec import Bound, FieldCodec
from szilard.errors import SzilardError

GOOD = FieldCodec(Bound(0.05), weights=coded_network(3)).to_dict()
WEIGHTS = base64.b64decode(GOOD["weights"])
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["relative", "absolute"])
)
JSON = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
FIELD = smooth(20, 30)


def check(given):
    """Opening gives a codec that goes round and keeps its bound, or SzilardError."""
    try:
        codec = FieldCodec.from_dict(given)
    except SzilardError:
        return False
    again = FieldCodec.from_dict(json.loads(json.dumps(codec.to_dict())))
    assert again.to_dict() == codec.to_dict()
    data = codec.encode(FIELD)
    assert not codec.bound.broken(FIELD, again.decode(data)).any()
    return True


@given(JSON)
def test_any_json_value(value):
    assert not check(value)


@given(
    st.dictionaries(st.sampled_from(sorted(GOOD)), JSON, max_size=3),
    st.sets(st.sampled_from(sorted(GOOD)), max_size=1),
)
def test_settings_of_wrong_values(changed, missing):
    check({name: value for name, value in {**GOOD, **changed}.items() if name not in missing})


@pytest.mark.parametrize("bound", [10**400, -1, 0, 5e-324, 1e-320, 1e308, 1e400, float("nan"), 1, 0.999])
@pytest.mark.parametrize("kind", ["relative", "absolute"])
@pytest.mark.filterwarnings("error")
def test_bounds_at_their_limits(bound, kind):
    good = 0 < bound < (1 if kind == "relative" else 1.7e308)
    assert check({**GOOD, "bound": bound, "kind": kind}) == good


@given(st.lists(st.tuples(st.integers(0, len(WEIGHTS) - 1), st.integers(0, 255)), min_size=1, max_size=4),
       st.integers(0, len(WEIGHTS)) | st.none())  # fmt: skip
def test_damaged_weights(changes, length):
    bad = bytearray(WEIGHTS)
    for place, value in changes:
        bad[place] = value
    check({**GOOD, "weights": base64.b64encode(bytes(bad[:length])).decode()})


@given(st.integers(0, len(GOOD["weights"])), st.text(max_size=6))
def test_damaged_base64(place, text):
    whole = GOOD["weights"]
    check({**GOOD, "weights": whole[:place] + text + whole[place + len(text) :]})


def test_long_weights_are_refused_before_they_are_decoded():
    assert not check({**GOOD, "weights": "A" * 20_004})
    assert not check({**GOOD, "weights": base64.b64encode(WEIGHTS + bytes(99)).decode()})
    assert check(GOOD)


def test_extreme_weights_keep_the_bound():
    r = np.random.default_rng(0)
    net = coded_network(32, size=2.7)
    for step in range(0, 3):
        codec = FieldCodec(Bound(10.0**-step), weights=net, raster=bool(step % 2))
        array = (r.normal(size=(3, 40, 60)) * 1e6).astype(np.float32)
        array[:, 5:35] = np.nan
        found = codec.decode(codec.encode(array))
        assert not codec.bound.broken(array[:, :5], found[:, :5]).any()
