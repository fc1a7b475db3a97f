"""Rules for means and variances, against quadrature for functions of one variable, and draws of the inputs."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from gaussian_inputs import numbers
from torch.nn import functional as F

from szilard.bayes.moments import gaussian
from szilard.bayes.moments.value import GaussianTensor

DRAWS = (
    200_000  # standard errors: 0.0022 of the deviation for a mean, and about 0.0016 for the deviation itself
)
MEANS = torch.linspace(-2, 2, 5, dtype=torch.float64)


@functools.lru_cache(maxsize=4)
def normal(draws, shape, seed):
    return torch.randn(draws, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def drawn(mean, variance, draws=DRAWS, seed=0):
    return mean + variance.sqrt() * normal(draws, tuple(mean.shape), seed)


def integrated(function, mean, sd):
    """Mean and standard deviation of a function of Gaussians, by the trapezoidal rule over 12 deviations each way."""
    z = torch.linspace(-12, 12, 24_001, dtype=torch.float64)[:, None]
    weight = torch.exp(-0.5 * z**2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    values = function(mean + sd * z)
    first = (weight * values).sum(0)
    return first, (weight * (values - first) ** 2).sum(0).sqrt()


def compare_integral(function, sd, mean_error, sd_error, means=MEANS):
    """Mean within ``mean_error`` deviations, deviation within a share ``sd_error``, where it can be compared."""
    mean, variance = function(GaussianTensor(means, torch.full_like(means, sd**2))).moments
    wanted, deviation = integrated(function, means, sd)
    seen = deviation > 1e-3 * deviation.max()  # others are differences of almost equal numbers
    assert not bool((variance.sqrt()[~seen] > 2e-3 * deviation.max()).any())
    assert float(((mean - wanted)[seen] / deviation[seen]).abs().max()) < mean_error
    assert float((variance.sqrt() / deviation - 1)[seen].abs().max()) < sd_error


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
@pytest.mark.parametrize("sd", [0.1, 1.0])
def test_exact_functions_of_one_variable(name, sd):
    compare_integral(EXACT[name], sd, mean_error=1e-5, sd_error=1e-5)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "silu", "gelu", "softplus", "elu", "mish", "logsigmoid"])
@pytest.mark.parametrize("sd", [0.1, 1.0])
def test_smooth_functions_of_one_variable(name, sd):
    function = getattr(F, name, None) or getattr(torch, name)
    compare_integral(function, sd, mean_error=0.007, sd_error=0.005)


@pytest.mark.parametrize(("name", "bias", "sd_error"), [("selu", 0.015, 0.01), ("hardswish", 0.06, 0.04)])
def test_functions_with_a_kink_have_a_bounded_error(name, bias, sd_error):
    """Quadrature: the mean is off by a few per cent of the deviation, and the deviation itself by a few per cent."""
    compare_integral(getattr(F, name), 1.0, bias, sd_error, 1.5 * MEANS)


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
    draws = 50_000  # standard error of a mean: 0.0045 deviations
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
    draws = 20_000
    xs, ws = drawn(x, vx, draws, 4), drawn(w, vw, draws, 5)
    per_draw = F.conv2d(
        xs.reshape(1, -1, 4, 4), ws.reshape(-1, 2 // groups, 3, 3), None, 2, 1, 1, groups * draws
    )
    found = F.conv2d(GaussianTensor(x, vx), GaussianTensor(w, vw), None, 2, 1, 1, groups)
    compare(found, per_draw.reshape(draws, 1, 2, 2, 2), sd_error=1e-9)


def test_average_pools_weigh_padding_as_torch_does():
    x, v = numbers(1, 2, 5, 5), numbers(1, 2, 5, 5, seed=1).square()
    xs = drawn(x, v, 30_000, 2)
    for function, arguments in (
        (F.avg_pool2d, (3, 2, 1)), (F.avg_pool2d, (3, 2, 1, True, False)), (F.avg_pool2d, (2, 2, 0, True)),
        (F.avg_pool2d, (2, 2, 0, False, True, 7)), (F.adaptive_avg_pool2d, (3,)), (F.adaptive_avg_pool2d, ((1, 2),)),
    ):  # fmt: skip
        wanted = function(xs.flatten(0, 1), *arguments).unflatten(0, (-1, 1))
        compare(function(GaussianTensor(x, v), *arguments), wanted, sd_error=1e-9)


def test_maximum_of_two_is_exact_and_of_four_close():
    m, v = numbers(2, 20), numbers(2, 20, seed=1).square()
    values = drawn(m, v, 100_000)
    compare(
        torch.maximum(GaussianTensor(m[0], v[0]), GaussianTensor(m[1], v[1])), values.amax(1), sd_error=1e-9
    )
    m, v = numbers(10, 1, 2, 2, seed=2), torch.ones(10, 1, 2, 2, dtype=torch.float64)
    wanted = drawn(m, v, 100_000).flatten(2).amax(2)
    mean, variance = (part.flatten() for part in F.max_pool2d(GaussianTensor(m, v), 2).moments)
    assert float((mean / wanted.mean(0) - 1).abs().median()) < 0.01
    assert float((variance / wanted.var(0) - 1).abs().max()) < 0.12
    mean, variance = GaussianTensor(m, v).amax((2, 3)).moments
    assert float((variance.flatten() / wanted.var(0) - 1).abs().max()) < 0.12


def test_normalisation_over_units():
    """First order: over 64 units deviations are within 2 % on average, and means within 10 % of one."""
    x, v = numbers(2, 8, 16), 0.2 * numbers(2, 8, 16, seed=1).square()
    xs = drawn(x, v, 10_000, 2)
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
    true = F.relu(drawn(m, v, 1000, seed + 1)).flatten(2).amax(2).var(0).mean()
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
