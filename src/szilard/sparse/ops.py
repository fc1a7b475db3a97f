"""Products with a sparse weight, as custom operators over plain tensors.

An operator takes the values of the existing entries and the five arrays of their
:class:`~szilard.sparse.support.Index`; its arguments contain no tensor of sparse layout, so ``torch.compile``,
``torch.export`` and autograd see ordinary tensors. This file declares the operators, their shapes, their gradients and
their cost. The implementations are in :mod:`szilard.sparse.portable` (torch), :mod:`szilard.sparse.compiled` (C++) and
:mod:`szilard.sparse.triton_kernels`; :mod:`szilard.kernels.dispatch` chooses one for the tensor.

Local reparametrisation (Kingma, Salimans and Welling 2015): with weights N(μ, σ²) independent, the output of a linear
map of x is Gaussian, so outputs are drawn instead of weights:

    y = x μᵀ + s ∘ ε,   s² = (x∘x)(σ∘σ)ᵀ + tiny,   ε ~ N(0, 1) for each output.

With g = ∂L/∂y and h = g∘ε / (2 s), summed over the batch and over existing entries only,

    ∂L/∂μ_ij = Σ_b g_bi x_bj,   ∂L/∂log σ_ij = 2 σ_ij² Σ_b h_bi x_bj²,
    ∂L/∂x_bj = Σ_i g_bi μ_ij + 2 x_bj Σ_i h_bi σ_ij².

The backward pass needs the noise only through the factor ε / (2 s), one tensor of the output's size, like s alone. The
factor is kept, and the noise is neither stored nor drawn again. A convolution draws independent noise for each output
position, which ignores that positions share weights.

The noise is a function of a ``key``, an int64 tensor ``[2]`` on the CPU: (seed, number of the draw).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from szilard.kernels.dispatch import implementation
from szilard.kernels.geometry import Convolution
from szilard.kernels.layout import innermost_like
from szilard.kernels.operator import define
from szilard.kernels.transforms import differentiable_once, second
from szilard.sparse import compiled, differentiable, portable
from szilard.sparse.support import Index

TINY = portable.TINY

_INDEX = "Tensor crow, Tensor col, Tensor t_crow, Tensor t_col, Tensor t_perm"
_HOW = "int[] shape, int[] stride, int[] padding, int[] dilation, int groups"


def _implementation(x: Tensor) -> ModuleType:
    name = implementation(x)
    if name == "triton":
        from szilard.sparse import triton_kernels

        return triton_kernels
    return compiled if name == "cpp" else portable


def _not_a_view(y: Tensor) -> Tensor:
    """The same memory, not as a view: autograd forbids writing into a view that a Function returns."""
    return y.new_empty(0).set_(y) if y._is_view() else y  # type: ignore[call-overload]


# -- implementations ------------------------------------------------------------------------------------


def _linear(x: Tensor, values: Tensor, *index: Tensor) -> Tensor:
    return _not_a_view(_implementation(x).linear(x, values, Index(*index)))


def _linear_backward(grad: Tensor, x: Tensor, values: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return _implementation(x).linear_backward(grad, x, values, Index(*rest[:5]), rest[5])


def _lrt_linear(
    x: Tensor, mean: Tensor, log_std: Tensor, bias: Tensor | None, key: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    products, index, relu = _implementation(x), Index(*rest[:5]), rest[5]
    if products is compiled:
        y, factor, variance = compiled.lrt_linear(x, mean, log_std, bias, key, index, relu)
        return _not_a_view(y), factor, variance
    y, factor, variance = products.lrt_linear(x, mean, log_std, key, index)
    return _not_a_view(portable.add_bias(y, bias, relu)), factor, variance


def _lrt_linear_backward(
    grad: Tensor, x: Tensor, mean: Tensor, variance: Tensor, factor: Tensor, y: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    products, index, relu, wants_x = _implementation(x), Index(*rest[:5]), rest[5], rest[6]
    if products is compiled:
        return compiled.lrt_linear_backward(grad, x, mean, variance, factor, y, index, relu, wants_x)
    grad = portable.past_relu(grad, y) if relu else grad
    return *products.lrt_linear_backward(grad, x, mean, variance, factor, index, wants_x), grad.sum(0)


def _conv(x: Tensor, values: Tensor, *rest: Any) -> Tensor:
    return _implementation(x).conv(x, values, Index(*rest[:5]), Convolution(*rest[5:]))


def _conv_backward(grad: Tensor, x: Tensor, values: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    how = Convolution(*rest[5:10])
    return _implementation(x).conv_backward(grad, x, values, Index(*rest[:5]), how, rest[10])


def _lrt_conv(
    x: Tensor, mean: Tensor, log_std: Tensor, key: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return _implementation(x).lrt_conv(x, mean, log_std, key, Index(*rest[:5]), Convolution(*rest[5:]))


def _lrt_conv_backward(
    grad: Tensor, x: Tensor, mean: Tensor, variance: Tensor, factor: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    how = Convolution(*rest[5:10])
    return _implementation(x).lrt_conv_backward(
        grad, x, mean, variance, factor, Index(*rest[:5]), how, rest[10]
    )


def _normal(key: Tensor, like: Tensor) -> Tensor:
    made = compiled if implementation(like) == "cpp" else portable
    return made.normal(key, list(like.shape), like)


# -- shapes and strides, for torch.compile and torch.export ---------------------------------------------


def _major_like(x: Tensor, features: int | torch.SymInt) -> Tensor:
    return x.new_empty(features, x.shape[0]).t()  # feature-major, as every implementation returns it


def _conv_like(x: Tensor, nnz: int, how: Convolution) -> Tensor:
    if implementation(x) == "cpp" and compiled.is_direct(x, nnz, how):
        return innermost_like(x, *how.out_shape(x))
    return x.new_empty(how.out_shape(x))


def _conv_grad_like(x: Tensor, nnz: int, how: Convolution, wants_x: bool) -> Tensor:
    if not wants_x:
        return x.new_empty(0)
    if implementation(x) == "cpp" and compiled.is_direct(x, nnz, how):
        return innermost_like(x, *x.shape)
    return torch.empty_like(x)


def _linear_fake(x: Tensor, values: Tensor, crow: Tensor, *rest: Any) -> Tensor:
    return _major_like(x, crow.numel() - 1)


def _lrt_linear_fake(
    x: Tensor, mean: Tensor, log_std: Tensor, bias: Tensor | None, key: Tensor, crow: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    rows = crow.numel() - 1
    return _major_like(x, rows), _major_like(x, rows), torch.empty_like(mean)


def _linear_backward_fake(grad: Tensor, x: Tensor, values: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return _major_like(x, x.shape[1]) if rest[-1] else x.new_empty(0, 0), torch.empty_like(values)


def _lrt_linear_backward_fake(
    grad: Tensor, x: Tensor, mean: Tensor, variance: Tensor, factor: Tensor, y: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    grads = _linear_backward_fake(grad, x, mean, *rest)
    return *grads, torch.empty_like(mean), x.new_empty(rest[0].numel() - 1)


def _conv_fake(x: Tensor, values: Tensor, *rest: Any) -> Tensor:
    return _conv_like(x, values.numel(), Convolution(*rest[5:]))


def _lrt_conv_fake(
    x: Tensor, mean: Tensor, log_std: Tensor, key: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    y = _conv_like(x, mean.numel(), Convolution(*rest[5:]))
    return y, torch.empty_like(y), torch.empty_like(mean)


def _conv_backward_fake(grad: Tensor, x: Tensor, values: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    how = Convolution(*rest[5:10])
    return _conv_grad_like(x, values.numel(), how, rest[10]), torch.empty_like(values)


def _lrt_conv_backward_fake(
    grad: Tensor, x: Tensor, mean: Tensor, variance: Tensor, factor: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return *_conv_backward_fake(grad, x, mean, *rest), torch.empty_like(mean)


def _normal_fake(key: Tensor, like: Tensor) -> Tensor:
    return like.new_empty(like.shape)


# -- gradients ------------------------------------------------------------------------------------------


def _is_differentiated() -> bool:
    """Whether the backward pass itself will be differentiated (``create_graph=True``)."""
    return torch.is_grad_enabled() and not torch.compiler.is_compiling()


def _second_of_product(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, values, *index = ctx.saved_tensors
    product, shape = _product_of(x, index, ctx.how)

    def forward(x: Tensor, values: Tensor) -> Tensor:
        return product(x, differentiable.dense(values, Index(*index), shape))

    return second(forward, (x, values), grad, ctx.needs_input_grad[:2])


def _product_of(x: Tensor, index: Any, how: Any) -> tuple[differentiable.Product, list[int]]:
    if how:
        geometry = Convolution(*how)
        return differentiable.convolution(geometry), list(geometry.shape)
    return differentiable.linear, [index[0].numel() - 1, x.shape[-1]]


def _deterministic(product: Callable[..., Tensor]) -> type[torch.autograd.Function]:
    """The Function of a product with given values, with arguments (x, values, *index, *how)."""

    class Deterministic(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> Tensor:
            ctx.save_for_backward(*arguments[:7])
            ctx.how = arguments[7:]
            return product(*arguments)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
            if _is_differentiated():
                return *_second_of_product(ctx, grad), *[None] * (5 + len(ctx.how))
            backward = sparse_conv_backward if ctx.how else sparse_linear_backward
            wants_x = ctx.needs_input_grad[0]
            grad_x, grad_values = backward(grad, *ctx.saved_tensors, *ctx.how, wants_x)
            return grad_x if wants_x else None, grad_values, *[None] * (5 + len(ctx.how))

    return Deterministic


def _local_linear(draw: Callable[..., tuple[Tensor, Tensor, Tensor]]) -> type[torch.autograd.Function]:
    """The Function of local reparametrisation, with arguments (x, mean, log_std, bias, key, *index, relu)."""

    class Local(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
            x, mean, _, bias, _, *index, ctx.relu = arguments
            y, factor, variance = draw(*arguments)
            ctx.bias = bias is not None
            # The backward pass reads y only after a ReLU; otherwise y is not saved, so in-place writes are allowed.
            ctx.save_for_backward(x, mean, variance, factor, y if ctx.relu else factor, *index)
            ctx.mark_non_differentiable(factor, variance)
            ctx.set_materialize_grads(False)
            return y, factor, variance

        @staticmethod
        @differentiable_once(differentiable.LOCAL)
        def backward(ctx: Any, grad: Tensor | None, *unused: None) -> tuple[Tensor | None, ...]:
            if grad is None:  # y was not used
                return (None,) * 11
            wants_x = ctx.needs_input_grad[0]
            grad_x, grad_mean, grad_log_std, grad_bias = lrt_linear_backward(
                grad, *ctx.saved_tensors, ctx.relu, wants_x
            )
            first = grad_x if wants_x else None
            return first, grad_mean, grad_log_std, grad_bias if ctx.bias else None, *[None] * 7

    return Local


def _local_conv(draw: Callable[..., tuple[Tensor, Tensor, Tensor]]) -> type[torch.autograd.Function]:
    """The same for a convolution, with arguments (x, mean, log_std, key, *index, *how)."""

    class Local(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
            x, mean, _, _, *index = arguments[:9]
            ctx.how = arguments[9:]
            y, factor, variance = draw(*arguments)
            ctx.save_for_backward(x, mean, variance, factor, *index)
            ctx.mark_non_differentiable(factor, variance)
            ctx.set_materialize_grads(False)
            return y, factor, variance

        @staticmethod
        @differentiable_once(differentiable.LOCAL)
        def backward(ctx: Any, grad: Tensor | None, *unused: None) -> tuple[Tensor | None, ...]:
            if grad is None:
                return (None,) * 14
            wants_x = ctx.needs_input_grad[0]
            grads = lrt_conv_backward(grad, *ctx.saved_tensors, *ctx.how, wants_x)
            return grads[0] if wants_x else None, *grads[1:], *[None] * 11

    return Local


# -- the operators --------------------------------------------------------------------------------------

#: ``x [B, I]`` times the transpose of a sparse ``[O, I]`` weight: ``[B, O]``.
sparse_linear = define(
    f"sparse_linear(Tensor x, Tensor values, {_INDEX}) -> Tensor", _linear, _linear_fake, _deterministic
)

#: Gradients of :data:`sparse_linear` for x (empty if not needed) and for the values.
sparse_linear_backward = define(
    f"sparse_linear_backward(Tensor grad, Tensor x, Tensor values, {_INDEX}, bool wants_x) -> (Tensor, Tensor)",
    _linear_backward,
    _linear_backward_fake,
)

#: Outputs drawn by local reparametrisation, with bias and optional ReLU; ε / (2 s), both ``[B, O]``; and σ² ``[nnz]``.
lrt_linear = define(
    "lrt_linear(Tensor x, Tensor mean, Tensor log_std, Tensor? bias, Tensor key, "
    f"{_INDEX}, bool relu) -> (Tensor, Tensor, Tensor)",
    _lrt_linear,
    _lrt_linear_fake,
    _local_linear,
)

#: Gradients of :data:`lrt_linear` for x (empty if not needed), mean, log_std and bias.
lrt_linear_backward = define(
    "lrt_linear_backward(Tensor grad, Tensor x, Tensor mean, Tensor variance, Tensor factor, Tensor y, "
    f"{_INDEX}, bool relu, bool wants_x) -> (Tensor, Tensor, Tensor, Tensor)",
    _lrt_linear_backward,
    _lrt_linear_backward_fake,
)

#: Convolution (1-d or 2-d, by ``shape``) of ``x [B, C, *size]`` with a sparse ``[O, C/groups, *kernel]``.
sparse_conv = define(
    f"sparse_conv(Tensor x, Tensor values, {_INDEX}, {_HOW}) -> Tensor", _conv, _conv_fake, _deterministic
)

#: Gradients of :data:`sparse_conv` for x (empty if not needed) and for the values.
sparse_conv_backward = define(
    f"sparse_conv_backward(Tensor grad, Tensor x, Tensor values, {_INDEX}, {_HOW}, bool wants_x)"
    " -> (Tensor, Tensor)",
    _conv_backward,
    _conv_backward_fake,
)

#: Outputs drawn by local reparametrisation at each position, ε / (2 s) of the same shape, and σ² ``[nnz]``.
lrt_conv = define(
    f"lrt_conv(Tensor x, Tensor mean, Tensor log_std, Tensor key, {_INDEX}, {_HOW}) -> (Tensor, Tensor, Tensor)",
    _lrt_conv,
    _lrt_conv_fake,
    _local_conv,
)

#: Gradients of :data:`lrt_conv` for x (empty if not needed), mean and log_std.
lrt_conv_backward = define(
    "lrt_conv_backward(Tensor grad, Tensor x, Tensor mean, Tensor variance, Tensor factor, "
    f"{_INDEX}, {_HOW}, bool wants_x) -> (Tensor, Tensor, Tensor)",
    _lrt_conv_backward,
    _lrt_conv_backward_fake,
)

#: Standard normal numbers of the shape, dtype and device of ``like``, a function of the key.
normal = define("normal(Tensor key, Tensor like) -> Tensor", _normal, _normal_fake)


# -- cost: multiply and add counted as two, existing entries only ---------------------------------------


@register_flop_formula(torch.ops.szilard.sparse_linear)
def _(x: torch.Size, values: torch.Size, *rest: Any, **kwargs: Any) -> int:
    return 2 * x[0] * values[0]


@register_flop_formula(torch.ops.szilard.lrt_linear)
def _(x: torch.Size, values: torch.Size, *rest: Any, **kwargs: Any) -> int:
    return 4 * x[0] * values[0]


@register_flop_formula(torch.ops.szilard.sparse_conv)
def _(x: torch.Size, values: torch.Size, *rest: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return 2 * out_shape[0] * math.prod(out_shape[2:]) * values[0]


@register_flop_formula(torch.ops.szilard.lrt_conv)
def _(x: torch.Size, values: torch.Size, *rest: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return 4 * out_shape[0][0] * math.prod(out_shape[0][2:]) * values[0]
