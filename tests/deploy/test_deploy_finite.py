"""Compiled networks refuse numbers that are not finite, and take large ones."""

import math

import pytest
import torch
from torch import nn

from szilard import deploy
from szilard.errors import SzilardError


@pytest.fixture(scope="module", params=["native", "eager"])
def compiled(request):
    if request.param not in deploy.installed():
        pytest.skip("no C++ kernels")
    network = nn.Sequential(nn.Linear(4, 3)).eval()
    with torch.no_grad():
        network[0].weight.fill_(3e-38)
        network[0].bias.zero_()
    return deploy.compile(network, torch.zeros(1, 4), backend=request.param)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_inputs_that_are_not_finite_are_refused(compiled, bad):
    x = torch.zeros(2, 4)
    x[1, 2] = bad
    value = "NaN" if math.isnan(bad) else "infinite"
    with pytest.raises(SzilardError, match=rf"the input is {value} at row, column \[1, 2\], counted from 0"):
        compiled(x)


def test_opposite_infinities_do_not_cancel(compiled):
    with pytest.raises(SzilardError, match=r"infinite at row, column \[0, 0\], counted from 0 \(2 such"):
        compiled(torch.tensor([[float("inf"), -float("inf"), 0.0, 0.0]]))


def test_large_inputs_whose_sum_overflows_are_taken(compiled):
    x = torch.full((1, 4), 1e38)
    assert not torch.isfinite(x.sum())
    assert torch.allclose(compiled(x).mean, torch.full((1, 3), 12.0), rtol=1e-4)


def test_outputs_that_are_not_finite_are_refused():
    network = nn.Linear(2, 3).eval()
    with torch.no_grad():
        network.weight.fill_(3e38)
    run = deploy.compile(network, torch.zeros(1, 2), backend="eager")
    with pytest.raises(SzilardError, match="returns NaN or infinite values"):
        run(torch.full((1, 2), 1e3))


def test_a_number_is_no_batch(compiled):
    with pytest.raises(SzilardError, match=r"has shape \[\]; this network was compiled for \[B, 4\]"):
        compiled(torch.tensor(1.0))
