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

from szilard.bayes.moments import sharing
from szilard.bayes.moments.rules import rule
from szilard.bayes.moments.value import GaussianTensor, Moments, both, split
from szilard.errors import SzilardError


def moved(function: Callable[..., Any], view: bool = False, channels: bool = False) -> Callable[..., Any]:
    """The rule of a function that selects and reorders the entries of its first argument.

    Args:
        function: of torch.
        view: whether torch's answer can share memory with the argument.
        channels: whether it keeps the order of entries, so that an answer with the same channels has the same maps.
    """

    @functools.wraps(function)
    def run(input: Tensor, *arguments: Any, **named: Any) -> Any:
        if not isinstance(
            input, GaussianTensor
        ):  # x.expand_as(gaussian): only the shape of the other is read
            shapes = [a.moments.mean if isinstance(a, GaussianTensor) else a for a in arguments]
            return function(input, *shapes, **named)

        def of(values: Tensor) -> Any:
            return function(values, *arguments, **named)

        kept = sharing.rearranged(input, of) if channels else None
        if kept is not None:
            return _view(input, kept, of) if view else kept
        if input.is_lazy:
            assert input.before_relu is not None
            pair = input.before_relu
        else:
            pair = input.moments
        means, variances = map(of, pair)
        if not isinstance(means, Tensor):
            found = [GaussianTensor(*parts) for parts in zip(means, variances, strict=True)]
            return tuple(one.views(input) for one in found) if view else tuple(found)
        answer = (GaussianTensor.rectified if input.is_lazy else GaussianTensor)(means, variances)
        if input.before_relu is not None and not input.is_lazy:
            answer.before_relu = Moments(*map(of, input.before_relu))
        return _view(input, answer, of) if view else answer

    return run


def _view(input: GaussianTensor, answer: GaussianTensor, function: Callable[[Tensor], Any]) -> GaussianTensor:
    """The answer as a view of the input: of the same variables, in the places to which the function moves them."""
    answer.from_origins([
        origin._replace(mean=function(origin.mean), variance=function(origin.variance))
        for origin in input.derived
        if origin.free
    ])  # fmt: skip
    return answer.views(input)


#: Methods of tensors whose answer can share memory with the tensor, and functions of the same name.
VIEWS = (
    "view", "reshape", "flatten", "unflatten", "permute", "transpose", "t", "squeeze", "unsqueeze", "expand",
    "swapaxes", "swapdims", "movedim", "moveaxis", "contiguous", "detach",
    "chunk", "split", "unbind", "tensor_split", "narrow", "select", "diagonal", "adjoint", "ravel", "broadcast_to",
)  # fmt: skip
#: Those that copy.
COPIES = (
    "index_select", "gather", "flip", "roll", "repeat", "repeat_interleave", "tile", "take_along_dim", "rot90",
)  # fmt: skip


def _callable(name: str) -> Callable[..., Any]:
    method = getattr(Tensor, name, None)
    return method if method is not None else getattr(torch, name)


#: Those that keep the order of entries.
_IN_ORDER = (
    "view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "contiguous", "detach", "ravel",
)  # fmt: skip
for _name in VIEWS:
    rule(_name)(moved(_callable(_name), view=True, channels=_name in _IN_ORDER))
rule("__getitem__")(sharing.sliced(moved(Tensor.__getitem__, view=True)))
for _name in COPIES:
    rule(_name)(moved(_callable(_name)))


@rule("clone")
def clone(input: GaussianTensor, *, memory_format: torch.memory_format = torch.preserve_format) -> Tensor:
    """A copy, of the same variables."""
    copy: GaussianTensor = moved(torch.clone, channels=True)(input, memory_format=memory_format)
    return copy.from_origins(input.origins)


rule("unfold", places=(Tensor,))(moved(Tensor.unfold, view=True))
rule("unfold", places=(F,))(moved(F.unfold))
for _name in ("channel_shuffle", "pixel_shuffle", "pixel_unshuffle", "native_channel_shuffle"):
    rule(_name)(moved(getattr(F, _name)))


def _property(name: str) -> Callable[[GaussianTensor], Tensor]:
    def run(input: GaussianTensor) -> Tensor:
        mean, variance = input.moments
        return GaussianTensor(getattr(mean, name), getattr(variance, name)).views(input)

    return run


for _name in ("T", "mT", "H", "mH", "data"):
    rule(_name)(_property(_name))


def _converted(name: str) -> Callable[..., Any]:
    method = getattr(Tensor, name)

    @functools.wraps(method)
    def run(input: Tensor, *arguments: Any, **named: Any) -> Tensor:
        # x.to(other) and x.type_as(other) ask another tensor for its type and device.
        arguments = tuple(split(a)[0] if isinstance(a, GaussianTensor) else a for a in arguments)
        if not isinstance(input, GaussianTensor):
            return method(input, *arguments, **named)
        if input.is_lazy and input.before_relu is not None:
            mean, variance = input.before_relu
            made: Callable[..., GaussianTensor] = GaussianTensor.rectified
        else:
            if method(input.independent.mean, *arguments, **named) is input.independent.mean:
                return input
            (mean, variance), made = input.moments, GaussianTensor
        found = method(mean, *arguments, **named)
        return input if found is mean else made(found, method(variance, *arguments, **named))

    return run


for _name in ("to", "type_as", "float", "double", "cpu", "cuda"):
    rule(_name)(_converted(_name))


@rule("cat", "concat", "concatenate")
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    pairs = [
        tensor.before_relu for tensor in tensors if isinstance(tensor, GaussianTensor) and tensor.before_relu
    ]
    if len(pairs) == len(tensors):
        before = [
            GaussianTensor(*pair).sharing(tensor.before_shared)
            for pair, tensor in zip(pairs, tensors, strict=True)
            if isinstance(tensor, GaussianTensor)
        ]
        shared = sharing.joined(before, dim)
        mean, variance = (torch.cat(parts, dim) for parts in zip(*pairs, strict=True))
        found = GaussianTensor.rectified(mean, variance, shared)
        return found if shared is None else found.sharing(lambda _: sharing.joined(tensors, dim))
    found = GaussianTensor(*(torch.cat(parts, dim) for parts in zip(*map(both, tensors), strict=True)))
    return found.sharing(sharing.joined(tensors, dim))


@rule("stack")
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    return GaussianTensor(*(torch.stack(parts, dim) for parts in zip(*map(both, tensors), strict=True)))


@rule("pad")
def pad(
    input: GaussianTensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    if input.is_lazy and input.before_relu is not None and mode == "constant" and not value:
        before = sharing.padded(input.before_shared, pad, input.shape, True)
        mean, variance = (F.pad(part, list(pad)) for part in input.before_relu)
        found = GaussianTensor.rectified(mean, variance, before)
        if before is None:
            return found
        return found.sharing(lambda _: sharing.padded(input.shared, pad, input.shape, True))
    mean, variance = input.moments
    filled = F.pad(variance, list(pad), mode) if mode != "constant" else F.pad(variance, list(pad))
    shared = sharing.padded(input.shared, pad, input.shape, mode == "constant")
    return GaussianTensor(F.pad(mean, list(pad), mode, value), filled).sharing(shared)


@rule("masked_fill")
def masked_fill(input: GaussianTensor, mask: Tensor, value: Any) -> Tensor:
    mean, variance = input.moments
    return GaussianTensor(mean.masked_fill(mask, value), variance.masked_fill(mask, 0))


@rule("where", places=(Tensor,))
def where_method(self: Any, condition: Tensor, other: Any) -> Tensor:
    return where(condition, self, other)


@rule("where", places=(torch,))
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
    found = GaussianTensor(
        F.interpolate(mean, *arguments, **named), F.interpolate(variance, *arguments, **named)
    )
    return sharing.kept(found, input)


@rule("embedding", places=(F,))
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
    "zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty",
    "new_tensor",
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
