"""Operators of solvers for sparse codes: one step's threshold, and a product with codes of few entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from szilard.kernels import dispatch
from szilard.kernels.operator import define, unobserved
from szilard.sparse import compiled_codes, portable

# Below this share of entries that are not zero, and from this many multiply-adds of the dense product on, an event
# product is faster. Measured on one core with AVX-512 for 256 codes (benchmarks/sparse_codes.py): times are equal at
# shares of 0.45 for [n, m] = [500, 250] and [512, 64], and of 0.27 for [4096, 1024], which no cache of one core holds.
# The kernels for AVX2 are even with the same dense product from 0.2 on.
EVENT_BELOW = 0.2
EVENT_FROM = 1 << 17


def shrink(
    x: Tensor,
    gradient: Tensor,
    scale: Tensor,
    previous: Tensor | None,
    momentum: Tensor | None,
    threshold: Tensor,
    passing: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """One element-wise step of a solver for sparse codes, for a batch of samples.

    With v = x - scale · gradient + momentum · (x - previous), entries whose magnitude is at least the threshold and
    among the ``passing`` largest magnitudes of their sample are kept as they are (ties: the lowest index first); all
    others are soft-thresholded, sign(v) max(|v| - threshold, 0). Chen et al. 2018 (support selection), Chen et al.
    2021 (momentum).

    A NaN in v stays NaN: it is counted as an entry that is not zero, and the norm of its sample is NaN. It ranks above
    all numbers, and takes one of the places that can pass. A NaN threshold makes all entries of its sample NaN.

    Args:
        x: codes ``[B, n]``.
        gradient: ``[B, n]``.
        scale: step size of each sample ``[B]``.
        previous: the codes before ``x``, ``[B, n]``; with ``momentum`` or not at all.
        momentum: ``[B]``.
        threshold: ``[B]``, at least 0.
        passing: how many entries may pass, int64 ``[B]``, any values (below 0 counts as 0, above n as n); None is 0.

    Returns:
        The new codes ``[B, n]``, how many entries of each sample are not zero ``[B]`` and their ℓ₁ norm ``[B]``, all in
        x's dtype. Differentiable in all but ``passing``; which entries pass is a constant, and counts have no gradient.
    """
    if previous is None or momentum is None:
        previous = momentum = None
    given = (x, gradient, scale, previous, momentum, threshold, passing)
    if unobserved(x) and not _need_gradient(*given):
        return _shrink(*given, wants_passed=False)[:3]
    result, counts, norms, _ = _shrink_operator(*given)
    return result, counts, norms


def event_product(x: Tensor, rows: Tensor) -> Tensor:
    """``x @ rows`` for codes of which few entries are not zero: only the rows of those are read.

    A NaN or infinity in a row that is not read has no effect, while ``0 · NaN`` would be NaN in a dense product.

    Args:
        x: codes ``[B, n]``.
        rows: ``[n, m]``, contiguous.

    Returns:
        ``[B, m]``.
    """
    if unobserved(x) and not _need_gradient(x, rows):
        return _event_product(x, rows)
    product: Tensor = _event_operator(x, rows)
    return product


def product(x: Tensor, rows: Tensor, active: float) -> Tensor:
    """``x @ rows`` by the faster of :func:`event_product` and a dense product.

    Args:
        x: codes ``[B, n]``.
        rows: ``[n, m]``, contiguous.
        active: about which share of the entries of ``x`` is not zero.

    Returns:
        ``[B, m]``. It is a dense product if ``active`` is at least :data:`EVENT_BELOW`, if the product is small, if a
        gradient is needed, or if the C++ kernels do not take ``x``.
    """
    worthwhile = active < EVENT_BELOW and x.numel() * rows.shape[1] >= EVENT_FROM
    if worthwhile and not _need_gradient(x, rows) and dispatch.implementation(x) == "cpp":
        return event_product(x, rows)
    return x @ rows


def weighted_norm(gradient: Tensor, weights: Tensor) -> Tensor:
    """Σ_j w_j |g_bj| of each sample: ``[B, n]``, ``[n]`` -> ``[B]``."""
    return gradient.abs() @ weights


# -- implementations, and their shapes for torch.compile and torch.export -------------------------------


def _shrink(*given: Any, wants_passed: bool = True) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if dispatch.implementation(given[0]) == "cpp":
        return compiled_codes.shrink(*given, wants_passed=wants_passed)
    result, counts, norms, passed = portable.shrink(*given, wants_passed=wants_passed)
    return result.contiguous(), counts, norms, passed.contiguous()


def _shrink_fake(x: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    passed = x.new_empty((0,) if rest[-1] is None else x.shape, dtype=torch.bool)
    return x.new_empty(x.shape), x.new_empty(x.shape[0]), x.new_empty(x.shape[0]), passed


def _event_product(x: Tensor, rows: Tensor) -> Tensor:
    compiled = dispatch.implementation(x) == "cpp"
    return compiled_codes.event_product(x, rows) if compiled else portable.event_product(x, rows)


def _event_product_fake(x: Tensor, rows: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], rows.shape[1])


# -- gradients ------------------------------------------------------------------------------------------


def _need_gradient(*tensors: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def _shrink_gradient(
    run: Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]],
) -> type[torch.autograd.Function]:
    """The Function with arguments (x, gradient, scale, previous, momentum, threshold, passing).

    Its slope in v is 1 where an entry passed or is not zero. The backward pass is written in torch, so it can be
    differentiated again.
    """

    class Shrink(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            x, gradient, scale, previous, momentum, *_ = arguments
            result, counts, norms, passed = run(*arguments)
            ctx.save_for_backward(x, gradient, scale, previous, momentum, result, passed)
            ctx.mark_non_differentiable(counts, passed)
            ctx.set_materialize_grads(False)
            return result, counts, norms, passed

        @staticmethod
        def backward(
            ctx: Any, grad: Tensor | None, _: None, grad_norms: Tensor | None, __: None
        ) -> tuple[Tensor | None, ...]:
            x, gradient, scale, previous, momentum, result, passed = ctx.saved_tensors
            wants, sign, active = ctx.needs_input_grad, result.detach().sign(), result.detach() != 0
            if grad_norms is not None:
                along = grad_norms[:, None] * sign
                grad = along if grad is None else grad + along
            if grad is None:  # neither was used
                return (None,) * 7
            if passed.numel():
                active = active | passed
            grad_v = torch.where(active, grad, 0)
            through = grad_v if momentum is None else grad_v * (1 + momentum[:, None])
            soft = grad_v.masked_fill(passed, 0) if passed.numel() and wants[5] else grad_v
            return (
                through if wants[0] else None,
                -scale[:, None] * grad_v if wants[1] else None,
                -torch.linalg.vecdot(grad_v, gradient) if wants[2] else None,
                -momentum[:, None] * grad_v if wants[3] else None,
                torch.linalg.vecdot(grad_v, x - previous) if wants[4] else None,
                -torch.linalg.vecdot(soft, sign) if wants[5] else None,
                None,
            )

    return Shrink


def _event_gradient(run: Callable[..., Tensor]) -> type[torch.autograd.Function]:
    class Event(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, rows: Tensor) -> Tensor:
            ctx.save_for_backward(x, rows)
            return run(x, rows)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
            x, rows = ctx.saved_tensors
            wants = ctx.needs_input_grad
            return grad @ rows.t() if wants[0] else None, x.t() @ grad if wants[1] else None

    return Event


# -- the operators --------------------------------------------------------------------------------------

_shrink_operator = define(
    "shrink(Tensor x, Tensor gradient, Tensor scale, Tensor? previous, Tensor? momentum, Tensor threshold, "
    "Tensor? passing) -> (Tensor, Tensor, Tensor, Tensor)",
    _shrink,
    _shrink_fake,
    _shrink_gradient,
)
_event_operator = define(
    "event_product(Tensor x, Tensor rows) -> Tensor", _event_product, _event_product_fake, _event_gradient
)


@register_flop_formula(torch.ops.szilard.event_product)
def _(x: torch.Size, rows: torch.Size, *rest: Any, **kwargs: Any) -> int:
    return 2 * x[0] * x[1] * rows[1]  # sizes do not tell how many entries are zero
