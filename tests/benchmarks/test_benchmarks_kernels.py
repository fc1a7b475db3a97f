"""The kernel benchmark: sparse and dense kernels have the same output shapes; the roofline is computed correctly."""

import pytest
import torch

import kernels
from common.roofline import Roof
from kernels import KINDS, Shape

SHAPES = [Shape("linear", (12, 20)), Shape("conv", (4, 3, 3, 3), 5)]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_sparse_and_dense_kernels_have_the_same_output_sizes(shape):
    sparse, dense = kernels.sparse_kernels(shape, 1.0), kernels.dense_kernels(shape)
    for kind in KINDS:
        ours, theirs = sparse[kind](), dense[kind]()
        ours, theirs = (t if isinstance(t, tuple) else (t,) for t in (ours, theirs))
        for a, b in zip(ours, theirs, strict=False):
            assert a.numel() == b.numel()
            assert torch.isfinite(a).all()


def test_rows_and_figures():
    shape, roof = SHAPES[0], Roof(flops=1e9, bandwidth=1e9)
    rows = kernels.measure(shape, roof, (0.5, 0.05), budget=0.0)
    assert [(row["kernel"], row["density"]) for row in rows] == [(k, d) for k in KINDS for d in (0.5, 0.05)]
    nnz = round(0.05 * 12 * 20)
    assert rows[1]["flops"] == 2 * nnz * kernels.BATCH
    assert rows[1]["bytes"] == 4 * ((12 + 20) * kernels.BATCH + 2 * nnz)
    assert all(row["seconds"] > 0 and row["of_roof"] > 0 for row in rows)
    found = kernels.figures(rows)
    assert found["linear_product_95_over_dense"] == pytest.approx(rows[1]["over_dense"], abs=1e-4)
    assert found["least_over_dense"] == pytest.approx(min(row["over_dense"] for row in rows), abs=1e-4)
    assert all(len(line) == len(kernels.COLUMNS) for line in kernels.body(rows))


def test_the_roofline_is_the_slower_of_arithmetic_and_memory():
    roof = Roof(flops=100.0, bandwidth=10.0)
    assert roof.seconds(flops=1000, moved=10) == 10
    assert roof.seconds(flops=1000, moved=1000) == 100


def test_layout_follows_the_operators_output():
    x = torch.arange(24.0).view(2, 3, 4)
    other = torch.empty(5, 6, 7).permute(2, 0, 1)
    laid = kernels.like(x, other)
    assert torch.equal(laid, x)
    assert laid.dim_order() == other.dim_order()
