"""Operations in place, and functions without a rule."""

from __future__ import annotations

import pytest
import torch
from gaussian_inputs import numbers
from torch import Tensor, nn
from torch.nn import functional as F

from szilard import SzilardError
from szilard.bayes.moments import gaussian
from szilard.bayes.moments.rules import rule
from szilard.bayes.moments.value import GaussianTensor

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


def test_a_function_without_a_rule_is_named_and_how_to_add_one():
    x = GaussianTensor(numbers(4), torch.ones(4))
    with pytest.raises(
        SzilardError, match=r"cumsum; register one with the decorator @szilard\.bayes\.rule, or predict"
    ):
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
