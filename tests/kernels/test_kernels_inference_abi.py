"""Programs in the C ABI: arrays that end at forbidden pages, and wrong programs, which are refused."""

import ctypes
import math

import pytest
import torch
from kernel_memory import Memory, needs_kernels
from one_input import MODES, NETWORKS, flat, generator, inputs

from szilard.kernels import native
from szilard.kernels.functions.inference import Step
from szilard.kernels.functions.types import I32, I64

pytestmark = needs_kernels

NO_ROOM = native.NO_ROOM


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize(("batch", "moments"), MODES)
@pytest.mark.parametrize("network", NETWORKS)
def test_a_run_stays_in_its_arrays(network, batch, moments, at_end):
    program, value = network(batch, moments, 0.3 if batch == 3 else None)
    memory, run = Memory(at_end), native.library().szilard_program_run
    given = inputs((batch, *value.shape), generator(0), 0.4)
    size = flat(program(given)).numel()
    x, out = memory.input(given), memory.output(size)
    handle = program._handle
    assert run(handle, x, given.numel(), out.data_ptr(), size, 2) == 0
    assert torch.equal(out.sort().values, flat(program(given)).sort().values)
    kept = out.clone()
    for room in (size - 1, 0, -1, -(2**63)):
        assert run(handle, x, given.numel(), out.data_ptr(), room, 1) == NO_ROOM
    assert run(handle, x, given.numel(), None, size, 1) == NO_ROOM
    for wrong in (given.numel() - 1, given.numel() + 1, -1):
        assert run(handle, x, wrong, out.data_ptr(), size, 1) == 4
    assert run(handle, None, given.numel(), out.data_ptr(), size, 1) == 4
    assert run(-1, x, given.numel(), out.data_ptr(), size, 1) == 11
    assert native.library().szilard_program_free(-1) == 11
    assert torch.equal(out, kept)


def steps(**fields):
    number = (I32 * 1)(fields.pop("number", 0))
    first = {
        "kind": 7, "n_inputs": 1, "inputs": ctypes.addressof(number), "channels": 2, "height": 3, "width": 3,
        **dict.fromkeys(("kernel_h", "kernel_w", "stride_h", "stride_w", "dilation_h", "dilation_w", "groups"), 1),
    }  # fmt: skip
    return (Step * 1)(Step(**{**first, **fields})), number


BAD = {
    "kind": {"kind": 15}, "kind below": {"kind": -1}, "value": {"number": 1}, "value below": {"number": -1},
    "no inputs": {"n_inputs": 0}, "null": {"inputs": None}, "activation": {"activation": 6}, "size": {"width": 4},
    "slope": {"slope": math.nan}, "other": {"kind": 3}, "no weight": {"kind": 0, "rows": 2, "cols": 18},
    "product": {"kind": 1, "rows": 2, "cols": 2**31 - 1}, "stride": {"kind": 4, "stride_h": 0},
    "padding": {"kind": 4, "pad_top": -1}, "all padding": {"kind": 4, "pad_top": 3, "height": 1},
    "huge padding": {"kind": 1, "rows": 2, "cols": 2, "pad_left": 2**31 - 1, "pad_right": 2**31 - 1},
    "huge window": {"kind": 5, "kernel_h": 2**31 - 1}, "huge value": {"kind": 9, "channels": 2**31 - 1},
    "beyond": {"kind": 9, "stride_h": 2}, "reshaped": {"kind": 10, "channels": 3}, "groups": {"kind": 1, "groups": 0},
}  # fmt: skip


@pytest.mark.parametrize("fields", BAD.values(), ids=BAD)
def test_steps_that_the_library_refuses(fields):
    array, keep = steps(**fields)
    outputs, handle = (I32 * 1)(1), I64(0)
    new = native.library().szilard_program_new
    assert new(1, 1, 2, 3, 3, 1, array, 1, outputs, ctypes.byref(handle)) in (4, 5, 8, 9)
    assert handle.value == 0
    del keep


def test_outputs_that_the_library_refuses():
    array, keep = steps()
    new, handle = native.library().szilard_program_new, I64(0)
    for numbers in ([0], [2], [-1], [1, 1]):
        outputs = (I32 * len(numbers))(*numbers)
        assert new(1, 1, 2, 3, 3, 1, array, len(numbers), outputs, ctypes.byref(handle)) == 8
    for batch in (0, 9, -1):
        assert new(batch, 1, 2, 3, 3, 1, array, 1, (I32 * 1)(1), ctypes.byref(handle)) == 8
    assert new(1, 1, 2, 3, 3, 1, array, 1, (I32 * 1)(1), ctypes.byref(handle)) == 0
    assert native.library().szilard_program_free(handle.value) == 0
    assert native.library().szilard_program_free(handle.value) == 11
    del keep
