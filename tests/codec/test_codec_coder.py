"""Tables and the interleaved coder: against closed forms, constriction, and damaged bytes."""

from __future__ import annotations

import constriction
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from szilard.coding import CodingError, interleaved, shapes
from szilard.kernels import native

BUILT = [False, True] if native.available() else [False]


def mass(n, scale, shape):
    """Probability of an integer."""
    if shape == shapes.LOGISTIC:
        below = lambda x: 1 / (1 + np.exp(-x / scale))  # noqa: E731
        return below(n + 0.5) - below(n - 0.5)
    if shape == shapes.GAUSSIAN:
        return norm.sf(abs(n) - 0.5, scale=2 * scale) - norm.sf(abs(n) + 0.5, scale=2 * scale)

    def above(x):  # x >= 0
        return sum(share * 0.5 * np.exp(-x / (scale * wide)) for share, wide in shapes.PARTS)

    return 1 - 2 * above(0.5) if n == 0 else above(abs(n) - 0.5) - above(abs(n) + 0.5)


def test_tables_are_distributions():
    widths = shapes.frequencies()
    assert widths.shape == (120, 128)
    assert (widths.sum(1) == 1 << 16).all()
    assert (widths[:, shapes.ESCAPE] > 0).all()
    assert (widths[:, :127] == widths[:, 126::-1]).all()


@pytest.mark.parametrize("shape", range(shapes.SHAPES))
@pytest.mark.parametrize("scale", [0, 12, 20, 28, 39])
def test_tables_are_the_closed_form(shape, scale):
    row = shapes.frequencies()[shape * shapes.TABLES + scale] / (1 << 16)
    for n in range(6):
        exact = mass(n, 2.0 ** (scale / 4 - 8), shape)
        if row[63 + n] > 0:
            assert row[63 + n] == pytest.approx(exact, abs=2.5e-3 if n == 0 else 2e-5 + 0.003 * exact)


@pytest.mark.parametrize("shape", range(shapes.SHAPES))
@pytest.mark.parametrize("scale", [8, 24, 32, 36, 39, 45, 60])
def test_code_lengths_are_near_the_entropy(shape, scale):
    width = 2.0 ** (scale / 4 - 8)
    n = np.arange(-int(200 * width) - 3, int(200 * width) + 4)
    exact = np.array([mass(int(k), width, shape) for k in n])
    entropy = -(exact[exact > 0] * np.log2(exact[exact > 0])).sum()
    found = (exact * shapes.bits(n, np.full(len(n), scale), shape)).sum()
    assert entropy <= found * (1 + 1e-6) + 1e-9
    assert found <= 1.02 * entropy + 0.02


@pytest.mark.parametrize("lanes", [1, 4, 64])
def test_lengths_are_those_of_constriction(lanes):
    r = np.random.default_rng(0)
    symbols = np.clip(np.rint(r.laplace(size=20_000)) + 63, 50, 76).astype(np.int64)
    table = np.full(len(symbols), 34)
    data = interleaved.encode(table, symbols, lanes)
    coder = constriction.stream.queue.RangeEncoder()
    model = constriction.stream.model.Categorical(shapes.frequencies()[34] / 65536 + 1e-12, perfect=False)
    coder.encode(symbols.astype(np.int32), model)
    theirs = 4 * len(coder.get_compressed())
    assert len(data) <= 1.005 * theirs + 8 * lanes


@pytest.mark.parametrize("writer", BUILT)
@pytest.mark.parametrize("reader", BUILT)
@given(st.integers(0, 3000), st.sampled_from([1, 2, 16, 256]), st.integers(0, 1 << 30))
def test_streams_go_round(writer, reader, count, lanes, seed):
    r = np.random.default_rng(seed)
    shape = seed % 3
    scales = r.integers(0, shapes.SCALES, count)
    values = np.rint(r.laplace(size=count) * 2.0 ** (scales / 4 - 8)).astype(np.int64)
    table, symbols, upper = shapes.symbols(values, scales, shape)
    inside = symbols != shapes.ESCAPE
    np.testing.assert_array_equal(upper[inside] + 63, symbols[inside])
    data = interleaved.encode(table, symbols, lanes, writer)
    decoder = interleaved.Decoder(data, lanes, reader)
    cut = count // 3
    found = np.concatenate([decoder.symbols(table[:cut]), decoder.symbols(table[cut:])])
    decoder.finish()
    np.testing.assert_array_equal(found, symbols)


def test_the_compiled_coder_gives_the_same_bytes():
    if not native.available():
        pytest.skip("there are no C++ kernels")
    r = np.random.default_rng(1)
    scales = r.integers(0, shapes.SCALES, 5000)
    values = np.rint(r.laplace(size=5000) * 2.0 ** (scales / 4 - 8)).astype(np.int64)
    table, symbols, _ = shapes.symbols(values, scales, 0)
    assert interleaved.encode(table, symbols, 16, True) == interleaved.encode(table, symbols, 16, False)


@pytest.mark.parametrize("compiled", BUILT)
def test_damaged_streams_are_refused(compiled):
    r = np.random.default_rng(2)
    table = r.integers(0, 120, 500)
    symbols = np.full(500, 63)
    data = interleaved.encode(table, symbols, 4, compiled)
    for lanes, damaged in ((4, data[:20]), (0, data), (257, data), (4, data[:-1]), (4, bytes(len(data)))):
        with pytest.raises(CodingError):
            interleaved.Decoder(damaged, lanes, compiled)
    decoder = interleaved.Decoder(data[:32], 4, compiled)
    with pytest.raises(CodingError, match="ends too early"):
        decoder.symbols(np.tile(table, 50))
    decoder = interleaved.Decoder(data, 4, compiled)
    decoder.symbols(table[:-1])
    with pytest.raises(CodingError, match="does not end"):
        decoder.finish()
    with pytest.raises(CodingError, match="not in its table"):
        interleaved.encode(np.array([0]), np.array([0]), 1, compiled)
