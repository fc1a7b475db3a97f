"""Exact counts of unusual networks, and of a fake sparse layer."""

import time
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from szilard import bayes
from szilard.cost import Cost, Stopwatch, count, joules, training_flops
from szilard.errors import SzilardError
from szilard.sparse import Support


class FakeWeight(nn.Module):
    """A fake weight with the attributes that counting reads: `support`, `mean`, `log_std`."""

    def __init__(self, rows, cols, nnz):
        super().__init__()
        self.support = Support.random((rows, cols), nnz, torch.Generator().manual_seed(0))
        self.mean = nn.Parameter(torch.zeros(nnz))
        self.log_std = nn.Parameter(torch.zeros(nnz))


class FakeLayer(nn.Module):
    def __init__(self, rows, cols, nnz):
        super().__init__()
        self.weight = FakeWeight(rows, cols, nnz)

    def forward(self, x):
        return x @ x.new_zeros(self.weight.support.shape).t()


@given(st.integers(1, 9), st.integers(1, 9), st.data())
@settings(deadline=None, max_examples=20)
def test_a_support_is_counted_by_its_memory(rows, cols, data):
    nnz = data.draw(st.integers(1, rows * cols))
    cost = count(nn.Sequential(FakeLayer(rows, cols, nnz), nn.BatchNorm1d(rows)), (cols,))
    indices = 0 if nnz == rows * cols else rows + 1 + nnz
    assert cost.parameters == rows * cols + 2 * rows
    assert cost.nonzeros == nnz + 2 * rows
    assert cost.bits == 32 * (2 * nnz + indices + 4 * rows) + 64  # BatchNorm: 4 vectors and an int64 counter
    # the mean network reads μ and the indices, not log σ; each layer reads its input and writes its output
    weights = 4 * (nnz + indices + 4 * rows) + 8
    assert cost.bytes_moved == weights + 4 * (cols + rows) + 4 * (rows + rows)


def test_stored_entries_count_whatever_their_values():
    layer = nn.Linear(3, 2)
    nn.init.zeros_(layer.weight)
    assert count(layer, (3,)).nonzeros == 8


@given(
    groups=st.integers(1, 3),
    into=st.integers(1, 3),
    out=st.integers(1, 3),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
)
@settings(deadline=None, max_examples=25)
def test_convolutions(groups, into, out, kernel, stride, padding):
    layer = nn.Conv2d(groups * into, groups * out, kernel, stride=stride, padding=padding, groups=groups)
    side = (7 + 2 * padding - kernel) // stride + 1
    macs = side * side * groups * out * into * kernel * kernel
    cost = count(layer, (groups * into, 7, 7))
    assert cost.macs == macs
    assert cost.bytes_moved == 4 * (cost.parameters + groups * into * 49 + groups * out * side * side)
    # three forward passes: torch would count the gradient of a grouped weight once per group
    assert training_flops(layer, (groups * into, 7, 7), examples=5) == 3 * 2 * macs * 5


class Last(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (nn.ConvTranspose2d(4, 6, 3, groups=2), (4, 5, 5), 25 * 4 * 3 * 9),
        (Last(nn.LSTM(3, 4, batch_first=True)), (7, 3), 7 * 4 * 4 * (3 + 4)),
        (Last(nn.GRU(3, 4, batch_first=True)), (7, 3), 7 * 3 * 4 * (3 + 4)),
        # projections, QK' and AV, two linear layers
        (
            nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
            (5, 8),
            4 * 5 * 8 * 8 + 2 * 5 * 5 * 8 + 2 * 5 * 8 * 16,
        ),
    ],
)
def test_layers_that_run_as_one_fused_operator(layer, shape, macs):
    before = torch.backends.mkldnn.enabled, torch.backends.mha.get_fastpath_enabled()
    assert count(layer, shape).macs == macs
    assert (torch.backends.mkldnn.enabled, torch.backends.mha.get_fastpath_enabled()) == before


class Tokens(nn.Module):
    """Three tokens and two numbers, through an embedding, an LSTM with projection, attention and a linear layer."""

    def __init__(self, packed=False):
        super().__init__()
        self.packed = packed
        self.embedding = nn.Embedding(10, 8)
        self.lstm = nn.LSTM(8, 6, num_layers=2, bidirectional=True, proj_size=4, batch_first=True)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.numbers = nn.Linear(2, 8)

    def forward(self, tokens, numbers=None):
        tokens, numbers = tokens if self.packed else (tokens, numbers)
        x, _ = self.lstm(self.embedding(tokens))
        x, _ = self.attention(x, x, x)
        return x.mean(1) + self.numbers(numbers)


# Both layers read 8 numbers and a state of 4, in two directions; projections of 6 to 4.
LSTM_MACS = 2 * 2 * 3 * (4 * 6 * (8 + 4) + 4 * 6)
TOKENS_MACS = LSTM_MACS + 4 * 3 * 8 * 8 + 2 * 3 * 3 * 8 + 2 * 8


@pytest.mark.parametrize(
    ("network", "inputs"),
    [
        (Tokens(), [(3,), (2,)]),
        (Tokens(packed=True), [(3,), (2,)]),
        (Tokens(), {"numbers": (2,), "tokens": (3,)}),
        (Tokens(), [torch.tensor([[1, 2, 3], [4, 5, 6]]), (2,)]),
        (Tokens(), {"tokens": torch.tensor([[1, 2, 3]]), "numbers": torch.ones(1, 2)}),
    ],
)
def test_tokens_several_inputs_recurrent_layers_and_attention_by_hand(network, inputs):
    assert count(network, inputs).macs == TOKENS_MACS
    assert training_flops(network, inputs, examples=5) == 5 * 3 * 2 * TOKENS_MACS


def test_tokens_alone():
    network = nn.Sequential(nn.Embedding(10, 8), nn.Flatten(), nn.Linear(24, 2))
    assert count(network, (3,)).macs == 48
    sparse = bayes.bayesianize(network, 0.5)
    assert training_flops(sparse, (3,), examples=1, growth_examples=1) > 0


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([(3,)], "does not run"),
        ([(4,), (2,), (1,)], r"\[4\], \[2\], \[1\]"),
        (["ab"], "list of whole numbers"),
        ([torch.ones(0, 3), (2,)], "must hold an example"),
    ],
)
def test_inputs_that_do_not_fit_give_one_line(inputs, words):
    with pytest.raises(SzilardError, match=words) as caught:
        count(Tokens(), inputs)
    assert "\n" not in str(caught.value)


def test_scaled_dot_product_attention():
    class Attend(nn.Module):
        def forward(self, x):
            return nn.functional.scaled_dot_product_attention(x, x, x)

    assert count(Attend(), (2, 5, 4)).macs == 2 * 2 * 5 * 5 * 4


def test_tied_layers_are_stored_once_and_run_twice():
    layer = nn.Linear(3, 3)
    cost = count(nn.Sequential(layer, nn.ReLU(), layer), (3,))
    assert (cost.parameters, cost.bits, cost.macs) == (12, 32 * 12, 18)


def test_half_precision_is_half_the_bits():
    assert count(nn.Linear(4, 4).bfloat16(), (4,)).bits == 16 * 20


def test_a_wrong_shape_gives_one_line():
    with pytest.raises(SzilardError, match=r"input of shape \[5\]") as caught:
        count(nn.Linear(3, 2), (5,))
    assert "\n" not in str(caught.value)


def test_joules_need_all_their_terms():
    assert joules(Cost(macs=10, bytes_moved=8)).joules_inference is None  # the kind of memory is unknown
    assert joules(Cost(macs=10, bits=8)).joules_inference is None
    assert joules(Cost(macs=10, bits=8, bytes_moved=8)).joules_training is None


@given(st.integers(0, 10**9), st.integers(1, 10**9), st.integers(0, 10**9))
@settings(deadline=None, max_examples=30)
def test_joules_increase_with_their_terms(macs, bits, moved):
    base = joules(Cost(macs=macs, bits=bits, bytes_moved=moved))
    for more in (
        Cost(macs=macs + 1, bits=bits, bytes_moved=moved),
        Cost(macs=macs, bits=bits, bytes_moved=moved + 8),
    ):
        assert joules(more).joules_inference > base.joules_inference
    assert joules(Cost(macs=macs, bits=8 * bits, bytes_moved=moved)).joules_inference >= base.joules_inference
    assert (base.macs, base.bits, base.bytes_moved) == (
        macs,
        bits,
        moved,
    )  # counted figures are unchanged


def test_an_inner_stopwatch_does_not_hide_the_outer_peak():
    size = 200_000_000
    with Stopwatch() as outer:
        block = torch.ones(size // 4)
        with Stopwatch() as before:
            held = SimpleNamespace(block=block)
        del block, held
        with Stopwatch() as inner:
            pass
    assert outer.peak_bytes >= before.peak_bytes > size
    assert outer.peak_bytes >= inner.peak_bytes > 0


def test_a_stopwatch_stops_if_its_block_raises():
    def fail():
        begun = time.perf_counter()
        while time.perf_counter() == begun:  # until the clock has advanced
            pass
        raise KeyError

    with pytest.raises(KeyError), Stopwatch() as watch:
        fail()
    assert watch.seconds > 0
    assert not Stopwatch._running


class QueryParameter(nn.Module):
    """Attention of one query, a parameter expanded over the batch, to keys of another width."""

    def __init__(self):
        super().__init__()
        self.query = nn.Parameter(torch.ones(1, 1, 8))
        self.attention = nn.MultiheadAttention(8, 2, kdim=6, vdim=6, batch_first=True)

    def forward(self, x):
        return self.attention(self.query.expand(len(x), -1, -1), x, x)[0]


def test_attention_with_an_expanded_query():
    # Projections of 1 query, 5 keys and values, scores and sums of 5 positions, and the output.
    assert count(QueryParameter(), (5, 6)).macs == 8 * 8 + 2 * 5 * 6 * 8 + 2 * 5 * 8 + 8 * 8


@pytest.mark.parametrize("made", [torch.jit.script, lambda net: torch.jit.trace(net, torch.zeros(1, 4))])
def test_torchscript_has_the_counts_of_its_source(made):
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    plain, scripted = count(network, (4,)), count(made(network), (4,))
    assert (scripted.macs, scripted.parameters, scripted.bits) == (plain.macs, plain.parameters, plain.bits)
    assert scripted.bytes_moved is None
    assert training_flops(made(network), (4,), examples=3) == training_flops(network, (4,), examples=3)
