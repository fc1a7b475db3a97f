"""Whole networks as programs, threads that share one, and programs and inputs that are refused."""

import copy
import itertools
import math
import pickle

import pytest
import torch
from kernel_memory import needs_kernels
from one_input import MODES, NETWORKS, agrees, flat, generator, inputs, lenet, mlp
from thread_tools import count_wrong

from szilard.errors import SzilardError
from szilard.kernels.inference import Dense, Program, Sparse

pytestmark = needs_kernels


@pytest.mark.parametrize(("batch", "moments"), MODES)
@pytest.mark.parametrize("density", [None, 0.1])
@pytest.mark.parametrize("network", NETWORKS)
def test_networks(network, density, batch, moments):
    program, x = network(batch, moments, density)
    agrees(program, inputs((batch, *x.shape), generator(5), 0.5), 5e-6)


def test_a_network_of_numbers_is_that_of_torch():
    g = generator(3)
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(1, 6, 5, padding=2), torch.nn.MaxPool2d(2), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.Linear(6 * 14 * 14, 10), torch.nn.SiLU(),
    )  # fmt: skip
    conv, linear = layers[0], layers[4]
    program = Program(2, moments=False)
    x = program.input((1, 28, 28))
    y = program.conv(x, Dense(conv.weight), conv.bias, padding=2)
    y = program.relu(program.max_pool(y, 2))
    y = program.silu(program.linear(program.flatten(y), Dense(linear.weight), linear.bias))
    x = inputs((2, 1, 28, 28), g)
    assert torch.allclose(program.finish(y)(x), layers(x), atol=1e-5)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "sigmoid", "tanh", "gelu", "silu"])
@pytest.mark.parametrize("spread", [0.1, 1.0])
def test_moments_of_activations_are_integrals(name, spread):
    means = torch.linspace(-3, 3, 13)
    program = Program(1, moments=True)
    n = len(means)
    y = program.linear(program.input((n,)), Dense(torch.zeros(n, n)), means, torch.full((n,), spread**2))
    found = program.finish(getattr(program, name)(y))(torch.zeros(1, n))
    z = torch.linspace(-9, 9, 20001, dtype=torch.float64)
    density = torch.exp(-z * z / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    function = getattr(torch.nn.functional, name, None) or getattr(torch, name)
    values = function(means.double()[:, None] + spread * z)
    mean = values @ density
    variance = (values - mean[:, None]).square() @ density
    assert torch.allclose(found.mean[0].double(), mean, atol=2e-5)
    assert torch.allclose(found.variance[0].double(), variance, atol=2e-5)


def test_a_maximum_joins_columns_before_rows():
    """The order of Clark's approximation is visible in the result."""
    g = generator(4)
    mean, variance = torch.randn(9, generator=g), torch.rand(9, generator=g)
    program = Program(1, moments=True)
    flat = program.linear(program.input((1,)), Dense(torch.zeros(9, 1)), mean, variance)
    window = program.finish(program.max_pool(program.reshape(flat, (1, 3, 3)), 3))(torch.zeros(1, 1))

    def clark(a, b):
        th = (a[1] + b[1]).sqrt()
        z = (a[0] - b[0]) / th
        cdf, pdf = torch.special.ndtr(z), torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        m = a[0] * cdf + b[0] * (1 - cdf) + th * pdf
        second = (a[0] ** 2 + a[1]) * cdf + (b[0] ** 2 + b[1]) * (1 - cdf) + (a[0] + b[0]) * th * pdf
        return m, second - m * m

    at = list(zip(mean.double(), variance.double(), strict=True))
    rows = [clark(clark(at[3 * i], at[3 * i + 1]), at[3 * i + 2]) for i in range(3)]
    expected = clark(clark(rows[0], rows[1]), rows[2])
    assert window.mean.item() == pytest.approx(expected[0].item(), abs=1e-6)
    assert window.variance.item() == pytest.approx(expected[1].item(), abs=1e-6)


def test_threads_share_a_program():
    questions = []
    for network, moments in itertools.product(NETWORKS, (False, True)):
        program, x = network(1, moments)
        for seed in range(2):
            given = inputs((1, *x.shape), generator(seed))
            questions.append(lambda program=program, given=given: flat(program(given)))
    assert count_wrong(questions, threads=4, rounds=3) == 0


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
def test_a_copy_outlives_its_original(how):
    program, x = mlp(1, True)
    given = inputs((1, *x.shape), generator(0))
    expected, other = flat(program(given)), how(program)
    del program
    assert torch.equal(flat(other(given)), expected)


def test_outputs_can_be_the_input_or_the_same_twice():
    program = Program(2, moments=True)
    x = program.input((5,))
    y = program.relu(x)
    x_out, first, second = program.finish([x, y, y])(given := torch.randn(2, 5))
    assert torch.equal(x_out.mean, given)
    assert torch.equal(first.mean, given.relu())
    assert torch.equal(second.mean, given.relu())
    assert not x_out.variance.any()


def test_without_kernels_torch_computes_the_same(monkeypatch):
    given = inputs((3, 1, 28, 28), generator(0))
    native_program, _ = lenet(3, True)
    expected = native_program(given)
    monkeypatch.setenv("SZILARD_KERNELS", "torch")
    program, _ = lenet(3, True)
    assert not program.is_native
    found = program(given)
    assert torch.allclose(found.mean, expected.mean, atol=1e-5)
    assert torch.allclose(found.variance, expected.variance, atol=1e-5)


def test_inputs_that_are_refused():
    program, _ = lenet(2, True)
    x = torch.zeros(2, 1, 28, 28)
    for wrong in (x[:1], x.flatten(1), x.half(), x.int()):
        with pytest.raises(SzilardError, match="takes a float32 tensor of shape"):
            program(wrong)
    for bad in (math.nan, math.inf, -math.inf):
        for at in (0, 17, 28 * 28 * 2 - 1):
            y = x.clone()
            y.view(-1)[at] = bad
            with pytest.raises(SzilardError, match="NaN or infinite"):
                program(y)
            with pytest.raises(SzilardError, match="NaN or infinite"):
                program(y.double())


def sparse(change):
    arrays = {
        "mean": torch.ones(4), "variance": torch.ones(4), "crow": torch.tensor([0, 2, 2, 4], dtype=torch.int32),
        "col": torch.tensor([0, 3, 1, 2], dtype=torch.int32),
    }  # fmt: skip
    return Sparse(**{**arrays, **change}, shape=(3, 4))


HOSTILE = {
    "column": {"col": torch.tensor([0, 4, 1, 2], dtype=torch.int32)},
    "negative": {"col": torch.tensor([-1, 3, 1, 2], dtype=torch.int32)},
    "order": {"col": torch.tensor([3, 0, 1, 2], dtype=torch.int32)},
    "falls": {"crow": torch.tensor([0, 3, 2, 4], dtype=torch.int32)},
    "end": {"crow": torch.tensor([0, 2, 2, 5], dtype=torch.int32)},
    "nan": {"mean": torch.tensor([1.0, math.nan, 1, 1])},
    "huge": {"mean": torch.tensor([1.0, 1e30, 1, 1])},
    "variance": {"variance": torch.tensor([1.0, -1, 1, 1])},
    "length": {"mean": torch.ones(3)},
    "type": {"col": torch.tensor([0, 3, 1, 2])},
}


@pytest.mark.parametrize("damage", HOSTILE.values(), ids=HOSTILE)
def test_damaged_weights_are_refused(damage):
    def finish(change):
        program = Program(1, moments=True)
        return program.finish(program.linear(program.input((4,)), sparse(change)))

    with pytest.raises(SzilardError):
        finish(damage)
    assert finish({})(torch.ones(1, 4)).mean.tolist() == [[2, 0, 2]]


def test_sizes_that_are_refused():
    program = Program(1, moments=True)
    x, map_ = program.input((4,)), Program(1, moments=True)
    picture = map_.input((2, 4, 4))
    w = Dense(torch.ones(3, 2, 2, 2))
    for call in (
        lambda: Program(0, True),
        lambda: Program(9, True),
        lambda: program.input((3,)),
        lambda: Program(1, True).input((0,)),
        lambda: program.linear(x, Dense(torch.ones(3, 5))),
        lambda: program.linear(x, Dense(torch.ones(3, 4)), torch.ones(2)),
        lambda: Dense(torch.ones(3, 4), torch.ones(3)),
        lambda: program.conv(x, w),
        lambda: map_.conv(picture, Dense(torch.ones(3, 1, 2, 2))),
        lambda: map_.conv(picture, w, groups=2),
        lambda: map_.conv(picture, w, stride=0),
        lambda: map_.conv(picture, w, padding=-1),
        lambda: map_.conv(picture, w, padding=(1, 2, 3)),
        lambda: map_.conv(picture, w, dilation=4),
        lambda: map_.max_pool(picture, 5),
        lambda: map_.max_pool(picture, 2, padding=2),
        lambda: program.average_pool(x, 2),
        lambda: map_.affine(picture, torch.ones(3)),
        lambda: map_.add(picture, map_.flatten(picture)),
        lambda: map_.concat([picture, map_.flatten(picture)]),
        lambda: map_.channels(picture, 0),
        lambda: map_.reshape(picture, (2, 4, 5)),
        lambda: map_.leaky_relu(picture, math.nan),
        lambda: program.relu(type(x)(5, (4,))),
        lambda: program.finish([]),
    ):
        with pytest.raises(SzilardError):
            call()
