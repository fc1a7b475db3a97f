"""A tensor of independent Gaussians that travels through an ordinary network in place of a tensor of numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from szilard.bayes.moments import gaussian
from szilard.bayes.moments.rules import apply
from szilard.errors import SzilardError


class Moments(NamedTuple):
    """Mean and variance of each activation, two tensors of one shape."""

    mean: Tensor
    variance: Tensor


class GaussianTensor(Tensor):
    """Independent Gaussians, as the tensor type that a network's ``forward`` sees.

    Functions of torch call the rules of this package through ``__torch_function__``; a function without a rule raises an
    error. Shape, dtype and device are those of the mean. Attributes: :attr:`moments`.

    Args:
        mean, variance: tensors of one shape, dtype and device; variances are at least zero.
    """

    _moments: Moments | None
    #: The Gaussians whose ReLU this is, if they are known: max-pooling is exact on them and not on their ReLU.
    before_relu: GaussianTensor | None

    @staticmethod
    def __new__(cls, mean: Tensor, variance: Tensor) -> GaussianTensor:
        if mean.shape != variance.shape:
            raise SzilardError(
                f"means have shape {list(mean.shape)} and variances {list(variance.shape)}; they must be equal"
            )
        made = _like(cls, mean)
        made._moments, made.before_relu = Moments(mean, variance), None
        return made

    @classmethod
    def rectified(cls, x: GaussianTensor) -> GaussianTensor:
        """ReLU of ``x``. Its moments are computed when they are first read: a max-pool after it does not need them."""
        made = _like(cls, x.moments.mean)
        made._moments, made.before_relu = None, x
        return made

    @property
    def moments(self) -> Moments:
        """Mean and variance."""
        if self._moments is None:
            assert self.before_relu is not None
            self._moments = Moments(*gaussian.relu(*self.before_relu.moments))
        return self._moments

    @moments.setter
    def moments(self, value: Moments) -> None:
        self._moments, self.before_relu = value, None

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"GaussianTensor(mean={self.moments.mean!r}, variance={self.moments.variance!r})"

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, arguments: tuple[Any, ...] = (), named: dict[str, Any] | None = None
    ) -> Any:
        return apply(function, arguments, named or {})

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        # Only code that bypasses the Python functions of torch comes here; numbers would be made of nothing.
        raise SzilardError(
            f"means and variances cannot be propagated through {function}, which was called below torch's functions"
        )


def split(x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Mean and variance; the variance of an ordinary tensor is None."""
    return x.moments if isinstance(x, GaussianTensor) else (x, None)


def joined(mean: Tensor, variance: Tensor | None) -> Tensor:
    """The reverse of :func:`split`."""
    return mean if variance is None else GaussianTensor(mean, variance)


def both(x: Tensor) -> Moments:
    """Mean and variance; those of an ordinary tensor are its values and zeros."""
    mean, variance = split(x)
    return Moments(mean, torch.zeros_like(mean) if variance is None else variance)


def _like(cls: type[GaussianTensor], mean: Tensor) -> GaussianTensor:
    made: GaussianTensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
        cls, mean.shape, strides=mean.stride(), dtype=mean.dtype, layout=mean.layout, device=mean.device
    )
    return made
