"""Steps for the errors that positions of a map share, against torch in float64, and what is refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_memory import needs_kernels
from one_input import agrees, generator, inputs, weight

from szilard.errors import SzilardError
from szilard.kernels.inference import Dense, Program

pytestmark = needs_kernels


@settings(max_examples=25)
@given(
    seed=st.integers(0, 999), batch=st.integers(1, 3), channels=st.integers(1, 19), rows=st.integers(1, 35),
    height=st.integers(1, 6), width=st.integers(1, 19), random=st.booleans(),
)  # fmt: skip
def test_steps(seed, batch, channels, rows, height, width, random):
    g = generator(seed)
    program = Program(batch, moments=True)
    x = program.input((2, height, width))
    y = program.conv(
        x, weight((channels, 2, 1, 1), g, random=random), bias_variance=torch.rand(channels, generator=g)
    )
    before, after = program.spreads(y), program.spreads(program.relu(y))
    gains = program.gains(before, after)
    unit = program.flatten(program.channels(x, 1, 0, (height, width)))
    constant = program.linear(
        unit, Dense(torch.zeros(channels * rows, 1)), torch.randn(channels * rows, generator=g)
    )
    scaled = program.scale_rows(program.reshape(constant, (channels, rows)), gains)
    base = program.linear(program.channels(after, channels), weight((rows, channels), g))
    total = program.contributions(base, [(scaled, gains), (scaled, program.channels(before, channels))])
    assert [program.is_random(v) for v in (x, y, scaled, total)] == [False, True, False, True]
    agrees(program.finish([before, gains, scaled, total]), inputs((batch, 2, height, width), g), 5e-6)


def test_a_deterministic_map_has_no_spread():
    program = Program(1, moments=True)
    x = program.input((3, 2, 2))
    spreads = program.spreads(x)
    found = program.finish([spreads, program.gains(spreads, spreads)])(torch.ones(1, 3, 2, 2))
    assert found[0].mean.tolist() == [[1.0] * 6]
    assert not any(part.any() for part in (found[0].variance, *found[1]))


def test_steps_that_are_refused():
    numbers, program = Program(1, moments=False), Program(1, moments=True)
    with pytest.raises(SzilardError, match="program of numbers"):
        numbers.spreads(numbers.input((2, 3)))
    x = program.input((4, 3))
    row = program.channels(x, 4, 0, 3)
    with pytest.raises(SzilardError, match="gains were asked"):
        program.gains(program.spreads(x), program.spreads(program.channels(x, 2)))
    with pytest.raises(SzilardError, match=r"give \(C, R\)"):
        program.scale_rows(x, program.global_average(program.channels(x, 3)))
    with pytest.raises(SzilardError, match="contributions to a value"):
        program.contributions(program.global_average(x), [(row, program.global_average(x))])
    noisy = program.conv(x, Dense(torch.ones(4, 4, 1), torch.ones(4, 4, 1)))
    program.scale_rows(noisy, program.global_average(x))  # rows have no variance
    with pytest.raises(SzilardError, match="sizes of a step"):
        program.finish(program.global_average(x))
