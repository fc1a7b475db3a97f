"""The posterior of one weight: a mean and a standard deviation for each existing entry."""

from __future__ import annotations

import functools
import operator
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from szilard.bayes.moments.value import GaussianTensor
from szilard.bayes.priors import LearnedPrior, Prior
from szilard.bayes.source_prior import SourcePrior
from szilard.errors import SzilardError
from szilard.kernels.transforms import transformed
from szilard.sparse import Move, Support
from szilard.sparse.growth import GradientCarrier, GradientListener
from szilard.sparse.pattern import UNSTRUCTURED, Pattern

NO_RESET = (
    "a Bayesian or sparse weight cannot be reset in place; make a new network with "
    "szilard.bayesianize(network, fresh=True) or method.prepare(network)"
)


class Weight(nn.Module):
    """q(w) = Π N(μ_i, σ_i²) over the entries of a support; every other entry is exactly zero.

    Without ``log_std`` it is a point weight, as in a deterministic sparse network.

    Attributes:
        support: :class:`~szilard.sparse.Support`.
        prior: of the entries; a :class:`~szilard.bayes.SourcePrior` belongs to this weight alone (:meth:`set_prior`).
        mean: parameter ``[nnz]``, μ in the support's order.
        log_std: parameter ``[nnz]``, ln σ, or None. The logarithm makes the gradient of the divergence O(1)
            in ln σ whatever the size of σ, so σ moves; with softplus it vanishes with σ.
        draw: values ``[nnz]`` used instead of the posterior while set, by all threads. A draw of
            :func:`szilard.bayes.drawn` takes precedence and is not written here.
        growth: while set, gradients of all entries are added to it at each backward pass, see :meth:`heard`.
        fan_in_share: fan-in of an output over the columns of the weight read as a matrix; not 1 in a transposed
            convolution, whose rows are inputs.
        layer: a tuple of the layer that reads the weight (in a tuple, it is not a submodule); or an empty tuple.
        stem: whether it is dense because of ``dense_stem``.
    """

    growth: GradientListener | GradientCarrier | None = None
    fan_in_share: float = 1.0
    stem: bool = False
    layer: tuple[Any, ...] = ()

    def __init__(
        self,
        support: Support,
        mean: Tensor,
        log_std: Tensor | None = None,
        prior: Prior | SourcePrior | None = None,
    ) -> None:
        super().__init__()
        self.support = support
        self.mean = nn.Parameter(mean)
        self.log_std = None if log_std is None else nn.Parameter(log_std)
        self.prior: Prior | SourcePrior
        self.set_prior(LearnedPrior() if prior is None else prior)
        self.draw: Tensor | None = None

    @property
    def is_point(self) -> bool:
        return self.log_std is None

    @property
    def std(self) -> Tensor:
        """σ of each entry, ``[nnz]``; zero for a point."""
        return torch.zeros_like(self.mean) if self.log_std is None else self.log_std.exp()

    @property
    def fan_in(self) -> float:
        """Mean number of existing entries that an output depends on."""
        return self.support.fan_in * self.fan_in_share

    def kl(self) -> Tensor:
        """KL(q ‖ prior) in nats, scalar; zero for a point."""
        if self.log_std is None:
            return self.mean.new_zeros(())
        prior = self.prior
        if not isinstance(prior, SourcePrior):
            return prior.kl(self.mean, self.log_std, self.fan_in)
        value = prior.kl(self.mean, self.log_std, self.fan_in, self._places())
        if self.growth is not None and prior.pulls and value.requires_grad:
            value.register_hook(functools.partial(_record_pull, self.growth, prior, self.support.rows))
        return value

    def set_prior(self, prior: Prior | SourcePrior) -> None:
        """Measure the divergence from another prior; values stay."""
        if "prior" in self._modules:  # a module's place takes modules only
            del self.prior
        self.prior = prior

    def _places(self) -> Tensor | None:
        """Indices of the entries in the flattened weight, or None if all exist."""
        return None if self.support.is_full else self.support.flat()

    def _started(self, log_std: Tensor) -> tuple[Tensor | float, Tensor]:
        """μ and ln σ for the entries that are new after a move, given the others' mean ln σ."""
        if not isinstance(self.prior, SourcePrior):
            return 0.0, log_std
        return self.prior.start(self.support.flat(), log_std)

    def sample(self, noise: Tensor) -> Tensor:
        """μ + σ ε for standard normal ``noise [nnz]``."""
        return self.mean if self.log_std is None else self.mean + self.log_std.exp() * noise

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("_") or not hasattr(Tensor, name) or not self.layer:
                raise
            _refuse_writing(name)
        return getattr(self.as_tensor(), name)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        _refuse_writing(getattr(function, "__name__", ""))
        given = pytree.tree_map_only(cls, cls.as_tensor, (arguments, named or {}))
        return function(*given[0], **given[1])

    @property
    def requires_grad(self) -> bool:
        """Whether any of its parameters is trained; setting it calls ``requires_grad_``."""
        return any(parameter.requires_grad for parameter in self.parameters())

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def __len__(self) -> int:
        return self.support.rows

    def as_tensor(self) -> Tensor:
        """The dense weight, for a module that reads the weight of a layer instead of calling the layer.

        It is the mean, or the values held in this thread, or a new draw if the layer would draw; with its variance if
        the layer computes moments.
        """
        values: Tensor = self.layer[0].values_now() if self.layer else self.mean
        if isinstance(values, GaussianTensor):
            return GaussianTensor(*(self.support.scatter(part) for part in values.moments))
        values, listener = self.heard(values)
        dense = self.support.scatter(values)
        self.listen(dense, listener)
        return dense

    def heard(self, values: Tensor) -> tuple[Tensor, GradientListener | None]:
        """Values of the entries as one product reads them, and what to add the gradients of that product to."""
        if self.growth is None or transformed():
            return values, None
        if isinstance(self.growth, GradientCarrier):
            return self.growth.through(values)
        return values, self.growth

    def listen(self, dense: Tensor, listener: GradientListener | None) -> None:
        """Add the gradient of the dense weight to a listener of :meth:`heard`."""
        if listener is not None and dense.requires_grad:
            dense.register_hook(functools.partial(_record_growth, listener, self.support.rows))

    def dense_mean(self) -> Tensor:
        """The mean weight as a dense tensor of its full shape."""
        return self.support.scatter(self.mean.detach())

    @torch.no_grad()
    def keep(self, kept: Tensor) -> None:
        """Drop all other entries permanently: the support becomes smaller, and the parameters are new.

        Args:
            kept: bool ``[nnz]``.
        """
        self.resize(self.support.flat()[kept], UNSTRUCTURED)

    @torch.no_grad()
    def resize(self, flat: Tensor, pattern: Pattern | None = None) -> Move:
        """Set other entries, of any number: the support and the parameters are new.

        Entries that stay keep their values; new ones get μ = 0 and the others' geometric mean of σ, or what a
        :class:`~szilard.bayes.SourcePrior` has for them.

        Args:
            flat: ascending indices of the entries in the flattened weight, int64.
            pattern: of the new support; by default that of the old one.

        Returns:
            where the entries came from, for other values of them (:func:`szilard.topology.resize` carries those of an
            optimiser).
        """
        old, mean, log_std = self.support.flat(), self.mean, self.log_std
        trained = mean.requires_grad, log_std is not None and log_std.requires_grad
        self.set_support(
            Support.from_flat(self.support.shape, flat, self.support.pattern if pattern is None else pattern)
        )
        place = torch.searchsorted(old, flat).clamp_(max=max(len(old) - 1, 0))
        source = torch.where(old[place] == flat, place, -1) if len(old) else torch.full_like(flat, -1)
        move = Move(source, dropped=len(old) - int((source >= 0).sum()))
        fill: Tensor | float = 0.0
        if self.log_std is not None and log_std is not None:
            fill, log_fill = self._started(move.survivors(log_std).mean())
            self.log_std.copy_(move.carried(log_std, log_fill))
            self.log_std.requires_grad_(trained[1])
        self.mean.copy_(move.carried(mean, fill))
        self.mean.requires_grad_(trained[0])
        return move

    def set_support(self, support: Support) -> None:
        """Set another support with any number of entries; the new parameters are zeros, frozen if the old ones were."""
        self.support = support
        self.mean = nn.Parameter(self.mean.new_zeros(support.nnz), self.mean.requires_grad)
        if self.log_std is not None:
            self.log_std = nn.Parameter(self.log_std.new_zeros(support.nnz), self.log_std.requires_grad)

    def stand_on(self, support: Support) -> None:
        """The former name of :meth:`set_support`; it goes with the next release."""
        warnings.warn("Weight.stand_on is now Weight.set_support", DeprecationWarning, stacklevel=2)
        self.set_support(support)

    @torch.no_grad()
    def carry(self, move: Move) -> None:
        """Follow a move of the support: new entries get μ = 0 and the survivors' geometric mean of σ, or what a
        :class:`~szilard.bayes.SourcePrior` has for them."""
        fill: Tensor | float = 0.0
        if self.log_std is not None:
            fill, log_fill = self._started(move.survivors(self.log_std).mean())
            move.carry(self.log_std, log_fill)
        move.carry(self.mean, fill)


def _operator(function: Any) -> Any:
    return lambda *arguments: function(*(a.as_tensor() if isinstance(a, Weight) else a for a in arguments))


# Methods that Python looks up only on the class.
for _name in ("add", "sub", "mul", "truediv", "pow", "matmul", "neg", "abs", "getitem"):
    setattr(Weight, f"__{_name}__", _operator(getattr(operator, _name)))


def _record_growth(growth: GradientListener, rows: int, grad: Tensor) -> None:
    growth.add_gradient(grad.detach().reshape(rows, -1))


def _record_pull(
    growth: GradientListener | GradientCarrier, prior: SourcePrior, rows: int, grad: Tensor
) -> None:
    """Add the gradient of the divergence where no entry exists, in the units of the loss that is differentiated."""
    if not isinstance(growth, GradientCarrier):
        growth.add_gradient((prior.pull() * grad.detach()).reshape(rows, -1))


def _refuse_writing(name: str) -> None:
    """Refuse functions of torch that write into a tensor: each read here makes a new tensor."""
    if name.endswith("_") and not name.endswith("__"):
        raise SzilardError(
            f"{name} would write into a temporary copy of a Bayesian or sparse weight, and be lost; change weight.mean "
            "and weight.log_std, or set weights before the network is converted"
        )
