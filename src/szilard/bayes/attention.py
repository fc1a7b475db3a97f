"""Multi-head attention whose four projections are stochastic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from szilard.bayes.layers import BayesLinear
from szilard.bayes.moments.value import GaussianTensor, split
from szilard.errors import SzilardError

if TYPE_CHECKING:  # the class of torch declares other types for its projections
    _Attention = nn.Module
else:
    _Attention = nn.MultiheadAttention


class BayesAttention(_Attention):
    """Replaces ``nn.MultiheadAttention``, with the same call and shapes.

    Args:
        original: the module to replace (its sizes, flags and dropout are copied).
        query, key, value, out: the projections.
    """

    def __init__(
        self,
        original: nn.MultiheadAttention,
        query: BayesLinear,
        key: BayesLinear,
        value: BayesLinear,
        out: BayesLinear,
    ) -> None:
        nn.Module.__init__(self)
        if original.bias_k is not None or original.add_zero_attn:
            raise SzilardError(
                "attention with add_bias_kv or add_zero_attn cannot be made Bayesian; name it in skip="
            )
        self.query, self.key, self.value, self.out_proj = query, key, value, out
        self.embed_dim, self.num_heads, self.head_dim = (
            original.embed_dim,
            original.num_heads,
            original.head_dim,
        )
        self.kdim, self.vdim = original.kdim, original.vdim
        self.bias_k = self.bias_v = None
        self.add_zero_attn = False
        self.dropout, self.batch_first = original.dropout, original.batch_first
        # nn.TransformerEncoder reads these before it takes its fused path, which would bypass these layers.
        self._qkv_same_embed_dim = False

    @property
    def in_proj_weight(self) -> Tensor:
        """The weights of query, key and value as one tensor, for code that reads them instead of calling."""
        return torch.cat([layer.weight.as_tensor() for layer in (self.query, self.key, self.value)])

    @property
    def in_proj_bias(self) -> Tensor | None:
        """The biases of query, key and value as one tensor."""
        biases = [layer.bias for layer in (self.query, self.key, self.value)]
        return None if biases[0] is None else torch.cat([bias for bias in biases if bias is not None])

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        if is_causal and attn_mask is None:  # a hint about the mask, as in torch, not a mask
            raise SzilardError("is_causal needs attn_mask; pass the causal mask itself")
        batched = query.dim() == 3
        if not batched:
            query, key, value = (t.unsqueeze(0 if self.batch_first else 1) for t in (query, key, value))
            key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
        if not self.batch_first:
            query, key, value = (t.transpose(0, 1) for t in (query, key, value))
        q, k, v = self._heads(self.query(query)), self._heads(self.key(key)), self._heads(self.value(value))
        mask = self._mask(attn_mask, key_padding_mask, split(q)[0], split(k)[0])
        dropout = self.dropout if self.training else 0.0
        weights = None
        if any(isinstance(x, GaussianTensor) for x in (q, k, v)):
            answer = F.scaled_dot_product_attention(q, k, v, mask, dropout)
            if need_weights:  # those of the means
                weights = self._weights(split(q)[0], split(k)[0], mask)
        elif need_weights:
            weights = self._weights(q, k, mask)
            answer = F.dropout(weights, dropout) @ v
        else:
            answer = F.scaled_dot_product_attention(q, k, v, mask, dropout)
        if weights is not None:
            weights = weights.mean(1) if average_attn_weights else weights
            weights = weights if batched else weights.squeeze(0)
        y = self.out_proj(answer.transpose(1, 2).flatten(2))
        if not self.batch_first:
            y = y.transpose(0, 1)
        return y if batched else y.squeeze(0 if self.batch_first else 1), weights

    def _weights(self, q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
        """``[B, heads, L, S]``."""
        score = q @ k.transpose(-2, -1) / self.head_dim**0.5
        return (score if mask is None else score + mask).softmax(-1)

    def _heads(self, x: Tensor) -> Tensor:
        """``[B, L, E] -> [B, heads, L, E / heads]``."""
        return x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

    def _mask(self, attn: Tensor | None, padding: Tensor | None, q: Tensor, k: Tensor) -> Tensor | None:
        """Both masks as one additive float mask that broadcasts to ``[B, heads, L, S]``."""
        total: Tensor | None = None
        if attn is not None:
            attn = _additive(attn, q)
            total = attn.view(-1, self.num_heads, *attn.shape[1:]) if attn.dim() == 3 else attn
        if padding is not None:
            padding = _additive(padding, q).view(k.shape[0], 1, 1, k.shape[2])
            total = padding if total is None else total + padding
        return total


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype == torch.bool:
        return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, float("-inf"))
    return mask.to(like.dtype)
