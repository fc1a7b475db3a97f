"""The adaptive coder: lossless, the same bytes from C++ and Python, and the length that it predicts."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from szilard.coding import LARGEST, CodingError, Decoder, Encoder, Model, adaptive, range_coder
from szilard.kernels import native

BOTH = [pytest.param(False, id="python")]
if native.available():
    BOTH.append(pytest.param(True, id="c++"))
quick = settings(deadline=None, max_examples=60)


@st.composite
def tensors(draw):
    """A few matrices of different shapes and ranges, each with a model that can code it."""
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
def test_tensors_are_decoded_and_both_coders_write_the_same_bytes(found):
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
def test_the_predicted_bits_are_the_length(found):
    data, bits = encode(found)
    assert bits - 8 <= 8 * len(data) <= 1.001 * bits + 40


@quick
@given(tensors())
def test_decoder_and_encoder_report_the_same_bits(found):
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
def test_empty_matrices_with_huge_sides_are_decoded_at_once(shape, compiled):
    decoder = Decoder(b"", compiled)
    assert decoder.levels(*shape).shape == shape
    decoder.finish()


def predictable(draw, most):
    """A matrix with nearly certain decisions, which cost more than their probability because of truncation."""
    model = draw(st.sampled_from(list(Model)))
    rows = draw(st.integers(1, 40))
    cols = draw(st.integers(1, most // rows))
    largest = 1 if model is Model.MASK else draw(st.sampled_from([1, 14, 15, 40, 2**15, LARGEST]))
    levels = np.full((rows, cols), largest, np.int32)
    if draw(st.booleans()):
        levels[:, ::2] *= (
            draw(st.sampled_from([0, 1])) if model is Model.MASK else draw(st.sampled_from([0, -1]))
        )
    for _ in range(draw(st.integers(0, 3))):
        levels[draw(st.integers(0, rows - 1)), draw(st.integers(0, cols - 1))] = 0
    return levels, model


class Watched(Encoder):
    """An encoder that records the size of its last buffer."""

    def _room(self, count):
        room = super()._room(count)
        self.made = room.size
        return room


@pytest.mark.skipif(not native.available(), reason="the C++ kernels are not built")
@settings(deadline=None, max_examples=100)
@given(st.data())
def test_the_output_stays_within_the_bound_of_the_buffer(data):
    encoder, tensors = Watched(True), []
    for _ in range(data.draw(st.integers(1, 3))):
        levels, model = predictable(data.draw, 60_000)
        before, pending = len(encoder._out), int(encoder._state[3])
        bits = encoder.levels(levels, model)
        shifted = len(encoder._out) + int(encoder._state[3]) - before - pending
        assert shifted <= encoder.made - pending
        wasted = encoder.made - pending - bits / 8  # one entry is at most 63 decisions
        assert wasted <= 0.001 * 63 * levels.size + 8
        tensors.append((levels, model))
    stream = encoder.finish()
    decoder = Decoder(stream, True)
    for levels, model in tensors:
        assert np.array_equal(decoder.levels(*levels.shape, model), levels)
    decoder.finish()


@quick
@given(st.data())
def test_the_python_coder_keeps_the_same_bound(data):
    levels, model = predictable(data.draw, 1500)
    coder, price = range_coder.RangeEncoder(), range_coder.Price()
    for io, contexts in ((coder, adaptive.fresh_contexts()), (price, adaptive.fresh_contexts())):
        adaptive.matrix(io, contexts, model, *levels.shape, levels.ravel().tolist())
    assert len(coder.out) + coder._pending <= range_coder.most_bytes(price.bits, price.decisions)


def test_a_support_with_one_entry_missing():
    """4000 x 4000: the truncation of the range alone adds more than ten kilobytes."""
    mask = np.ones((4000, 4000), bool)
    mask[1234, 2345] = False
    encoder = Encoder()
    bits = encoder.mask(mask)
    stream = encoder.finish()
    assert len(stream) > 1.001 * bits / 8 + 64  # a bound relative to the bits would be exceeded
    assert (Decoder(stream).mask(4000, 4000) == mask).all()


@pytest.mark.parametrize("compiled", BOTH)
def test_more_levels_than_bytes_can_hold_are_refused_before_allocation(compiled):
    tracemalloc.start()
    for shape in [(1, 1 << 30), (1 << 30, 1), (1 << 20, 1 << 20), (1 << 62, 1 << 62), (-1, 4)]:
        with pytest.raises(CodingError, match="more than the remaining bytes can hold"):
            Decoder(bytes(1000), compiled).levels(*shape)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("compiled", BOTH)
@pytest.mark.parametrize("model", list(Model))
def test_the_most_levels_that_bytes_can_hold_are_decoded(model, compiled):
    """A long run of zeros, which cost almost nothing once the model has adapted, is the densest stream."""
    size = 100_000 if compiled else 20_000
    levels = np.zeros((1, size), np.int32)
    data, _ = encode([(levels, model)], compiled)
    assert len(data) < size / 1000
    assert np.array_equal(_read(data, 1, size, compiled, model), levels)


@pytest.mark.parametrize("compiled", BOTH)
def test_rate_does_not_change_the_encoder(compiled):
    levels = np.arange(-50, 50, dtype=np.int32).reshape(10, 10)
    with_rate, without_rate = Encoder(compiled), Encoder(compiled)
    rates = [with_rate.rate(levels), with_rate.rate(levels)]
    assert rates[0] == rates[1] == pytest.approx(with_rate.levels(levels))
    without_rate.levels(levels)
    assert with_rate.finish() == without_rate.finish()


def test_the_model_keeps_its_statistics_between_tensors():
    rng = np.random.default_rng(0)
    levels = np.round(0.7 * rng.standard_normal((20, 20))).astype(np.int32)
    encoder = Encoder()
    first, second = encoder.levels(levels), encoder.levels(levels[::-1].copy())
    assert second < 0.97 * first


def test_the_history_model_is_better_for_zero_columns():
    rng = np.random.default_rng(1)
    alive = rng.random(200) < 0.2  # whole columns are zero, as for unused inputs
    levels = (np.round(2 * rng.standard_normal((100, 200))) * alive).astype(np.int32)
    encoder = Encoder()
    assert encoder.rate(levels, Model.HISTORY) < 0.7 * encoder.rate(levels, Model.NEIGHBOURS)


def test_the_rate_is_near_the_entropy_of_a_memoryless_source():
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
def test_levels_that_cannot_be_coded_are_refused(levels, model, words):
    encoder = Encoder()
    with pytest.raises(CodingError, match=words):
        encoder.levels(levels, model)
    assert encoder.finish() == Encoder().finish()


@pytest.mark.parametrize("compiled", BOTH)
def test_streams_that_are_too_short_or_too_long_are_refused(compiled):
    rng = np.random.default_rng(3)
    levels = np.round(5 * rng.standard_normal((30, 30))).astype(np.int32)
    data, _ = encode([(levels, Model.NEIGHBOURS)])
    with pytest.raises(CodingError):
        _read(data[: len(data) // 2], 30, 30, compiled)
    with pytest.raises(CodingError, match="damaged"):
        _read(data + bytes(20), 30, 30, compiled)


@st.composite
def damaged(draw):
    """A stream with bytes changed, inserted or removed, or random bytes."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=200))
    data = bytearray(encode(draw(tensors()))[0])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2) | st.just(b"\xff" * 4))
    return bytes(data)


@settings(deadline=None, max_examples=250)
@given(
    damaged(),
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, 1, 2, 8, 40]),
            st.sampled_from([0, 1, 5, 24, 200, 4097]),
            st.sampled_from(list(Model)),
        ),
        max_size=4,
    ),
    st.booleans(),
)
def test_both_coders_decode_any_bytes_to_the_same_levels_or_error(data, shapes, priced):
    results = []
    for compiled in BOTH:
        decoder, found = Decoder(data, compiled.values[0], priced=priced), []
        try:
            for rows, cols, model in shapes:
                found.append(decoder.levels(rows, cols, model))
            decoder.finish()
            found.append("whole")
        except CodingError:
            found.append("refused")
        results.append((found, decoder.bits))
    (first, bits), *others = results
    for found, other_bits in others:
        assert len(found) == len(first)
        assert all(np.array_equal(a, b) for a, b in zip(found, first, strict=True))
        assert found[-1] == "refused" or other_bits == pytest.approx(bits, abs=1e-3)
