"""Rules for means and variances: every function of torch that has one, against the function and against draws."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from szilard import SzilardError
from szilard.bayes.moments import gaussian
from szilard.bayes.moments.rules import rule, table
from szilard.bayes.moments.value import GaussianTensor, both
from szilard.networks.function_rules import PLACES, name_of

DRAWS = 1_000_000


def numbers(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def certain(x):
    return GaussianTensor(x.clone(), torch.zeros_like(x))


# -- every function that has a rule -------------------------------------------------------------------

X = numbers(2, 3, 4)
IMAGES = numbers(2, 4, 6, 6, seed=1)
M, N = numbers(3, 4, seed=2), numbers(4, 5, seed=3)
Q = numbers(2, 2, 3, 4, seed=4)
MASK = torch.tensor([[True, False, True, False]] * 3)
ROWS = torch.tensor([[0, 1, 0, 1]] * 3)

#: Calls of each function by its name: arguments, and which of them are Gaussian (all tensors of real numbers unless
#: given). A function by another place (torch, Tensor, F) is called with the same arguments.
CALLS = {
    "linear": [(X, numbers(5, 4)), (X, numbers(5, 4), numbers(5))],
    "conv1d": [(X, numbers(2, 3, 2)), (X, numbers(2, 3, 2), numbers(2), 2, 1)],
    "conv2d": [(IMAGES, numbers(4, 2, 3, 3), numbers(4), 2, 1, 1, 2)],
    "conv3d": [(numbers(1, 2, 3, 3, 3), numbers(3, 2, 2, 2, 2), numbers(3))],
    "conv_transpose1d": [(X, numbers(3, 2, 2), numbers(2), 2)],
    "conv_transpose2d": [(IMAGES, numbers(4, 1, 3, 3), numbers(2), 2, 1, 1, 2)],
    "conv_transpose3d": [(numbers(1, 2, 3, 3, 3), numbers(2, 3, 2, 2, 2), numbers(3))],
    "matmul": [(M, N)], "__matmul__": [(M, N)], "__rmatmul__": [(N, M)], "mm": [(M, N)], "mv": [(M, N[:, 0])],
    "bmm": [(X, numbers(2, 4, 5))], "dot": [(M[0], N[:, 0])],
    "addmm": [(numbers(3, 5), M, N), (numbers(5), M, N, {"beta": 2, "alpha": 3})],
    "baddbmm": [(numbers(2, 3, 5), X, numbers(2, 4, 5))], "addmv": [(numbers(3), M, N[:, 0])],
    "relu": [(X,)], "relu_": [(X,)], "leaky_relu": [(X,), (X, 0.2)], "leaky_relu_": [(X, 0.2)],
    "prelu": [(X, torch.tensor([0.3])), (X, torch.tensor([0.3, -0.2, 0.1]))],
    "hardtanh": [(X,), (X, -0.5, 2.0)], "relu6": [(5 * X,)], "hardsigmoid": [(3 * X,)],
    "clamp": [(X, -0.5, 0.5), (X, {"min": 0.0}), (X, {"max": 0.3})], "clip": [(X, -0.5, 0.5)],
    "clamp_min": [(X, 0.1)], "clamp_max": [(X, 0.1)],
    "dropout": [(X, 0.5, False)], "dropout1d": [(X, 0.5, False)], "dropout2d": [(IMAGES, 0.5, False)],
    "dropout3d": [(numbers(1, 2, 3, 3, 3), 0.5, False)], "alpha_dropout": [(X, 0.5, False)],
    "feature_alpha_dropout": [(IMAGES, 0.5, False)],
    **{name: [(X,)] for name in (
        "sigmoid", "tanh", "silu", "elu", "selu", "celu", "softplus", "softsign", "mish", "log_sigmoid", "gelu",
        "hardswish", "erf", "sin", "cos", "exp", "abs", "__abs__", "square", "sigmoid_", "tanh_", "neg", "negative",
        "__neg__", "positive", "__pos__",
    )},
    "glu": [(X, -1), (IMAGES, 1)],
    **{name: [(X, M), (X, 2.5), (2.5, X)] for name in ("add", "sub", "subtract", "mul", "multiply")},
    **{name: [(X, M), (X, 2.5)] for name in ("__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__")},
    "rsub": [(X, M), (X, 2.5, {"alpha": 2})],
    **{name: [(X, 2.5), (X, {1: M})] for name in ("div", "divide", "true_divide", "__truediv__")},
    "pow": [(X, 2), (X, 1)], "__pow__": [(X, 2)],
    **{name: [(X, M), (X, 2.5)] for name in ("add_", "__iadd__", "sub_", "__isub__", "mul_", "__imul__")},
    **{name: [(X, 2.5)] for name in ("div_", "__itruediv__", "__idiv__")},
    "sum": [(X,), (X, 1), (X, (0, 2), True)], "mean": [(X,), (X, -1), (X, (0, 2), True)],
    "addcmul": [(X, M, X, {"value": 0.5})],
    "amax": [(X, (1, 2)), (X, 0, True)], "maximum": [(X, M)], "max": [(X, M)],
    "max_pool1d": [(X, 2), (X, 3, 2, 1)], "max_pool2d": [(IMAGES, 2), (IMAGES, 3, 2, 1, 1), (IMAGES, 2, 1, 0, 2)],
    "max_pool3d": [(numbers(1, 2, 4, 4, 4), 2)],
    "avg_pool1d": [(X, 2), (X, 3, 2, 1, True), (X, 3, 2, 1, False, False)],
    "avg_pool2d": [(IMAGES, 2), (IMAGES, 3, 2, 1, True), (IMAGES, 3, 2, 1, False, False), (IMAGES[0], 4, 4, 1, True)],
    "avg_pool3d": [(numbers(1, 2, 4, 4, 4), 3, 2, 1, True, True, 5)],
    "adaptive_avg_pool1d": [(X, 3)], "adaptive_avg_pool2d": [(IMAGES, (4, None)), (IMAGES[0], 1)],
    "adaptive_avg_pool3d": [(numbers(1, 2, 4, 4, 4), 2)],
    "adaptive_max_pool1d": [(X, 2)], "adaptive_max_pool2d": [(IMAGES, (3, 2))],
    "adaptive_max_pool3d": [(numbers(1, 2, 4, 4, 4), 2)],
    "batch_norm": [(IMAGES, numbers(4), numbers(4).square(), numbers(4, seed=5), numbers(4, seed=6), False)],
    "layer_norm": [(X, (4,)), (X, (3, 4), numbers(3, 4), numbers(3, 4, seed=7))],
    "rms_norm": [(X, (4,)), (X, (4,), numbers(4))], "group_norm": [(IMAGES, 2, numbers(4), numbers(4, seed=5))],
    "instance_norm": [(IMAGES,), (IMAGES, numbers(4), numbers(4).square(), None, None, False)],
    "view": [(X, 6, 4)], "reshape": [(X, (6, 4))], "flatten": [(X, 1)], "unflatten": [(X, 2, (2, 2))],
    "permute": [(X, (2, 0, 1))], "transpose": [(X, 0, 1)], "t": [(M,)], "squeeze": [(X[:1], 0)], "unsqueeze": [(X, 0)],
    "expand": [(X[:1], 5, 3, 4)], "expand_as": [(X[:1], {1: X})], "view_as": [(X, {1: X})],
    "reshape_as": [(X, {1: X})],
    **{name: [(X, 0, 1)] for name in ("swapaxes", "swapdims", "movedim", "moveaxis")},
    **{name: [(X,)] for name in ("contiguous", "detach", "clone", "ravel", "zeros_like", "ones_like")},
    "chunk": [(X, 2, 2)], "split": [(X, 2, 2)], "unbind": [(X, 1)], "tensor_split": [(X, 3, 2)],
    "narrow": [(X, 2, 1, 2)], "select": [(X, 2, 1)], "diagonal": [(M,)], "adjoint": [(M,)],
    "broadcast_to": [(M, (2, 3, 4))],
    "__getitem__": [(X, (slice(None), 1)), (X, (ROWS[0, :2],)), (X, MASK.expand(2, 3, 4))],
    "index_select": [(X, 1, torch.tensor([2, 0]))], "gather": [(M, 0, ROWS)], "flip": [(X, (0,))], "roll": [(X, 1, 2)],
    "repeat": [(X, 2, 1, 1)], "repeat_interleave": [(X, 2, 1)], "tile": [(X, (2, 1))],
    "take_along_dim": [(M, ROWS, 0)], "rot90": [(M,)],
    "channel_shuffle": [(IMAGES, 2)], "native_channel_shuffle": [(IMAGES, 2)], "pixel_shuffle": [(IMAGES, 2)],
    "pixel_unshuffle": [(IMAGES, 2)],
    **{f"Tensor.{name}": [(M,)] for name in ("T", "mT", "H", "mH", "data")},
    "to": [(X, torch.float32), (X, {1: M.float()})], "type_as": [(X, {1: M.float()})],
    "float": [(X,)], "double": [(X,)], "cpu": [(X,)],
    **{name: [((X, X + 1), 1)] for name in ("cat", "concat", "concatenate", "stack")},
    "pad": [(X, (1, 2)), (X, (1, 1), "reflect"), (X, (1, 1), "constant", 3.0)],
    "masked_fill": [(X, MASK, 2.0)], "where": [(MASK, X, X + 1), (MASK, X, 0.0), (MASK, 0.0, X)],
    "interpolate": [(IMAGES, None, 2), (IMAGES, (3, 3))],
    "embedding": [(ROWS, M), (ROWS, M, 1)],
    "full_like": [(X, 2.0)], "new_zeros": [(X, (2, 2))], "new_ones": [(X, (2, 2))], "new_full": [(X, (2, 2), 3.0)],
    "new_tensor": [(X, [1.0])],
    "scaled_dot_product_attention": [(Q, Q + 1, Q - 1), (Q, Q, Q, None, 0.0, True), (Q, Q, Q, MASK[:, :3], 0.0)],
}  # fmt: skip
#: With numbers that torch leaves open, only a device that is not here, or an own test.
ELSEWHERE = {"cuda", "empty_like", "new_empty", "multi_head_attention_forward"}
#: By place, where the name means another function there.
OTHERS = {
    (torch, "dropout"): [(X, 0.5, False)],
    (Tensor, "where"): [(X, MASK, X + 1), (X, MASK, 0.0)],
    (F, "unfold"): [(IMAGES, 2), (IMAGES, 3, 1, 1, 2)],
    (Tensor, "unfold"): [(X, 2, 2, 1)],
}


#: Refused with advice.
REFUSED = {"softmax", "log_softmax", "softmin", "gumbel_softmax", "logsumexp"}


def place_of(function):
    return next((place for place in PLACES if getattr(place, function.__name__, None) is function), None)


def cases():
    for function in table():
        name = name_of(function)
        if name in ELSEWHERE | REFUSED:
            continue
        place = place_of(function)
        calls = OTHERS.get((place, name)) or CALLS.get(name)
        yield pytest.param(function, calls, id=f"{getattr(place, '__name__', 'property')}.{name}")


def arranged(call):
    """Arguments, those that are never Gaussian, and named arguments of an entry of CALLS."""
    arguments, fixed, named = [], {}, {}
    for value in call:
        if isinstance(value, dict):
            fixed |= {key: v for key, v in value.items() if isinstance(key, int)}
            named |= {key: v for key, v in value.items() if isinstance(key, str)}
        else:
            arguments.append(value)
    for place, value in sorted(fixed.items()):
        arguments.insert(place, value)
    return arguments, set(fixed), named


def variants(name, arguments, fixed):
    """Which arguments to make Gaussian: all, and each alone."""

    def real(value):
        if isinstance(value, tuple):
            return bool(value) and all(isinstance(v, Tensor) and v.is_floating_point() for v in value)
        return isinstance(value, Tensor) and value.is_floating_point()

    places = [i for i, value in enumerate(arguments) if real(value) and i not in fixed]
    if name in ("batch_norm", "instance_norm"):  # statistics are never random
        places = [i for i in places if i not in (1, 2)]
    if name == "prelu" or name.endswith("_") or name == "masked_fill":
        places = places[:1] if name != "__pos__" else places
    if name.startswith(("__r", "__")) or (name in ("add_", "sub_", "mul_", "div_", "view", "flatten")):
        return [places, places[:1]]
    return [places, *([place] for place in places)] if len(places) > 1 else [places]


@pytest.mark.parametrize(("function", "calls"), list(cases()))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_without_variance_a_rule_is_its_function(function, calls, dtype):
    assert calls, "no call of this function is tested"
    tolerance = {torch.float64: 1e-12, torch.float32: 2e-5}[dtype]

    def typed(value):
        if isinstance(value, tuple) and value and all(isinstance(v, Tensor) for v in value):
            return tuple(typed(v) for v in value)
        return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value

    for call in calls:
        arguments, fixed, named = arranged([typed(v) if not isinstance(v, dict) else
                                            {k: typed(w) for k, w in v.items()} for v in call])  # fmt: skip
        if place_of(function) is Tensor and not isinstance(arguments[0], Tensor):
            continue  # only the function takes a number first
        plain = [v.clone() if isinstance(v, Tensor) else v for v in arguments]
        wanted = function(*plain, **named)
        for chosen in variants(name_of(function), arguments, fixed):
            given = [
                (tuple(map(certain, v)) if isinstance(v, tuple) else certain(v)) if i in chosen else v
                for i, v in enumerate(arguments)
            ]
            found = function(*given, **named)
            many = isinstance(wanted, tuple | list)
            for got, want in zip(found if many else [found], wanted if many else [wanted], strict=True):
                assert got.shape == want.shape
                assert got.dtype == want.dtype
                mean, variance = both(got)
                torch.testing.assert_close(mean, want, rtol=tolerance, atol=tolerance)
                assert not variance.any() or float(variance.max()) < 1e-12
            if name_of(function).endswith("_") and not name_of(function).startswith("__"):
                torch.testing.assert_close(both(given[0]).mean, wanted, rtol=tolerance, atol=tolerance)


# -- against draws ----------------------------------------------------------------------------------------

MEANS = torch.linspace(-2, 2, 5, dtype=torch.float64)


@functools.lru_cache(maxsize=4)
def normal(draws, shape, seed):
    return torch.randn(draws, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def drawn(mean, variance, draws=DRAWS, seed=0):
    return mean + variance.sqrt() * normal(draws, tuple(mean.shape), seed)


def compare(found, values, mean_error=5.0, sd_error=0.004):
    """Means within ``mean_error`` standard errors, deviations within a share ``sd_error`` (plus five errors)."""
    mean, variance = found.moments
    deviation = values.std(0)
    seen = deviation > 0.02 * deviation.max()  # others are too rarely different to be measured
    assert not bool((variance.sqrt()[~seen] > 0.03 * deviation.max()).any())
    mean, variance, deviation, values = mean[seen], variance[seen], deviation[seen], values[:, seen]
    error = (mean - values.mean(0)).abs() / (deviation / math.sqrt(len(values)) + 1e-12)
    assert float(error.max()) < mean_error
    fourth = ((values - values.mean(0)) ** 4).mean(0) / deviation**4
    noise = 5 * ((fourth - 1) / 4 / len(values)).sqrt()  # of the sample deviation, relative
    assert bool(((variance.sqrt() / deviation - 1).abs() < sd_error + noise).all())


EXACT = {
    "relu": F.relu, "leaky_relu": lambda x: F.leaky_relu(x, 0.2), "hardtanh": F.hardtanh,
    "relu6": lambda x: F.relu6(3 * x), "hardsigmoid": lambda x: F.hardsigmoid(3 * x), "abs": torch.abs,
    "clamp": lambda x: x.clamp(-0.3, 1.5), "square": lambda x: x**2, "sin": torch.sin, "cos": torch.cos,
    "exp": torch.exp, "product with itself": lambda x: x * x, "sum with itself": lambda x: x + x,
    "prelu": lambda x: F.prelu(x, torch.tensor([-0.5], dtype=x.dtype)),
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("sd", [pytest.param(0.1, marks=pytest.mark.slow), 1.0])
def test_exact_functions_of_one_variable(name, sd):
    variance = torch.full_like(MEANS, sd**2)
    found = EXACT[name](GaussianTensor(MEANS, variance))
    compare(found, EXACT[name](drawn(MEANS, variance)), sd_error=1e-9)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "silu", "gelu", "softplus", "elu", "mish", "logsigmoid"])
@pytest.mark.parametrize("sd", [pytest.param(0.1, marks=pytest.mark.slow), 1.0])
def test_smooth_functions_of_one_variable(name, sd):
    function, variance = getattr(F, name, None) or getattr(torch, name), torch.full_like(MEANS, sd**2)
    compare(
        function(GaussianTensor(MEANS, variance)),
        function(drawn(MEANS, variance)),
        mean_error=7,
        sd_error=0.005,
    )


@pytest.mark.parametrize(("name", "bias", "sd_error"), [("selu", 0.015, 0.01), ("hardswish", 0.06, 0.04)])
def test_functions_with_a_kink_have_a_bounded_error(name, bias, sd_error):
    """Quadrature: the mean is off by a few per cent of the deviation, and the deviation itself by a few per cent."""
    function, means, variance = getattr(F, name), 1.5 * MEANS, torch.ones_like(MEANS)
    values = function(drawn(means, variance))
    mean, found = function(GaussianTensor(means, variance)).moments
    assert float(((mean - values.mean(0)) / values.std(0)).abs().max()) < bias
    assert float((found.sqrt() / values.std(0) - 1).abs().max()) < sd_error


@pytest.mark.parametrize("z", [-6, -5, -4, -3, -2, -1, 0, 1, 3, 6])
def test_relu_over_all_signs(z):
    """Exact formulas in higher precision than float64 would be needed beyond: the tail is compared with quadrature."""
    grid = torch.linspace(0, 40, 400001, dtype=torch.float64)  # of the output
    for sd in (0.1, 2.0):
        density = torch.exp(-0.5 * ((grid * sd - z * sd) / sd) ** 2) / math.sqrt(2 * math.pi)
        first = torch.trapezoid(grid * density, grid)
        second = torch.trapezoid((grid - first) ** 2 * density, grid) + first**2 * 0.5 * math.erfc(
            z / math.sqrt(2)
        )
        for dtype, error in ((torch.float64, 1e-7), (torch.float32, 3e-4)):
            mean, variance = gaussian.relu(
                torch.tensor(z * sd, dtype=dtype), torch.tensor(sd**2, dtype=dtype)
            )
            assert float(mean) == pytest.approx(float(first * sd), rel=error)
            assert float(variance) == pytest.approx(float(second * sd**2), rel=error)


def test_linear_maps_and_products():
    x, vx = numbers(3, 4), numbers(3, 4, seed=1).square()
    w, vw = numbers(5, 4, seed=2), numbers(5, 4, seed=3).square() / 4
    b, vb = numbers(5, seed=4), numbers(5, seed=5).square()
    draws = 200_000
    xs, ws, bs = drawn(x, vx, draws, 6), drawn(w, vw, draws, 7), drawn(b, vb, draws, 8)
    gx, gw, gb = GaussianTensor(x, vx), GaussianTensor(w, vw), GaussianTensor(b, vb)
    every = torch.einsum("nbi,noi->nbo", xs, ws)
    compare(F.linear(gx, gw, gb), every + bs[:, None], sd_error=1e-9)
    compare(F.linear(gx, w, b), torch.einsum("nbi,oi->nbo", xs, w) + b, sd_error=1e-9)
    compare(F.linear(x, gw), torch.einsum("bi,noi->nbo", x, ws), sd_error=1e-9)
    compare(gx @ gw.T, every, sd_error=1e-9)
    compare(gx * gw[:3], xs * ws[:, :3], sd_error=1e-9)
    compare(torch.addmm(gb, gx, gw.T, beta=2, alpha=-0.5), 2 * bs[:, None] - 0.5 * every, sd_error=1e-9)
    compare(3 - 2 * gx / 4, 3 - xs / 2, sd_error=1e-9)
    compare(gx.sum(1), xs.sum(2), sd_error=1e-9)
    compare(gx.mean((0, 1)), xs.mean((1, 2)), sd_error=1e-9)


@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions(groups):
    x, vx = numbers(1, 2, 4, 4), numbers(1, 2, 4, 4, seed=1).square()
    w, vw = numbers(2, 2 // groups, 3, 3, seed=2), numbers(2, 2 // groups, 3, 3, seed=3).square()
    draws = 50_000
    xs, ws = drawn(x, vx, draws, 4), drawn(w, vw, draws, 5)
    per_draw = F.conv2d(
        xs.reshape(1, -1, 4, 4), ws.reshape(-1, 2 // groups, 3, 3), None, 2, 1, 1, groups * draws
    )
    found = F.conv2d(GaussianTensor(x, vx), GaussianTensor(w, vw), None, 2, 1, 1, groups)
    compare(found, per_draw.reshape(draws, 1, 2, 2, 2), sd_error=1e-9)


def test_average_pools_weigh_padding_as_torch_does():
    x, v = numbers(1, 2, 5, 5), numbers(1, 2, 5, 5, seed=1).square()
    xs = drawn(x, v, 100_000, 2)
    for function, arguments in (
        (F.avg_pool2d, (3, 2, 1)), (F.avg_pool2d, (3, 2, 1, True, False)), (F.avg_pool2d, (2, 2, 0, True)),
        (F.avg_pool2d, (2, 2, 0, False, True, 7)), (F.adaptive_avg_pool2d, (3,)), (F.adaptive_avg_pool2d, ((1, 2),)),
    ):  # fmt: skip
        wanted = function(xs.flatten(0, 1), *arguments).unflatten(0, (-1, 1))
        compare(function(GaussianTensor(x, v), *arguments), wanted, sd_error=1e-9)


def test_maximum_of_two_is_exact_and_of_four_close():
    m, v = numbers(2, 20), numbers(2, 20, seed=1).square()
    values = drawn(m, v, 300_000)
    compare(
        torch.maximum(GaussianTensor(m[0], v[0]), GaussianTensor(m[1], v[1])), values.amax(1), sd_error=1e-9
    )
    m, v = numbers(10, 1, 2, 2, seed=2), torch.ones(10, 1, 2, 2, dtype=torch.float64)
    wanted = drawn(m, v, 200_000).flatten(2).amax(2)
    mean, variance = (part.flatten() for part in F.max_pool2d(GaussianTensor(m, v), 2).moments)
    assert float((mean / wanted.mean(0) - 1).abs().median()) < 0.01
    assert float((variance / wanted.var(0) - 1).abs().max()) < 0.12
    mean, variance = GaussianTensor(m, v).amax((2, 3)).moments
    assert float((variance.flatten() / wanted.var(0) - 1).abs().max()) < 0.12


def test_normalisation_over_units():
    """First order: over 64 units deviations are within 2 % on average, and means within 10 % of one."""
    x, v = numbers(2, 8, 16), 0.2 * numbers(2, 8, 16, seed=1).square()
    xs = drawn(x, v, 40_000, 2)
    g = GaussianTensor(x, v)
    for found, wanted in (
        (F.layer_norm(g, (8, 16)), F.layer_norm(xs, (8, 16))),
        (F.rms_norm(g, (8, 16)), F.rms_norm(xs, (8, 16))),
        (F.group_norm(g, 2), F.group_norm(xs.flatten(0, 1), 2).unflatten(0, (-1, 2))),
    ):
        mean, variance = found.moments
        assert float(((mean - wanted.mean(0)) / wanted.std(0)).abs().max()) < 0.1
        assert float((variance.sqrt() / wanted.std(0)).log().abs().mean()) < 0.02
    compare(
        F.batch_norm(g, numbers(8), numbers(8).square() + 1, numbers(8, seed=5), numbers(8, seed=6)),
        F.batch_norm(xs.flatten(0, 1), numbers(8), numbers(8).square() + 1, numbers(8, seed=5), numbers(8, seed=6))
        .unflatten(0, (-1, 2)),
        sd_error=1e-9,
    )  # fmt: skip


def test_dropout_in_training_mode_adds_its_variance():
    m, v = numbers(10), numbers(10, seed=1).square()
    values = F.dropout(drawn(m, v), 0.3, True)
    compare(F.dropout(GaussianTensor(m, v), 0.3, True), values, sd_error=0.01)


@pytest.mark.parametrize("sd", [1e-1, 1e-2, 1e-3, 1e-4])
def test_single_precision_keeps_small_variances(sd):
    """Relative error below 1e-6; the published form, a difference of second moments, is above 1e-3 from sd 1e-3 on."""
    w, x = numbers(64, 256) + 1, numbers(32, 256, seed=1) + 1
    vw, vx = torch.full_like(w, sd**2), torch.full_like(x, sd**2)
    exact = F.linear(GaussianTensor(x, vx), GaussianTensor(w, vw)).moments.variance
    single = [t.float() for t in (x, vx, w, vw)]
    found = F.linear(GaussianTensor(*single[:2]), GaussianTensor(*single[2:])).moments.variance
    assert float((found / exact - 1).abs().max()) < 1e-6
    x, vx, w, vw = single
    published = F.linear(x.square() + vx, w.square() + vw) - F.linear(x.square(), w.square())
    if sd <= 1e-3:
        assert float((published / exact - 1).abs().max()) > 1e-3
    # Through a ReLU, normalisation, a maximum and a smooth function the deviations stay, too.
    m = torch.linspace(0.5, 2, 100, dtype=torch.float64)
    for function, error in (
        (F.relu, 1e-5),
        (lambda t: torch.maximum(t, 0.3 * t), 1e-5),
        (F.gelu, 1e-3),
        (F.tanh, 1e-3),
    ):
        variance = torch.full_like(m, sd**2)
        double = function(GaussianTensor(m, variance)).moments.variance
        half = function(GaussianTensor(m.float(), variance.float())).moments.variance
        assert float((half / double - 1).abs().max()) < error


def ratio_of_variances(pool_first, r, seed):
    m = numbers(400, 1, 2, 2, seed=seed)
    v = torch.full_like(m, r**2)
    true = F.relu(drawn(m, v, 3000, seed + 1)).flatten(2).amax(2).var(0).mean()
    x = GaussianTensor(m, v)
    rectified = F.relu(x)
    found = F.max_pool2d(rectified if pool_first else GaussianTensor(*rectified.moments), 2)
    return float(found.moments.variance.mean() / true)


def test_max_pool_goes_before_relu():
    """Clark's formula is for Gaussians; the swap changes nothing for numbers and much for wide distributions."""
    for r in (0.05, 0.2, 0.5, 1.0, 2.0):
        assert 0.88 < ratio_of_variances(True, r, 3) < 1.03
    assert ratio_of_variances(False, 1.0, 3) < 0.75
    assert ratio_of_variances(False, 2.0, 3) < 0.6


@pytest.mark.parametrize(
    "between",
    [lambda y: y, lambda y: y.flatten(2).unflatten(2, (4, 4)), lambda y: F.pad(y[:, :, 1:, 1:], (1, 0, 1, 0)),
     lambda y: torch.cat([y, F.relu(-y)], 1)[:, :1], F.relu, lambda y: F.dropout(y, 0.5, False),
     lambda y: y.float().double()],
)  # fmt: skip
def test_the_swap_survives_what_stands_between(between):
    m, v = numbers(3, 1, 4, 4), numbers(3, 1, 4, 4, seed=1).square()
    x = GaussianTensor(m, v)
    assert between(F.relu(x)).before_relu is not None
    wanted = F.relu(F.max_pool2d(GaussianTensor(m, v), 2)).moments
    found = F.max_pool2d(F.relu(x).flatten(2).unflatten(2, (4, 4)), 2).moments
    torch.testing.assert_close(found.mean, wanted.mean)
    torch.testing.assert_close(found.variance, wanted.variance)


def test_relu_does_not_follow_later_changes_of_its_input():
    x = GaussianTensor(numbers(4), torch.ones(4, dtype=torch.float64))
    wanted = F.relu(GaussianTensor(*x.moments)).moments
    y = F.relu(x)
    x += 5
    torch.testing.assert_close(y.moments.mean, wanted.mean)
    torch.testing.assert_close(x.moments.mean, numbers(4) + 5)


# -- operations in place ----------------------------------------------------------------------------------


def test_operations_in_place_change_every_name_of_a_tensor():
    x = GaussianTensor(numbers(4), torch.ones(4, dtype=torch.float64))
    y = x
    F.relu(x, inplace=True)
    x += 1
    x *= 2
    wanted = gaussian.relu(numbers(4), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(y.moments.mean, 2 * (wanted[0] + 1))
    torch.testing.assert_close(y.moments.variance, 4 * wanted[1])


def test_a_view_that_was_changed_in_place_is_not_read():
    x = GaussianTensor(numbers(2, 4), torch.ones(2, 4, dtype=torch.float64))
    y = x.flatten()
    torch.relu_(y)
    assert y.moments.mean.min() >= 0
    with pytest.raises(SzilardError, match="inplace=False"):
        x + 1
    x = GaussianTensor(numbers(2, 4), torch.ones(2, 4, dtype=torch.float64))
    y, z = x[0], x.clone()
    x.add_(1)
    with pytest.raises(SzilardError, match="in place"):
        F.relu(y)
    torch.testing.assert_close(z.moments.mean, numbers(2, 4))
    torch.testing.assert_close(x.moments.mean, numbers(2, 4) + 1)


def test_an_ordinary_tensor_cannot_take_a_gaussian_in_place():
    x = GaussianTensor(numbers(4), torch.ones(4, dtype=torch.float64))
    y = torch.zeros(4, dtype=torch.float64)
    with pytest.raises(SzilardError, match=r"y = y \+ x"):
        y += x
    with pytest.raises(SzilardError, match="shape"):
        x += torch.zeros(3, 4, dtype=torch.float64)


# -- what has no rule -------------------------------------------------------------------------------------


def test_a_function_without_a_rule_is_named_and_its_file():
    x = GaussianTensor(numbers(4), torch.ones(4))
    with pytest.raises(SzilardError, match=r"cumsum.*szilard/bayes/moments/ .*shapes.py"):
        x.cumsum(0)
    with pytest.raises(SzilardError, match=r"softmax.*logits"):
        F.softmax(x, 0)
    with pytest.raises(SzilardError, match=r"log_softmax.*logits"):
        nn.LogSoftmax(0)(x)
    for refused in (
        lambda: x > 0, lambda: float(x[0]), lambda: x**3, lambda: 1 / x, lambda: x / x, lambda: x.max(0),
        x.numpy, x.tolist, lambda: F.max_pool1d(x[None], 2, ceil_mode=True),
        lambda: F.batch_norm(x[None], None, None, training=True), lambda: torch.add(x, 1, out=torch.zeros(4)),
        lambda: F.alpha_dropout(x, 0.5, True), lambda: x.clamp(min=torch.zeros(4)), lambda: x.__setitem__(0, 1.0),
        lambda: torch.batch_norm(x[None], None, None, None, None, False, 0.1, 1e-5, False),
    ):  # fmt: skip
        with pytest.raises(SzilardError):
            refused()


def test_code_below_torchs_functions_is_refused():
    x = GaussianTensor(numbers(4), torch.ones(4, dtype=torch.float64))
    with (
        pytest.raises(SzilardError, match="below torch's functions"),
        torch._C.DisableTorchFunctionSubclass(),
    ):
        torch.relu(x)


def test_shape_and_type_are_those_of_the_mean():
    x = GaussianTensor(numbers(2, 3, dtype=torch.float32), torch.ones(2, 3))
    assert (x.shape, x.dtype, x.dim(), len(x), x.numel(), x.device.type) == (
        (2, 3),
        torch.float32,
        2,
        2,
        6,
        "cpu",
    )
    assert x.is_floating_point()
    assert "GaussianTensor(mean=" in repr(x)
    with pytest.raises(SzilardError, match="must be equal"):
        GaussianTensor(torch.zeros(2), torch.zeros(3))


def test_a_rule_can_be_added():
    with pytest.raises(KeyError):
        rule("no such function")(abs)

    @rule("cumsum", places=(Tensor,))
    def cumsum(input, dim):
        return GaussianTensor(*(part.cumsum(dim) for part in input.moments))

    try:
        x = GaussianTensor(numbers(4), torch.ones(4, dtype=torch.float64))
        assert x.cumsum(0).moments.variance.tolist() == [1, 2, 3, 4]
    finally:
        from szilard.bayes.moments import rules

        del rules._rules._rules[Tensor.cumsum]
