"""Rules for attention, an approximation.

With scores s = q kᵀ / √d, weights p = softmax(s) and outputs o = p v, the mean of o is computed at the mean scores. The
variance is that of the values, Σ p² Var(v), plus the scores' by first order: ∂o/∂s_j = p_j (v_j - o), with scores that
are independent of each other. Second-order terms of the softmax and the correlation of scores that share a query or a
key are left out.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from szilard.bayes.moments.linear import bilinear, linear
from szilard.bayes.moments.rules import rule
from szilard.bayes.moments.value import GaussianTensor, both, joined, split
from szilard.errors import SzilardError


@rule("scaled_dot_product_attention")
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    if dropout_p:
        raise SzilardError("attention with dropout has no rule; put the network in eval mode")
    if enable_gqa:
        raise SzilardError("attention with enable_gqa has no rule; repeat keys and values instead")
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores, spread = split(bilinear(lambda q, k: q @ k.transpose(-2, -1) * scale, query, key))
    if spread is not None:  # the product of variances was scaled once and must be scaled twice
        spread = spread * scale
    if is_causal:
        rows, columns = scores.shape[-2:]
        attn_mask = torch.ones(rows, columns, dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None:
        allowed = attn_mask
        scores = scores.masked_fill(~allowed, -math.inf) if allowed.dtype == torch.bool else scores + allowed
    return softmax_product(scores, spread, value)


def softmax_product(scores: Tensor, spread: Tensor | None, value: Tensor) -> Tensor:
    """softmax(scores) @ value; ``spread`` is the variance of the scores."""
    weights = scores.softmax(-1)
    mean, variance = both(value)
    answer = weights @ mean
    total = weights.square() @ variance
    if spread is not None:
        # Σ_j a_j (v_j - o)² with a_j = p_j² Var(s_j); the values are centred first so that nothing large cancels.
        centre = mean.mean(-2, keepdim=True)
        values, outputs = mean - centre, answer - centre
        a = weights.square() * spread
        moved = a @ values.square() - 2 * outputs * (a @ values) + outputs.square() * a.sum(-1, keepdim=True)
        total = total + moved.clamp_min(0)
    return GaussianTensor(answer, total)


@rule("softmax", "log_softmax", "softmin", "gumbel_softmax", "logsumexp")
def softmax(input: Tensor, *_: Any, **__: Any) -> Tensor:
    """Refused: each output depends on all entries, and products with them would count them as independent."""
    raise SzilardError(
        "softmax and log_softmax have no rule for Gaussians, whose probabilities are far from independent: let the "
        "network return logits, draw from their Gaussian and take the softmax of the draws; in attention, use "
        "F.scaled_dot_product_attention"
    )


@rule("multi_head_attention_forward")
def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """As :func:`torch.nn.functional.multi_head_attention_forward`, ``[L, B, E]``; weights are those of the means."""
    others: tuple[Any, ...] = (bias_k, bias_v, static_k, static_v)
    if add_zero_attn or any(other is not None for other in others) or (training and dropout_p):
        raise SzilardError(
            "attention with added keys, given projections or dropout has no rule for Gaussians"
        )
    separate = (q_proj_weight, k_proj_weight, v_proj_weight)
    weights = separate if use_separate_proj_weight else _thirds(in_proj_weight)
    biases = (None, None, None) if in_proj_bias is None else _thirds(in_proj_bias)
    unbatched = query.dim() == 2
    projected = []
    for x, weight, bias in zip((query, key, value), weights, biases, strict=True):
        assert weight is not None
        y = linear(x.unsqueeze(1) if unbatched else x, weight, bias)
        y = y.unflatten(-1, (num_heads, y.shape[-1] // num_heads))  # [L, B, H, D]
        projected.append(y.permute(1, 2, 0, 3))
    mask = _mask(attn_mask, key_padding_mask, num_heads, both(projected[0]).mean)
    q, k, v = projected
    answer = scaled_dot_product_attention(q, k, v, mask)
    y = linear(answer.permute(2, 0, 1, 3).flatten(2), out_proj_weight, out_proj_bias)
    shown = None
    if need_weights:
        means = [split(x)[0] for x in (q, k)]
        scores = means[0] @ means[1].transpose(-2, -1) / math.sqrt(means[0].shape[-1])
        shown = (scores if mask is None else scores + mask).softmax(-1)
        shown = shown.mean(1) if average_attn_weights else shown
        shown = shown.squeeze(0) if unbatched else shown
    return (y.squeeze(1) if unbatched else y), shown


def _thirds(value: Tensor | None) -> tuple[Tensor, ...]:
    assert value is not None
    mean, variance = split(value)
    if variance is None:
        return mean.chunk(3)
    return tuple(joined(m, v) for m, v in zip(mean.chunk(3), variance.chunk(3), strict=True))


def _mask(attn: Tensor | None, padding: Tensor | None, heads: int, like: Tensor) -> Tensor | None:
    """Both masks as one additive mask that broadcasts to ``[B, heads, L, S]``."""
    total: Tensor | None = None
    if attn is not None:
        attn = _additive(attn, like)
        total = attn.view(-1, heads, *attn.shape[-2:]) if attn.dim() == 3 else attn
    if padding is not None:
        padding = _additive(padding, like)
        padding = padding.view(-1, 1, 1, padding.shape[-1])
        total = padding if total is None else total + padding
    return total


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype == torch.bool:
        return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -math.inf)
    return mask.to(like.dtype)
