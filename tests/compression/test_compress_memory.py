"""Memory of a search besides the network: no duplicate gradients, and no import of PyTorch's compiler."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from szilard.compression import finite
from szilard.compression.memory import Need, _Alive
from szilard.compression.plan import Run, make_plan
from szilard.compression.row_rounding import by_row
from szilard.kernels import dispatch

TOKENS = """
import sys, torch
from torch import nn
import szilard
torch.manual_seed(0)
network = nn.Sequential(nn.Embedding(50, 8), nn.LayerNorm(8), nn.Flatten(), nn.Linear(40, 4)).eval()
x = torch.randint(0, 50, (48, 5))
assert szilard.cost.count(szilard.networks.build("lenet5", (1, 28, 28), 10), (1, 28, 28)).macs > 0
szilard.compress(network, x, lam=1e-5, evaluate=lambda n: 1.0, task="embedding", progress=False)
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
"""


def test_torchs_compiler_is_not_imported():
    """It takes seconds and 80 MB, as much as a network of 20 million weights; counts do not need it either."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TOKENS], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_choice_of_kernels_is_a_constant_for_the_compiler():
    marked = torch.compiler.assume_constant_result(lambda: None)
    assert vars(dispatch._implementation) == vars(marked)


def test_memory_of_a_network_with_a_compiled_part():
    inner = nn.Sequential(nn.Linear(6, 50), nn.Tanh())
    plain = Need.of(nn.Sequential(inner, nn.Linear(50, 3)), [torch.ones(4, 6)], lambda n, x: n(x))
    compiled = nn.Sequential(torch.compile(inner, backend="eager"), nn.Linear(50, 3))
    need = Need.of(compiled, [torch.ones(4, 6)], lambda n, x: n(x))
    assert plain is not None
    assert need == plain
    torch.testing.assert_close(compiled(torch.ones(4, 6)), compiled[1](inner(torch.ones(4, 6))))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 7), max_size=3),
    st.sampled_from([0.0, float("nan"), float("inf"), -float("inf")]),
    st.integers(0, 400),
    st.booleans(),
)
def test_all_finite_agrees_with_torch(shape, odd, place, transposed):
    tensor = torch.ones(shape)
    if tensor.numel():
        tensor.view(-1)[place % tensor.numel()] = odd
    tensor = tensor.mT if transposed and tensor.dim() > 1 else tensor
    before, finite.SOME = finite.SOME, 5
    try:
        assert finite.all_finite(tensor) == bool(torch.isfinite(tensor).all())
    finally:
        finite.SOME = before


@pytest.mark.parametrize(
    ("bits", "kind"), [(2, np.int8), (4, np.int8), (8, np.int8), (9, np.int16), (12, np.int16)]
)
def test_levels_use_the_smallest_integer_type(bits, kind):
    weight = (
        torch.randn(70, 33, generator=torch.Generator().manual_seed(bits))
        * torch.logspace(-3, 0, 70)[:, None]
    )
    made = by_row(weight, bits)
    top = 2 ** (bits - 1) - 1
    wanted = (weight.double() / made.steps()[:, None]).round().clamp(-top, top)
    assert made.levels.dtype == kind
    assert np.array_equal(made.levels, wanted.numpy())
    assert 0.9 * top <= int(np.abs(made.levels).max()) <= top
    assert bool(
        (weight.abs().amax(1).double() <= top * made.steps() * 1.0001).all()
    )  # the largest is not clipped


def test_gradients_are_held_once():
    """make_plan differentiates twice; the first gradients must be freed before the second pass."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Embedding(3000, 24), nn.Linear(24, 24), nn.Flatten(), nn.Linear(72, 5)).eval()
    own = {p.untyped_storage()._cdata for p in network.parameters()}
    size = sum(4 * p.numel() for p in network.parameters())
    x = torch.randint(0, 3000, (3, 3))
    run = Run(network, lambda n, b: n(b), 4.0, torch.Generator().manual_seed(0), None)
    with _Alive(own) as alive:
        plan = make_plan(run, x)
    assert list(plan.squares) == ["0.weight"]
    assert size * 0.9 < alive.most < size * 1.5
