"""Static frequency tables: cost, round trips, and agreement with the constriction library."""

from __future__ import annotations

import tracemalloc
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from szilard.coding import CodingError
from szilard.coding.static import _EIGHTHS, CERTAIN, MOST_SYMBOLS, StaticDecoder, StaticEncoder, Table

TOTAL = 1 << 24
quick = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
tensors = st.lists(st.integers(-300, 300) | st.integers(-1, 1), min_size=2, max_size=200).map(
    lambda values: np.array(values, np.int32)
)


def table_of(levels):
    table = Table.of(levels)
    assert table is not None
    return table


def stream(*tensors):
    encoder = StaticEncoder()
    for levels in tensors:
        encoder.levels(levels, table_of(levels))
    return encoder.finish()


@quick
@given(st.lists(tensors.filter(lambda levels: Table.of(levels) is not None), min_size=1, max_size=3))
def test_tensors_are_decoded_from_one_stream(found):
    data = stream(*found)
    decoder = StaticDecoder(data, priced=True)
    for levels in found:
        table = Table.from_sides(*table_of(levels).sides())
        assert (decoder.levels(levels.size, table) == levels).all()
    decoder.finish()
    ideal = sum(table_of(levels).bits(levels) for levels in found)
    assert decoder.bits == pytest.approx(ideal)
    assert ideal - 1 <= 8 * len(data) <= ideal + 64


@quick
@given(tensors)
def test_widths_are_a_partition(levels):
    table = Table.of(levels)
    if table is None:
        assert len(set(levels.tolist())) == 1 or np.bincount(levels - levels.min()).max() > 0.99 * levels.size
        return
    widths = table.frequencies()
    assert widths.sum() == TOTAL
    assert widths.min() >= 1
    assert widths.max() <= CERTAIN
    symbols, counts = np.unique(levels, return_counts=True)
    assert (table.symbols == symbols).all()
    # Codes are rounded to eighths of an octave, an error of at most a sixteenth each; so is their sum.
    assert (np.abs(np.log2(widths / TOTAL / (counts / levels.size))) < 0.13).all()


def test_eighths_of_an_octave():
    with localcontext() as context:
        context.prec = 40
        exact = [Decimal(2) ** (31 - Decimal(j) / 8) for j in range(8)]
        assert list(_EIGHTHS) == [int(value.to_integral_value()) for value in exact]


def decode_in_integers(data: bytes, count: int, widths: list[int]) -> list[int]:
    """A range decoder in Python integers: 64 bits of state, words of 32 bits, precision 24."""
    words = [*np.frombuffer(data, "<u4").tolist(), 0, 0, 0]
    starts = [sum(widths[:i]) for i in range(len(widths))]
    lower, size, point, at = 0, 2**64 - 1, words[0] << 32 | words[1], 2
    found = []
    for _ in range(count):
        scale = size >> 24
        place = (point - lower) % 2**64 // scale
        symbol = max(i for i, start in enumerate(starts) if start <= place)
        lower, size = (lower + scale * starts[symbol]) % 2**64, scale * widths[symbol]
        if size < 2**32:
            lower, size, point, at = (
                (lower << 32) % 2**64,
                size << 32,
                (point << 32) % 2**64 | words[at],
                at + 1,
            )
        found.append(symbol)
    return found


@quick
@given(
    st.lists(st.integers(0, 248), min_size=1, max_size=60).map(lambda codes: [0, *codes]),
    st.integers(0, 2**32),
)
def test_constriction_agrees_with_an_integer_decoder(codes, seed):
    """Random tables with rare symbols, to detect versions of the library that round differently."""
    table = Table(np.arange(len(codes), dtype=np.int32), np.array(codes, np.int32))
    widths = table.frequencies()
    if widths.max() > CERTAIN:
        return
    levels = np.random.default_rng(seed).integers(0, len(codes), 200).astype(np.int32)
    encoder = StaticEncoder()
    encoder.levels(levels, table)
    assert decode_in_integers(encoder.finish(), 200, widths.tolist()) == levels.tolist()


def test_tensors_without_a_table():
    assert Table.of(np.zeros(0, np.int32)) is None
    assert Table.of(np.full(100, 7, np.int32)) is None  # a single symbol
    assert Table.of(np.array([0] * 100_000 + [1], np.int32)) is None  # nearly certain
    assert Table.of(np.arange(MOST_SYMBOLS + 1, dtype=np.int32)) is None
    assert Table.of(np.arange(MOST_SYMBOLS, dtype=np.int32)) is not None
    assert (
        Table.of(np.array([-(2**23) + 1, 2**23 - 1], np.int32)) is None
    )  # a gap beyond the range of the adaptive coder


@pytest.mark.parametrize(
    ("gaps", "rises"),
    [([-1], [0, 0]), ([0], [1, 1]), ([0], [0, -1]), ([0], [0, 249]), ([2**31], [0, 0]), ([0], [0, 248])],
)
def test_invalid_tables_are_refused(gaps, rises):
    with pytest.raises(CodingError, match="the table of a tensor's levels"):
        Table.from_sides(0, np.array(gaps), np.array(rises))


@pytest.mark.parametrize(
    ("lowest", "gaps", "rises"),
    [
        (0, [], []),
        (0, [], [0]),
        (0, [0, 0], [0, 0]),
        (0, [0] * MOST_SYMBOLS, [0] * (MOST_SYMBOLS + 1)),
        (2**70, [0], [0, 0]),
        (-(2**70), [0], [0, 0]),
        (2**31 - 1, [0], [0, 0]),
        (-(2**31) - 1, [0], [0, 0]),
        (-(2**31), [2**31 - 1, 2**31 - 1], [0, 0, 0]),
    ],
)
def test_numbers_out_of_range_are_refused(lowest, gaps, rises):
    with pytest.raises(CodingError, match="the table of a tensor's levels"):
        Table.from_sides(lowest, np.array(gaps, np.int64), np.array(rises, np.int64))


@st.composite
def sides(draw):
    """Random contents of a file's table, of any size and number, sometimes valid."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.sampled_from([0, 1, 2, 2, 3, 5, 300, MOST_SYMBOLS, MOST_SYMBOLS + 1]))
    codes = rng.integers(0, draw(st.sampled_from([1, 3, 60, 249, 300])), count)
    codes[: draw(st.sampled_from([0, 1, 1, 1]))] = 0
    gaps = rng.integers(
        draw(st.sampled_from([0, 0, 0, -1, -(2**23)])),
        draw(st.sampled_from([1, 3, 2**23])),
        max(count - 1, 0),
    )
    lowest = draw(st.integers(-3, 3) | st.integers(-(2**63), 2**64))
    return lowest, gaps.astype(np.int32), np.diff(codes, prepend=0).astype(np.int32)


@quick
@given(
    sides(),
    st.binary(max_size=80) | st.just(b"\xff" * 40) | st.just(bytes(40)),
    st.integers(0, 300_000),
    st.booleans(),
)
def test_any_table_and_any_stream_decode_or_are_refused(capfd, table_fields, data, count, priced):
    """constriction must not panic, which would print a message."""
    try:
        table = Table.from_sides(*table_fields)
        assert table.frequencies().sum() == TOTAL
        decoder = StaticDecoder(data, priced=priced)
        for wanted in (1, count, 2):
            assert np.isin(decoder.levels(wanted, table), table.symbols).all()
        decoder.finish()
    except CodingError:
        pass
    assert capfd.readouterr() == ("", "")


def test_more_levels_than_words_can_hold_are_refused_before_allocation():
    table = table_of(np.array([0] * 500 + [1], np.int32))
    tracemalloc.start()
    for count in (10**9, 10**30, -1):
        with pytest.raises(CodingError, match="more than their stream holds"):
            StaticDecoder(bytes(400)).levels(count, table)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_nearly_certain_levels_are_decoded():
    levels = np.zeros(300_000, np.int32)
    levels[7:17] = 1
    table = Table(np.array([0, 1], np.int32), np.array([0, 79], np.int32))
    assert CERTAIN - (1 << 12) < table.frequencies().max() <= CERTAIN
    encoder = StaticEncoder()
    encoder.levels(levels, table)
    decoder = StaticDecoder(encoder.finish())
    assert (decoder.levels(levels.size, table) == levels).all()
    decoder.finish()


class TestDamage:
    levels = np.random.default_rng(0).integers(-4, 5, 1000).astype(np.int32)

    def test_too_short(self):
        data = stream(self.levels)
        with pytest.raises(CodingError, match="not a whole number of words"):
            StaticDecoder(data[:-1])
        decoder = StaticDecoder(data)
        with pytest.raises(CodingError):
            decoder.levels(10**9, table_of(self.levels))

    def test_too_long(self):
        decoder = StaticDecoder(stream(self.levels) + bytes(8))
        assert (decoder.levels(1000, table_of(self.levels)) == self.levels).all()
        with pytest.raises(CodingError, match="left over"):
            decoder.finish()

    @quick
    @given(st.binary(max_size=200))
    def test_anything(self, data):
        try:
            decoder = StaticDecoder(data)
            assert decoder.levels(1000, table_of(self.levels)).shape == (1000,)
            decoder.finish()
        except CodingError:
            pass

    def test_an_unread_stream_is_refused(self):
        StaticDecoder(b"").finish()
        with pytest.raises(CodingError, match="left over"):
            StaticDecoder(bytes(4)).finish()
