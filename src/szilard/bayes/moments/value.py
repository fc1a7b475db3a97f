"""A tensor of independent Gaussians that travels through an ordinary network in place of a tensor of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from szilard.bayes.moments import gaussian, map_statistics, positions
from szilard.bayes.moments.dependence import Function, Origin
from szilard.bayes.moments.map_statistics import Spread
from szilard.bayes.moments.positions import Means
from szilard.bayes.moments.rules import apply
from szilard.errors import SzilardError

_MOST_ORIGINS = 2  # that a tensor has besides the tensor before it


class Moments(NamedTuple):
    """Mean and variance of each activation, two tensors of one shape."""

    mean: Tensor
    variance: Tensor


#: Attributes that an operation in place replaces.
_CONTENTS = (
    "_moments", "before_relu", "before_shared", "_shared", "_later", "_spread", "_joint", "_averaged",
    "_derived",
)  # fmt: skip


class _Memory:
    """What a tensor and its views share: how often it was written in place."""

    writes = 0


class GaussianTensor(Tensor):
    """Independent Gaussians, as the tensor type that a network's ``forward`` sees.

    Functions of torch call the rules of this package through ``__torch_function__``; a function without a rule raises
    an error. Shape, dtype and device are those of the mean. Attributes: :attr:`moments`.

    Behind convolutions, positions of a map (axes from 2 on) share errors; :attr:`shared` is the model of what they have
    in common (:mod:`szilard.bayes.moments.positions`). Functions that do not know it drop it.

    Args:
        mean, variance: tensors of one shape, dtype and device; variances are at least zero.

    Raises:
        SzilardError: two shapes.
    """

    _moments: Moments | None
    #: Moments of the Gaussians whose ReLU this is, if they are known: max-pooling is better on them than on their ReLU.
    before_relu: Moments | None
    #: Model of the shared errors of ``before_relu``, or None.
    before_shared: Means | None
    _shared: Means | None
    _later: Callable[[GaussianTensor], Means | None] | None  # makes _shared when it is needed
    _spread: Spread | None
    _joint: Moments | None  # of an average, with the shared errors
    _averaged: bool
    #: Other variables of which this is an elementwise function, the furthest first.
    _derived: tuple[Origin, ...]
    _memory: _Memory
    _writes: int

    @staticmethod
    def __new__(cls, mean: Tensor, variance: Tensor) -> GaussianTensor:
        if mean.shape != variance.shape:
            raise SzilardError(
                f"means have shape {list(mean.shape)} and variances {list(variance.shape)}; they must be equal"
            )
        return _made(cls, mean, Moments(mean, variance), None)

    @classmethod
    def rectified(cls, mean: Tensor, variance: Tensor, shared: Means | None = None) -> GaussianTensor:
        """ReLU of Gaussians. Its moments are computed when they are first read: a max-pool after it reads none.

        Args:
            mean, variance: before the ReLU.
            shared: model of their shared errors.
        """
        made = _made(cls, mean, None, Moments(mean, variance))
        made.before_shared = shared
        return made

    @property
    def moments(self) -> Moments:
        """Mean and variance. Of an average over positions the variance contains the errors that they share.

        Raises:
            SzilardError: a view of this tensor was changed in place.
        """
        found = self.independent
        if not self._averaged:
            return found
        if self._joint is None:
            assert self._shared is not None
            spread = positions.variance(self._shared, found.mean.flatten(1)).view(found.mean.shape)
            self._joint = Moments(found.mean, torch.maximum(found.variance, spread))
        return self._joint

    @property
    def independent(self) -> Moments:
        """Mean and variance, as of independent positions.

        Raises:
            SzilardError: a view of this tensor was changed in place.
        """
        self._check()
        if self._moments is None:
            assert self.before_relu is not None
            self._moments = Moments(*gaussian.relu(*self.before_relu))
        return self._moments

    @property
    def origins(self) -> tuple[Origin, ...]:
        """The variables of which this is an elementwise function, the most exact first; it is one of itself, too."""
        own = Origin(*self.moments)
        before = self.derived
        return *(o for o in before if not o.affine), own, *(o for o in before if o.affine)

    @property
    def derived(self) -> tuple[Origin, ...]:
        """:attr:`origins` without the tensor itself."""
        self._check()
        if not self._derived and self.before_relu is not None:
            self._derived = (Origin(*self.before_relu).then(torch.relu),)
        return self._derived

    def then(self, function: Function, *, free: bool = True, affine: bool = False) -> tuple[Origin, ...]:
        """The origins of an elementwise function of this tensor: the furthest, and this tensor itself."""
        before = (
            *self.derived[:_MOST_ORIGINS],
            *([] if self.is_lazy or self._averaged else [Origin(*self.moments)]),
        )
        return tuple(origin.then(function, free=free, affine=affine) for origin in before)

    def from_origins(self, origins: Sequence[Origin]) -> GaussianTensor:
        """This tensor, as an elementwise function of other variables of its shape."""
        self._derived = tuple(origin for origin in origins if same_shape(origin.mean, self))
        return self

    @property
    def is_lazy(self) -> bool:
        """Whether this is a ReLU whose moments nobody has read yet."""
        self._check()
        return self._moments is None

    @property
    def shared(self) -> Means | None:
        """The model of the errors that positions share; None: they are independent."""
        if self._shared is None:
            if self._later is not None:
                self._shared, self._later = self._later(self), None
            elif self.before_shared is not None:
                assert self.before_relu is not None
                before = map_statistics.spread(self.before_relu.variance)
                self._shared = positions.monotone(self.before_shared, before, self.spread)
        return self._shared

    @property
    def spread(self) -> Spread:
        """Standard deviations of each channel; of an average, those of the map that was averaged."""
        if self._spread is None:
            self._spread = map_statistics.spread(self.moments.variance)
        return self._spread

    def sharing(self, shared: Means | Callable[[GaussianTensor], Means | None] | None) -> GaussianTensor:
        """This tensor, whose positions share errors.

        Args:
            shared: their model, or a function that makes it from this tensor when it is needed.
        """
        if isinstance(shared, Means) or shared is None:
            self._shared = shared
        else:
            self._later = shared
        return self

    def averaged(self, shared: Means | None, spread: Spread | None = None) -> GaussianTensor:
        """This tensor, an average over all positions or a vector computed from one.

        Its variance is that of the model, at least that of independent positions, and is computed when it is read.

        Args:
            shared: the model; None: positions are independent.
            spread: of the map that was averaged; None: that of this tensor.
        """
        if shared is not None:
            self._shared, self._spread, self._averaged = shared, spread, True
        return self

    def write(self, value: GaussianTensor) -> None:
        """Take the values of another tensor of the same shape: the in-place form of the function that made it.

        Raises:
            SzilardError: another shape.
        """
        if value.shape != self.shape:
            raise SzilardError("an operation in place would change the shape of a Gaussian tensor")
        for name in _CONTENTS:
            setattr(self, name, getattr(value, name))
        self._memory.writes += 1
        self._writes = self._memory.writes

    def scaled(self, factor: float) -> GaussianTensor:
        """The same means with ``factor`` times the variance; of a ReLU, its input is scaled."""
        root = math.sqrt(factor)
        if self.before_relu is not None:
            mean, variance = self.before_relu
            before = self.before_shared
            return GaussianTensor.rectified(
                mean, variance * factor, None if before is None else positions.scaled(before, root)
            )
        (mean, variance), shared = self.independent, self.shared
        found = GaussianTensor(mean, variance * factor)
        if shared is None:
            return found
        shared = positions.scaled(shared, root)
        if not self._averaged:
            return found.sharing(shared)
        spread = self._spread
        return found.averaged(shared, None if spread is None else spread.scaled(factor))

    @property
    def is_average(self) -> bool:
        """Whether this is an average over positions, or a vector computed from one, whose positions shared errors."""
        return self._averaged

    def moved_by(self, constant: float | Tensor) -> GaussianTensor:
        """An average plus a constant that does not change its shape."""
        mean, variance = self.independent
        return GaussianTensor(mean + constant, variance).averaged(self._shared, self._spread)

    def rearranged(self, function: Callable[[Tensor], Tensor]) -> GaussianTensor:
        """A function that gives the same channels and the same positions in another shape, applied to all moments."""
        before = None if self.before_relu is None else Moments(*map(function, self.before_relu))
        if self.is_lazy:
            assert before is not None
            return GaussianTensor.rectified(*before, self.before_shared).sharing(lambda _: self.shared)
        shared, found = self.shared, GaussianTensor(*map(function, self.independent))
        found.before_relu, found.before_shared = before, self.before_shared
        return found.averaged(shared, self._spread) if self._averaged else found.sharing(shared)

    def views(self, base: GaussianTensor) -> GaussianTensor:
        """This tensor, as a view of another one: after a write into one of them, reading the other is an error."""
        self._memory, self._writes = base._memory, base._writes
        return self

    def _check(self) -> None:
        if self._writes != self._memory.writes:
            raise SzilardError(
                "an activation is read after a view of it was changed in place, which means and variances do not "
                "follow; use the operation that is not in place (inplace=False)"
            )

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"GaussianTensor(mean={self.moments.mean!r}, variance={self.moments.variance!r})"

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not all(issubclass(kind, Tensor) for kind in types):
            return NotImplemented  # a weight, which becomes a tensor first
        return apply(func, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        # Only code that bypasses the Python functions of torch comes here; numbers would be made of nothing.
        raise SzilardError(
            f"means and variances cannot be propagated through {func}, which was called below torch's functions"
        )


def same_shape(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors have one shape.

    Numbers of axes come first: comparing sizes of different axes would fix the batch size of a traced graph.
    """
    return first.dim() == second.dim() and first.shape == second.shape


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


def _made(
    cls: type[GaussianTensor], like: Tensor, moments: Moments | None, before: Moments | None
) -> GaussianTensor:
    made: GaussianTensor = Tensor._make_wrapper_subclass(
        cls, like.shape, strides=like.stride(), dtype=like.dtype, layout=like.layout, device=like.device
    )
    made._moments, made.before_relu, made._memory, made._writes = moments, before, _Memory(), 0
    made.before_shared = made._shared = made._later = made._spread = made._joint = None
    made._averaged, made._derived = False, ()
    return made
