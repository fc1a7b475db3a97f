"""The adaptive coder: what goes in comes out, by C++ and by Python with the same bytes, at the price it names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from szilard import native
from szilard.coding import LARGEST, CodingError, Decoder, Encoder, Model

BOTH = [pytest.param(False, id="python")]
if native.available():
    BOTH.append(pytest.param(True, id="c++"))
quick = settings(deadline=None, max_examples=60)


@st.composite
def tensors(draw):
    """A few matrices, narrow and wide, tame and wild, each with a model that may code it."""
    found = []
    for _ in range(draw(st.integers(1, 4))):
        rows, cols = draw(st.integers(0, 5)), draw(st.integers(0, 24))
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        size = draw(st.sampled_from([0.05, 0.5, 2.0, 60.0, 1e4, 3e6]))
        levels = np.clip(np.round(size * rng.standard_normal((rows, cols))), -LARGEST, LARGEST).astype(
            np.int32
        )
        model = draw(st.sampled_from(list(Model)))
        found.append((np.abs(levels).clip(0, 1) if model is Model.MASK else levels, model))
    return found


def encode(found, compiled=None):
    encoder = Encoder(compiled)
    bits = sum(encoder.levels(levels, model) for levels, model in found)
    return encoder.finish(), bits


def _read(data, rows, cols, compiled, model=Model.NEIGHBOURS):
    decoder = Decoder(data, compiled)
    levels = decoder.levels(rows, cols, model)
    decoder.finish()
    return levels


@quick
@given(tensors())
def test_tensors_come_back_and_both_coders_write_the_same_bytes(found):
    streams = {encode(found, compiled.values[0])[0] for compiled in BOTH}
    assert len(streams) == 1
    data = streams.pop()
    for compiled in BOTH:
        decoder = Decoder(data, compiled.values[0])
        for levels, model in found:
            assert np.array_equal(decoder.levels(*levels.shape, model), levels)
        decoder.finish()


@quick
@given(tensors())
def test_the_price_is_the_length(found):
    data, bits = encode(found)
    assert bits - 8 <= 8 * len(data) <= 1.001 * bits + 40


@quick
@given(tensors())
def test_a_decoder_names_the_price_that_the_encoder_named(found):
    data, _ = encode(found)
    for compiled in BOTH:
        priced, plain, encoder = (
            Decoder(data, compiled.values[0], priced=True),
            Decoder(data, compiled.values[0]),
            Encoder(compiled.values[0]),
        )
        for levels, model in found:
            before = priced.bits
            assert np.array_equal(priced.levels(*levels.shape, model), levels)
            assert priced.bits - before == pytest.approx(encoder.levels(levels, model), abs=1e-6)
            plain.levels(*levels.shape, model)
        priced.finish()
        assert plain.bits == 0


@pytest.mark.parametrize("compiled", BOTH)
@pytest.mark.parametrize("shape", [(0, 1 << 40), (1 << 40, 0), (0, 0)])
def test_nothing_is_decoded_at_once_however_large_its_sides(shape, compiled):
    decoder = Decoder(b"", compiled)
    assert decoder.levels(*shape).shape == shape
    decoder.finish()


@pytest.mark.parametrize("compiled", BOTH)
def test_a_rate_asked_for_changes_nothing(compiled):
    levels = np.arange(-50, 50, dtype=np.int32).reshape(10, 10)
    asked, silent = Encoder(compiled), Encoder(compiled)
    rates = [asked.rate(levels), asked.rate(levels)]
    assert rates[0] == rates[1] == pytest.approx(asked.levels(levels))
    silent.levels(levels)
    assert asked.finish() == silent.finish()


def test_what_is_learnt_from_one_tensor_serves_the_next():
    rng = np.random.default_rng(0)
    levels = np.round(0.7 * rng.standard_normal((20, 20))).astype(np.int32)
    encoder = Encoder()
    first, second = encoder.levels(levels), encoder.levels(levels[::-1].copy())
    assert second < 0.97 * first


def test_the_models_fit_what_they_are_for():
    rng = np.random.default_rng(1)
    alive = rng.random(200) < 0.2  # whole columns are zero, as where inputs are dead
    dead = (np.round(2 * rng.standard_normal((100, 200))) * alive).astype(np.int32)
    encoder = Encoder()
    assert encoder.rate(dead, Model.HISTORY) < 0.7 * encoder.rate(dead, Model.NEIGHBOURS)


def test_near_the_entropy_of_a_source_without_memory():
    rng = np.random.default_rng(2)
    levels = np.round(rng.laplace(0, 0.8, (500, 400))).astype(np.int32)
    _, counts = np.unique(levels, return_counts=True)
    share = counts / counts.sum()
    entropy = -(share * np.log2(share)).sum()
    assert entropy <= Encoder().rate(levels) / levels.size <= 1.01 * entropy


@pytest.mark.parametrize("compiled", BOTH)
def test_the_largest_levels(compiled):
    levels = np.array([[LARGEST, -LARGEST, 0, LARGEST]], np.int32)
    data, _ = encode([(levels, Model.HISTORY)], compiled)
    assert np.array_equal(Decoder(data, compiled).levels(1, 4, Model.HISTORY), levels)


@pytest.mark.parametrize(
    ("levels", "model", "words"),
    [
        (np.array([LARGEST + 1]), Model.NEIGHBOURS, "larger step"),
        (np.array([-LARGEST - 1]), Model.HISTORY, "larger step"),
        (np.array([2]), Model.MASK, "between 0 and 1"),
        (np.array([0.5]), Model.NEIGHBOURS, "integers"),
        (np.zeros((1, 1, 1), np.int32), Model.NEIGHBOURS, "matrix"),
    ],
)
def test_what_cannot_be_coded_is_refused(levels, model, words):
    encoder = Encoder()
    with pytest.raises(CodingError, match=words):
        encoder.levels(levels, model)
    assert encoder.finish() == Encoder().finish()


@pytest.mark.parametrize("compiled", BOTH)
def test_a_stream_that_is_too_short_or_too_long(compiled):
    rng = np.random.default_rng(3)
    levels = np.round(5 * rng.standard_normal((30, 30))).astype(np.int32)
    data, _ = encode([(levels, Model.NEIGHBOURS)])
    with pytest.raises(CodingError):
        _read(data[: len(data) // 2], 30, 30, compiled)
    with pytest.raises(CodingError, match="damaged"):
        _read(data + bytes(20), 30, 30, compiled)


@quick
@given(st.binary(max_size=200), st.sampled_from(list(Model)))
def test_any_bytes_decode_to_the_same_levels_or_the_same_refusal(data, model):
    results = []
    for compiled in BOTH:
        try:
            results.append(_read(data, 8, 16, compiled.values[0], model).tolist())
        except CodingError:
            results.append("refused")
    assert all(result == results[0] for result in results)
