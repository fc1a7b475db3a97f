"""The products of :mod:`szilard.sparse.ops` by the C++ kernels: float32 on the CPU.

Inputs and outputs are feature-major (``[features, batch]``) or batch-innermost (``[C, H, W, batch]``). If a weight is
nearly dense, a dense product is faster and is used, with noise from the same generator.
"""

from __future__ import annotations

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.kernels import native
from szilard.kernels.arguments import expect
from szilard.kernels.geometry import Convolution
from szilard.kernels.layout import innermost, innermost_like, is_innermost
from szilard.sparse import portable
from szilard.sparse.support import Index

DENSE_FROM = 0.5  # density above which a dense product is faster (benchmarks/kernels.py)


def normal(key: Tensor, shape: list[int], like: Tensor) -> Tensor:
    out = like.new_empty(shape)
    native.check(
        native.library().szilard_normal(_key(key), out.numel(), out.data_ptr(), out.numel(), _threads()),
        "normal",
    )
    return out


def linear(x: Tensor, values: Tensor, index: Index) -> Tensor:
    if _is_dense(x, values, index):
        return portable.linear(x, values, index)
    rows, batch = _rows(index), x.shape[0]
    expect(index.col.shape, values=values)
    x, values = _major(x), values.contiguous()
    y = x.new_empty(rows, batch)
    status = native.library().szilard_linear(
        _index(index, x.shape[0]), batch, x.data_ptr(), values.data_ptr(), y.data_ptr(), y.numel(), _threads()
    )
    native.check(status, "sparse_linear")
    return y.t()


def linear_backward(
    grad: Tensor, x: Tensor, values: Tensor, index: Index, wants_x: bool
) -> tuple[Tensor, Tensor]:
    if _is_dense(x, values, index):
        return portable.linear_backward(grad, x, values, index, wants_x)
    expect(index.col.shape, values=values)
    expect((x.shape[0], _rows(index)), grad=grad)
    x, grad, values = _major(x), _major(grad), values.contiguous()
    grad_x = torch.empty_like(x) if wants_x else x.new_empty(0, 0)
    grad_values = torch.empty_like(values)
    status = native.library().szilard_linear_backward(
        _index(index, x.shape[0]), x.shape[1], grad.data_ptr(), x.data_ptr(), values.data_ptr(),
        grad_x.data_ptr() if wants_x else None, grad_x.numel(), grad_values.data_ptr(), grad_values.numel(), _threads(),
    )  # fmt: skip
    native.check(status, "sparse_linear_backward")
    return grad_x.t(), grad_values


def lrt_linear(
    x: Tensor, mean: Tensor, log_std: Tensor, bias: Tensor | None, key: Tensor, index: Index, relu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    if _is_dense(x, mean, index):
        noise = normal(key, [_rows(index), x.shape[0]], x).t()
        y, factor, variance = portable.lrt_linear_with(x, mean, log_std, noise, index)
        return portable.add_bias(y, bias, relu), factor, variance
    rows, batch = _rows(index), x.shape[0]
    expect(index.col.shape, mean=mean, log_std=log_std)
    x, mean, log_std = _major(x), mean.contiguous(), log_std.contiguous()
    y, factor, variance = x.new_empty(rows, batch), x.new_empty(rows, batch), torch.empty_like(mean)
    status = native.library().szilard_lrt_linear(
        _index(index, x.shape[0]), batch, x.data_ptr(), mean.data_ptr(), log_std.data_ptr(), _bias(bias, rows),
        _key(key), relu, y.data_ptr(), y.numel(), factor.data_ptr(), factor.numel(), variance.data_ptr(),
        variance.numel(), _threads(),
    )  # fmt: skip
    native.check(status, "lrt_linear")
    return y.t(), factor.t(), variance


def lrt_linear_backward(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    factor: Tensor,
    y: Tensor,
    index: Index,
    relu: bool,
    wants_x: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if _is_dense(x, mean, index):
        grad = portable.past_relu(grad, y) if relu else grad
        grads = portable.lrt_linear_backward(grad, x, mean, variance, factor, index, wants_x)
        return *grads, grad.sum(0)
    expect(index.col.shape, mean=mean, variance=variance)
    expect((x.shape[0], _rows(index)), grad=grad, factor=factor, y=y)
    x, grad, factor, mean, y = _major(x), _major(grad), _major(factor), mean.contiguous(), _major(y)
    grad_x = torch.empty_like(x) if wants_x else x.new_empty(0, 0)
    grad_mean, grad_log_std, grad_bias = (
        torch.empty_like(mean),
        torch.empty_like(mean),
        x.new_empty(_rows(index)),
    )
    status = native.library().szilard_lrt_linear_backward(
        _index(index, x.shape[0]), x.shape[1], grad.data_ptr(), x.data_ptr(), mean.data_ptr(),
        variance.data_ptr(), factor.data_ptr(), y.data_ptr(), relu, grad_x.data_ptr() if wants_x else None,
        grad_x.numel(), grad_mean.data_ptr(), grad_mean.numel(), grad_log_std.data_ptr(), grad_log_std.numel(),
        grad_bias.data_ptr(), grad_bias.numel(), _threads(),
    )  # fmt: skip
    native.check(status, "lrt_linear_backward")
    return grad_x.t(), grad_mean, grad_log_std, grad_bias


def is_direct(x: Tensor, nnz: int, how: Convolution) -> bool:
    """Whether a convolution of ``x`` runs entry by entry, and so returns batch-innermost outputs."""
    return how.density(nnz) < DENSE_FROM or (x.shape[0] > 1 and is_innermost(x))


def conv(x: Tensor, values: Tensor, index: Index, how: Convolution) -> Tensor:
    if not is_direct(x, values.numel(), how):
        return portable.conv(x, values, index, how)
    how.check(x)
    expect(index.col.shape, values=values)
    x, values = innermost(x), values.contiguous()
    y = innermost_like(x, *how.out_shape(x))
    status = native.library().szilard_conv(
        _index(index, _cols(how)), _geometry(x, how), x.data_ptr(), values.data_ptr(), y.data_ptr(), y.numel(),
        _threads(),
    )  # fmt: skip
    native.check(status, "sparse_conv")
    return y


def conv_backward(
    grad: Tensor, x: Tensor, values: Tensor, index: Index, how: Convolution, wants_x: bool
) -> tuple[Tensor, Tensor]:
    if not is_direct(x, values.numel(), how):
        return portable.conv_backward(grad, x, values, index, how, wants_x)
    how.check(x)
    expect(index.col.shape, values=values)
    expect(how.out_shape(x), grad=grad)
    x, grad, values = innermost(x), innermost(grad), values.contiguous()
    grad_x = innermost_like(x, *x.shape) if wants_x else x.new_empty(0)
    grad_values = torch.empty_like(values)
    status = native.library().szilard_conv_backward(
        _index(index, _cols(how)), _geometry(x, how), grad.data_ptr(), x.data_ptr(), values.data_ptr(),
        grad_x.data_ptr() if wants_x else None, grad_x.numel(), grad_values.data_ptr(), grad_values.numel(), _threads(),
    )  # fmt: skip
    native.check(status, "sparse_conv_backward")
    return grad_x, grad_values


def lrt_conv(
    x: Tensor, mean: Tensor, log_std: Tensor, key: Tensor, index: Index, how: Convolution
) -> tuple[Tensor, Tensor, Tensor]:
    if not is_direct(x, mean.numel(), how):
        return portable.lrt_conv_with(x, mean, log_std, normal(key, how.out_shape(x), x), index, how)
    how.check(x)
    expect(index.col.shape, mean=mean, log_std=log_std)
    x, mean, log_std = innermost(x), mean.contiguous(), log_std.contiguous()
    y = innermost_like(x, *how.out_shape(x))
    factor, variance = torch.empty_like(y), torch.empty_like(mean)
    status = native.library().szilard_lrt_conv(
        _index(index, _cols(how)), _geometry(x, how), x.data_ptr(), mean.data_ptr(), log_std.data_ptr(),
        _key(key), y.data_ptr(), y.numel(), factor.data_ptr(), factor.numel(), variance.data_ptr(), variance.numel(),
        _threads(),
    )  # fmt: skip
    native.check(status, "lrt_conv")
    return y, factor, variance


def lrt_conv_backward(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    factor: Tensor,
    index: Index,
    how: Convolution,
    wants_x: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    if not is_direct(x, mean.numel(), how):
        return portable.lrt_conv_backward(grad, x, mean, variance, factor, index, how, wants_x)
    how.check(x)
    expect(index.col.shape, mean=mean, variance=variance)
    expect(how.out_shape(x), grad=grad, factor=factor)
    x, grad, factor, mean = innermost(x), innermost(grad), innermost(factor), mean.contiguous()
    grad_x = innermost_like(x, *x.shape) if wants_x else x.new_empty(0)
    grad_mean, grad_log_std = torch.empty_like(mean), torch.empty_like(mean)
    status = native.library().szilard_lrt_conv_backward(
        _index(index, _cols(how)), _geometry(x, how), grad.data_ptr(), x.data_ptr(), mean.data_ptr(),
        variance.data_ptr(), factor.data_ptr(), grad_x.data_ptr() if wants_x else None, grad_x.numel(),
        grad_mean.data_ptr(), grad_mean.numel(), grad_log_std.data_ptr(), grad_log_std.numel(), _threads(),
    )  # fmt: skip
    native.check(status, "lrt_conv_backward")
    return grad_x, grad_mean, grad_log_std


def _threads() -> int:
    return torch.get_num_threads()


def _rows(index: Index) -> int:
    return index.crow.numel() - 1


def _cols(how: Convolution) -> int:
    cols = 1
    for size in how.shape[1:]:
        cols *= size
    return cols


def _is_dense(x: Tensor, values: Tensor, index: Index) -> bool:
    return values.numel() >= DENSE_FROM * _rows(index) * x.shape[1]


def _major(x: Tensor) -> Tensor:
    """``x [B, F]`` feature-major, ``[F, B]``."""
    return x.t().contiguous()


def _bias(bias: Tensor | None, rows: int) -> int | None:
    if bias is None:
        return None
    if bias.shape != (rows,) or bias.dtype != torch.float32 or not bias.is_contiguous():
        raise SzilardError(f"a bias must be {rows} float32 numbers, not {tuple(bias.shape)} {bias.dtype}")
    return bias.data_ptr()


def _key(key: Tensor) -> native.Key:
    return native.Key(*key.tolist())


def _index(index: Index, cols: int) -> native.Index:
    # The C side checks indices against these numbers, so each array must really have these lengths.
    sizes = (_rows(index) + 1, index.col.numel(), cols + 1, index.col.numel(), index.col.numel())
    for array, size in zip(index, sizes, strict=True):
        _check_array(array, size)
    return native.Index(_rows(index), cols, index.col.numel(), *[array.data_ptr() for array in index])


def _geometry(x: Tensor, how: Convolution) -> native.Geometry:
    size, out = list(x.shape[2:]), how.out_size(x.shape[2:])
    axes = zip(how.shape[2:], how.stride, how.padding, how.dilation, strict=True)
    per_axis = [list(axis) for axis in axes]
    if len(size) == 1:  # a 1-d convolution is a 2-d one of height 1
        size, out, per_axis = [1, *size], [1, *out], [[1, 1, 0, 1], *per_axis]
    (kh, sh, ph, dh), (kw, sw, pw, dw) = per_axis
    return native.Geometry(
        x.shape[0], x.shape[1], *size, how.shape[0], *out, kh, kw, sh, sw, ph, pw, dh, dw, how.groups
    )


def _check_array(array: Tensor, size: int) -> None:
    """Raise :class:`SzilardError` unless an array of an index is int32, on the CPU, contiguous and ``size`` long."""
    if array.dtype != torch.int32 or array.numel() != size or not (array.is_cpu and array.is_contiguous()):
        raise SzilardError(
            f"an index array must be {size} contiguous int32 on the CPU, not {array.numel()} {array.dtype} on "
            f"{array.device}; use the index of a szilard.sparse.Support"
        )
