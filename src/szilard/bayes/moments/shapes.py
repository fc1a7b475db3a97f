"""Rules for functions that only move numbers: the same function of the mean and of the variance.

Numbers that such a function inserts (padding, a fill value) are constants, with variance zero.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from szilard.bayes.moments.rules import rule
from szilard.bayes.moments.value import GaussianTensor, both
from szilard.errors import SzilardError


def moved(function: Callable[..., Any]) -> Callable[..., Any]:
    """The rule of a function that selects and reorders the entries of its first argument."""

    @functools.wraps(function)
    def run(input: GaussianTensor, *arguments: Any, **named: Any) -> Any:
        mean, variance = input.moments
        means, variances = function(mean, *arguments, **named), function(variance, *arguments, **named)
        if isinstance(means, Tensor):
            answer = GaussianTensor(means, variances)
            if input.before_relu is not None:
                answer.before_relu = run(input.before_relu, *arguments, **named)
            return answer
        return tuple(GaussianTensor(m, v) for m, v in zip(means, variances, strict=True))

    return run


#: Methods of tensors that only move entries, and functions of the same name.
MOVING = (
    "view", "reshape", "flatten", "unflatten", "permute", "transpose", "t", "squeeze", "unsqueeze", "expand",
    "swapaxes", "swapdims", "movedim", "moveaxis", "contiguous", "clone", "detach",
    "chunk", "split", "unbind", "tensor_split", "narrow", "select", "index_select", "gather", "flip", "roll", "repeat",
    "repeat_interleave", "tile", "diagonal", "adjoint", "ravel", "broadcast_to", "take_along_dim", "rot90", "unfold",
    "__getitem__",
)  # fmt: skip


def _callable(name: str) -> Callable[..., Any]:
    method = getattr(Tensor, name, None)
    return method if method is not None else getattr(torch, name)  # type: ignore[no-any-return]


for _name in MOVING:
    rule(_name)(moved(_callable(_name)))
for _name in ("channel_shuffle", "pixel_shuffle", "pixel_unshuffle", "native_channel_shuffle"):
    if hasattr(F, _name):
        rule(_name)(moved(getattr(F, _name)))


def _property(name: str) -> Callable[[GaussianTensor], Tensor]:
    def run(input: GaussianTensor) -> Tensor:
        mean, variance = input.moments
        return GaussianTensor(getattr(mean, name), getattr(variance, name))

    return run


for _name in ("T", "mT", "H", "mH", "data"):
    rule(_name)(_property(_name))


def _converted(name: str) -> Callable[..., Any]:
    method = getattr(Tensor, name)

    @functools.wraps(method)
    def run(input: Tensor, *arguments: Any, **named: Any) -> Tensor:
        if not isinstance(input, GaussianTensor):  # x.to(other), x.type_as(other)
            arguments = tuple(a.moments.mean if isinstance(a, GaussianTensor) else a for a in arguments)
            return method(input, *arguments, **named)  # type: ignore[no-any-return]
        arguments = tuple(a.moments.mean if isinstance(a, GaussianTensor) else a for a in arguments)
        mean, variance = input.moments
        return GaussianTensor(method(mean, *arguments, **named), method(variance, *arguments, **named))

    return run


for _name in ("to", "type_as", "float", "double", "cpu", "cuda"):
    rule(_name)(_converted(_name))


@rule("cat", "concat", "concatenate")
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    pairs = [both(tensor) for tensor in tensors]
    return GaussianTensor(
        torch.cat([pair.mean for pair in pairs], dim), torch.cat([pair.variance for pair in pairs], dim)
    )


@rule("stack")
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    pairs = [both(tensor) for tensor in tensors]
    return GaussianTensor(
        torch.stack([pair.mean for pair in pairs], dim), torch.stack([pair.variance for pair in pairs], dim)
    )


@rule("pad")
def pad(
    input: GaussianTensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    mean, variance = input.moments
    filled = F.pad(variance, list(pad), mode) if mode != "constant" else F.pad(variance, list(pad))
    return GaussianTensor(F.pad(mean, list(pad), mode, value), filled)


@rule("masked_fill")
def masked_fill(input: GaussianTensor, mask: Tensor, value: Any) -> Tensor:
    mean, variance = input.moments
    return GaussianTensor(mean.masked_fill(mask, value), variance.masked_fill(mask, 0))


@rule("where")
def where(condition: Tensor, input: Any, other: Any) -> Tensor:
    if isinstance(condition, GaussianTensor):
        raise SzilardError("a condition on a Gaussian has no rule")
    like = input if isinstance(input, GaussianTensor) else other
    mean = like.moments.mean
    first, second = (
        both(value if isinstance(value, Tensor) else mean.new_tensor(value)) for value in (input, other)
    )
    return GaussianTensor(
        torch.where(condition, first.mean, second.mean),
        torch.where(condition, first.variance, second.variance),
    )


@rule("interpolate")
def interpolate(input: GaussianTensor, *arguments: Any, **named: Any) -> Tensor:
    mode = arguments[2] if len(arguments) > 2 else named.get("mode", "nearest")
    if mode not in ("nearest", "nearest-exact"):
        raise SzilardError(
            f"interpolation in mode {mode!r} has no rule; add one to szilard/bayes/moments/shapes.py"
        )
    mean, variance = input.moments
    return GaussianTensor(
        F.interpolate(mean, *arguments, **named), F.interpolate(variance, *arguments, **named)
    )


@rule("embedding")
def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    if max_norm is not None:
        raise SzilardError("an embedding with max_norm has no rule; renormalise the weight before")
    mean, variance = both(weight)
    return GaussianTensor(F.embedding(input, mean), F.embedding(input, variance))


def _zeros(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(input: GaussianTensor, *arguments: Any, **named: Any) -> Tensor:
        return function(input.moments.mean, *arguments, **named)

    return run


for _name in (
    "zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty", "new_tensor",
):  # fmt: skip
    rule(_name)(_zeros(getattr(torch, _name, None) or getattr(Tensor, _name)))


def _like_another(name: str, moving: str) -> Callable[..., Any]:
    """The rule of a function whose second argument gives a shape only: either argument can be without variance."""

    @functools.wraps(getattr(Tensor, name))
    def run(input: Tensor, other: Tensor) -> Any:
        return getattr(input, moving)(other.shape)

    return run


for _name, _moving in (("expand_as", "expand"), ("view_as", "view"), ("reshape_as", "reshape")):
    rule(_name)(_like_another(_name, _moving))
