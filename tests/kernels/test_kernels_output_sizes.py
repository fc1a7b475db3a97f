"""Every function of the C ABI checks the sizes of its output arrays, and refuses arrays that are too small."""

import ctypes

import pytest
import torch
from kernel_memory import PARAMETERS, Memory, call, needs_kernels
from torch import Tensor

from szilard.kernels import native
from szilard.kernels.functions.field import FieldNetwork, FieldPass
from szilard.sparse import Support

pytestmark = needs_kernels

NO_ROOM = native.NO_ROOM
BATCH = 5
KEY = native.Key(1, 2)
CONTEXTS, ENCODER, DECODER = [1 << 15], [0, 0xFFFFFFFF, 0, 0], [0, 0, 0]


_g = torch.Generator().manual_seed(0)
LINEAR = Support.from_mask(torch.rand(6, 7, generator=_g) < 0.4)
CONV = Support.from_mask(torch.rand((4, 3, 2, 2), generator=_g) < 0.5)
GEOMETRY = native.Geometry(BATCH, 3, 4, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0, 1, 1, 1)
WINDOWS = native.Geometry(BATCH, 3, 4, 4, 3, 2, 2, 2, 2, 2, 2, 0, 0, 1, 1, 3)

# Shapes: of the linear map, of the convolution, of batch normalisation.
X, Y, NNZ, ROWS = (7, BATCH), (6, BATCH), (LINEAR.nnz,), (6,)
PLANES, ANSWER, POOLED, ENTRIES = (3, 4, 4, BATCH), (4, 3, 3, BATCH), (3, 2, 2, BATCH), (CONV.nnz,)
BOTH, CHANNELS, CODES = (4, 9), (4,), (BATCH, 9)


class Case:
    """Arguments of one call with arrays of exactly the right size; outputs end at a protected page."""

    def __init__(self) -> None:
        self.m = Memory(at_end=True)
        g = torch.Generator().manual_seed(0)
        self.floats = lambda *shape: torch.rand(shape, generator=g) + 0.5
        self.sizes = (self.m.index(LINEAR), BATCH)
        self.kernel = (self.m.index(CONV), GEOMETRY)

    def inputs(self, *shapes: tuple[int, ...]) -> list[int | None]:
        return [self.m.input(self.floats(*shape)) for shape in shapes]

    def outputs(self, *shapes: tuple[int, ...]) -> list[Tensor]:
        return [self.m.output(*shape) for shape in shapes]

    def integers(self, values: list[int], dtype: torch.dtype) -> Tensor:
        found = self.m.output(len(values), dtype=dtype)
        found.copy_(torch.tensor(values, dtype=torch.int64).to(dtype))
        return found

    def contexts(self) -> Tensor:
        return self.integers(CONTEXTS * native.library().szilard_contexts(), torch.int32)

    def arguments(self, name: str) -> tuple:
        """The arguments of ``szilard_<name>``, without sizes of outputs."""
        return getattr(self, name)()

    def normal(self):
        return (KEY, 33, *self.outputs((33,)), 1)

    def linear(self):
        return (*self.sizes, *self.inputs(X, NNZ), *self.outputs(Y), 1)

    def linear_backward(self):
        return (*self.sizes, *self.inputs(Y, X, NNZ), *self.outputs(X, NNZ), 1)

    def lrt_linear(self):
        return (*self.sizes, *self.inputs(X, NNZ, NNZ, ROWS), KEY, 1, *self.outputs(Y, Y, NNZ), 1)

    def lrt_linear_backward(self):
        return (*self.sizes, *self.inputs(Y, X, NNZ, NNZ, Y, Y), 1, *self.outputs(X, NNZ, NNZ, ROWS), 1)

    def conv(self):
        return (*self.kernel, *self.inputs(PLANES, ENTRIES), *self.outputs(ANSWER), 1)

    def conv_backward(self):
        return (*self.kernel, *self.inputs(ANSWER, PLANES, ENTRIES), *self.outputs(PLANES, ENTRIES), 1)

    def lrt_conv(self):
        inputs = self.inputs(PLANES, ENTRIES, ENTRIES)
        return (*self.kernel, *inputs, KEY, *self.outputs(ANSWER, ANSWER, ENTRIES), 1)

    def lrt_conv_backward(self):
        inputs = self.inputs(ANSWER, PLANES, ENTRIES, ENTRIES, ANSWER)
        return (*self.kernel, *inputs, *self.outputs(PLANES, ENTRIES, ENTRIES), 1)

    def batch_norm(self):
        inputs, answers = self.inputs(BOTH, CHANNELS, CHANNELS, BOTH), (BOTH, CHANNELS, CHANNELS, CHANNELS)
        return (*BOTH, *inputs, 1, 1e-5, *self.outputs(*answers), 1)

    def batch_norm_backward(self):
        inputs = self.inputs(BOTH, BOTH, BOTH, CHANNELS, CHANNELS, CHANNELS)
        return (*BOTH, *inputs, 1, *self.outputs(BOTH, CHANNELS, CHANNELS, BOTH), 1)

    def divergence(self):
        return (33, *self.inputs((33,), (33,)), self.m.output(2, dtype=torch.float64))

    def divergence_backward(self):
        return (33, *self.inputs((33,), (33,)), 0.5, 0.5, *self.outputs((33,), (33,)))

    def max_pool(self):
        return (
            WINDOWS,
            *self.inputs(PLANES),
            *self.outputs(POOLED),
            self.m.output(*POOLED, dtype=torch.uint8),
            1,
        )

    def max_pool_backward(self):
        where = self.m.input(torch.zeros(POOLED, dtype=torch.uint8))
        return (WINDOWS, *self.inputs(POOLED), where, *self.outputs(PLANES), 1)

    def rate(self):
        return (self.contexts(), 0, 3, 4, self.levels(), None, None)

    def encode(self):
        state = self.integers(ENCODER, torch.int64)
        return (self.contexts(), state, 0, 3, 4, self.levels(), self.stream(False), None)

    def encode_end(self):
        state = self.integers([0x123456, 0xFFFFFFFF, 256 + 17, 3], torch.int64)
        return (state, self.m.output(8, dtype=torch.uint8), None)

    def decode(self):
        data, state = self.stream(True), self.integers(DECODER, torch.int64)
        answer = self.m.output(3, 4, dtype=torch.int32)
        return (self.contexts(), state, 0, 3, 4, self.m.input(data), data.numel(), answer, None)

    def quantise(self):
        weights = self.m.output(3, 2, dtype=torch.float64)
        weights.copy_(self.floats(3, 2))
        feedback, price = (self.m.input(self.floats(*shape).double()) for shape in ((2, 2), (3, 4)))
        means, levels = self.integers([256] * 7, torch.int32), self.integers([0] * 12, torch.int32)
        return (self.contexts(), 1, 3, 4, 1, 2, weights, feedback, price, None, means, levels)

    def class_uncertainty(self):
        inputs = (*self.inputs((BATCH, 3), (BATCH, 3)), 16, *self.inputs((3, 16)))
        return (BATCH, 3, *inputs, 0.5, 0, *self.outputs((BATCH, 3), (BATCH,), (BATCH,)))

    def draw(self):
        indices = self.m.input(torch.tensor([7, 0, 255], dtype=torch.int32))
        return (33, 16, indices, 3, 5, self.m.output(33, dtype=torch.int32))

    def interleaved_encode(self):
        start, width, _ = self.tables()
        names, values = (self.m.input(torch.full((9,), value, dtype=torch.uint8)) for value in (3, 63))
        state, words = self.m.output(2, dtype=torch.int64), self.m.output(9, dtype=torch.int32)
        self.written = ctypes.c_int64()
        return (start, width, 9, names, values, 2, state, words, ctypes.byref(self.written))

    def interleaved_decode(self):
        names = self.m.input(torch.full((9,), 3, dtype=torch.uint8))
        state = self.integers([1 << 31, 1 << 31], torch.int64)
        words = self.m.input(torch.zeros(9, dtype=torch.int32))
        self.place = ctypes.c_int64(), ctypes.c_int32()
        answer = self.m.output(9, dtype=torch.uint8)
        return (*self.tables(), 9, names, 2, state, words, 9, *map(ctypes.byref, self.place), answer)

    def tables(self) -> list[int | None]:
        from szilard.coding import shapes

        arrays = (shapes.starts().astype("i4"), shapes.frequencies().astype("i4"), shapes.lookup())
        return [self.m.input(torch.from_numpy(array)) for array in arrays]

    def field_predict(self):
        places = torch.arange(5, dtype=torch.int32)
        weights = [self.m.input(torch.ones(n, dtype=torch.int32)) for n in (23, 3 * 31, 9, 6, 8)]
        self.network = FieldNetwork(3, *weights)
        arrays = [self.m.input(one) for one in (places, places.repeat(16), places, torch.arange(5))]
        self.step = FieldPass(5, 5, 0, 0, 16, 0, 0, *arrays, None, None)
        pointers = (ctypes.byref(self.network), ctypes.byref(self.step))
        return (*pointers, self.m.output(5, dtype=torch.int64), self.m.output(5, dtype=torch.int32))

    def shrink(self):
        inputs = self.inputs(CODES, CODES, (BATCH,), CODES, (BATCH,), (BATCH,))
        passing = self.m.input(torch.arange(BATCH))
        outputs = (*self.outputs(CODES, (BATCH,), (BATCH,)), self.m.output(*CODES, dtype=torch.uint8))
        return (*CODES, *inputs, passing, *outputs, 1)

    def event_product(self):
        return (*CODES, 7, *self.inputs(CODES, (CODES[1], 7)), *self.outputs((BATCH, 7)), 1)

    def levels(self) -> int | None:
        return self.m.input(torch.tensor([3, -70000, 0, 1, 5, -2, 0, 0, 900, 1, -1, 44], dtype=torch.int32))

    def stream(self, ended: bool) -> Tensor:
        """The coded levels, in an array of exactly their size."""
        state, out = torch.tensor(ENCODER), torch.empty(99, dtype=torch.uint8)
        written = torch.zeros(2, dtype=torch.int64)
        contexts = torch.full((native.library().szilard_contexts(),), 1 << 15, dtype=torch.int32)
        assert call("encode", contexts, state, 0, 3, 4, self.levels(), out, written.data_ptr()) == 0
        if ended:
            behind = torch.empty(99, dtype=torch.uint8)
            assert call("encode_end", state, behind, written[1:].data_ptr()) == 0
            out = torch.cat([out[: int(written[0])], behind[: int(written[1])]])
            return out
        return self.m.output(int(written[0]), dtype=torch.uint8)


WRITING = [
    (name.removeprefix("szilard_"), parameter)
    for name, parameters in PARAMETERS.items()
    for parameter in parameters
    if parameter.endswith("_room") and not name.startswith("szilard_program_")
]


OPTIONAL = {
    "linear_backward": {"grad_x", "grad_values"},
    "lrt_linear": {"factor"},
    "lrt_linear_backward": {"grad_x", "grad_bias"},
    "conv_backward": {"grad_x", "grad_values"},
    "lrt_conv": {"factor"},
    "lrt_conv_backward": {"grad_x"},
    "batch_norm_backward": {"grad_residual"},
    "shrink": {"passed"},
}


def test_every_function_that_writes_is_tested():
    assert {name for name, _ in WRITING} == {
        name.removeprefix("szilard_")
        for name in native.FUNCTIONS
        if name != "szilard_use_isa"
        and not name.startswith("szilard_program_")  # test_kernels_inference_abi.py
    }
    assert len(WRITING) > 40


def written_by(name: str, arguments: tuple) -> list[Tensor]:
    return [a for a in arguments if isinstance(a, Tensor)]


@pytest.mark.parametrize(("name", "parameter"), WRITING)
@pytest.mark.parametrize("room", ["short", "none", "negative", "least", "no array"])
def test_too_small_outputs_are_refused_and_nothing_is_written(name, parameter, room):
    case = Case()  # owns the memory
    arguments = case.arguments(name)
    names = [p for p in PARAMETERS[f"szilard_{name}"] if not p.endswith("_room")]
    at = names.index(parameter.removesuffix("_room"))
    array = arguments[at]
    size = array.numel()
    rooms = {
        parameter: {"short": size - 1, "none": 0, "negative": -1, "least": -(2**63), "no array": size}[room]
    }
    if room == "no array":
        arguments = (*arguments[:at], None, *arguments[at + 1 :])
        if parameter.removesuffix("_room") in OPTIONAL.get(name, set()):
            assert call(name, *arguments, rooms=rooms) == 0
            return
    tensors = written_by(name, arguments)
    before = [t.clone() for t in tensors]
    assert call(name, *arguments, rooms=rooms) == NO_ROOM
    for tensor, was in zip(tensors, before, strict=True):
        coded = tensor is array and parameter == "out_room" and name.startswith("encode")
        behind = slice(
            max(rooms[parameter], 0) if coded else 0, None
        )  # the coder may fill the available bytes
        assert torch.equal(tensor[behind].nan_to_num(7.0), was[behind].nan_to_num(7.0))


@pytest.mark.parametrize("name", sorted({name for name, _ in WRITING}))
def test_outputs_of_exactly_the_right_size_are_accepted(name):
    case = Case()  # owns the memory
    arguments = case.arguments(name)
    if name == "encode_end":  # the trailing zeros are written and then removed
        assert call(name, *arguments) == 0
        return
    before = [t.clone() for t in written_by(name, arguments)]
    assert call(name, *arguments) == 0
    changed = [not torch.equal(t, b) for t, b in zip(written_by(name, arguments), before, strict=True)]
    assert any(changed)


HUGE = 2**31 - 1


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("batch_norm", (HUGE, 2**62, *[None] * 4, 0, 1e-5, *[torch.empty(1) for _ in range(4)], 1)),
        (
            "max_pool",
            (
                native.Geometry(*[HUGE] * 7, 1, 1, 1, 1, 0, 0, 1, 1, 1),
                None,
                torch.empty(1),
                torch.empty(1),
                1,
            ),
        ),
        ("normal", (KEY, 2**63 - 1, torch.empty(1), 1)),
        ("shrink", (2**62, 4, *[None] * 7, *[torch.empty(1) for _ in range(3)], None, 1)),
        ("event_product", (2**40, HUGE, 1, None, None, torch.empty(1), 1)),
        ("event_product", (1, HUGE, 2**40, None, None, torch.empty(1), 1)),
        ("event_product", (2**40, 1, 2**40, None, None, torch.empty(1), 1)),
        (
            "quantise",
            (torch.zeros(2000), 1, 2**30, 2**29, 0, 2**29, torch.empty(1), *[None] * 3, torch.empty(1), None),
        ),
        ("decode", (torch.zeros(2000), torch.zeros(4), 0, 2**30, 2**29, None, 0, torch.empty(1), None)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_sizes_whose_product_overflows_are_refused(name, arguments):
    assert call(name, *arguments) == NO_ROOM


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("size", [2**27, 2**30, 2**31 - 1])
def test_a_convolution_with_too_much_scratch_memory_is_refused(axis, size):
    """Its arrays are small, but dilation and padding are so large that its scratch rows would not fit into memory."""
    dilation, padding = [1, 1], [0, 0]
    dilation[axis], padding[axis] = size, size // 2 + 1
    geometry = native.Geometry(64, 64, 3, 3, 1, 1, 1, 2, 2, 9, 9, *padding, *dilation, 1)
    memory = Memory(True)
    index = memory.index(Support.from_mask(torch.ones(1, 64, 2, 2)))
    inputs = (memory.input(torch.ones(64, 3, 3, 64)), memory.input(torch.ones(256)))
    status = call("conv", index, geometry, *inputs, memory.output(1, 1, 1, 64), 1)
    assert status == 5


@pytest.mark.parametrize("sizes", [(2**62, 4), (4, 2**62), (2**40, 2**40), (-1, 3), (3, -1)])
def test_matrices_too_large_for_memory_are_refused(sizes):
    contexts, state, one = torch.zeros(2000), torch.zeros(4), torch.empty(1)
    for status in (
        call("rate", contexts, 0, *sizes, None, None, None),
        call("encode", contexts, state, 0, *sizes, None, one, None),
        call("decode", contexts, state, 0, *sizes, None, 0, one, None),
    ):
        assert status == 4
