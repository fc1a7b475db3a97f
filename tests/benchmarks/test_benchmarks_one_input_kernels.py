"""The benchmark of inference on one input: its contestants answer in the same shapes."""

import pytest
import torch
from kernels_used import needs_kernels

import one_input_kernels as benchmark

pytestmark = needs_kernels


@pytest.mark.parametrize("case", benchmark.CASES, ids=[case().name for case in benchmark.CASES])
def test_contestants_answer_in_the_same_shapes(case):
    case = case()
    x = torch.randn(1, *case.shape)
    expected = case.module.eval()(x)
    for density in (None, benchmark.DENSITY):
        point = benchmark.compiled(case, False, density)
        assert point.is_native
        assert point(x).numel() == expected.numel()
        found = benchmark.compiled(case, True, density)(x)
        assert all(part.numel() == expected.numel() and part.isfinite().all() for part in found)
        assert (found.variance >= 0).all()
        assert found.variance.any()


def test_rows():
    row = benchmark.measure(benchmark.linear(8, 12), budget=0.0)
    assert all(row[name] > 0 for name in ("torch", "point", "moments", "sparse point", "sparse moments"))
    assert len(benchmark.cells(row)) == len(benchmark.COLUMNS)
