"""Modules of any class with drawn weights: the module keeps its forward, and reads weights drawn from the posterior.

A linear map or a convolution of torch becomes a layer of :mod:`szilard.bayes.layers`, with sparse products and local
reparametrisation. Every other module with weights (recurrent layers, embeddings, subclasses with their own forward,
layers with hooks) only changes its class, to a subclass in which each converted tensor is a property: reading it draws
the dense weight, once for each call of the module and so once for a sequence. The products are then dense products of
torch; the trained and stored entries are sparse.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from szilard.bayes.moments.value import GaussianTensor
from szilard.bayes.noise import Noise
from szilard.bayes.thread_state import calling, current_call, draw_of, mode_of
from szilard.bayes.weight import NO_RESET, Weight
from szilard.errors import SzilardError
from szilard.sparse.differentiable import dense_weight

CHILD = "bayes_weights"  #: the submodule of a converted module that holds its weights


class BayesWeights(nn.Module):
    """The posteriors of the weights of one module, by their names in the module.

    Attributes:
        noise: the random stream of the draws.
        mode: as of a :class:`~szilard.bayes.base_layer.BayesLayer`; ``local`` and ``sample`` are the same: one draw for
            each call.
        order: names of all parameters of the module before conversion, so that converting back restores their order.
    """

    def __init__(self, weights: dict[str, Weight], noise: Noise, order: tuple[str, ...]) -> None:
        super().__init__()
        for name, weight in weights.items():
            self._modules[name] = weight  # not add_module, which refuses names such as "forward"
        self.noise, self.order = noise, order
        self.mode = "auto"

    @property
    def weights(self) -> dict[str, Weight]:
        return {name: module for name, module in self._modules.items() if isinstance(module, Weight)}

    def tensor(self, name: str) -> Tensor:
        """The dense weight to use now: one draw for each call of the module around it."""
        call = current_call(self)
        if call is None:
            return self._dense(name)
        if name not in call.tensors:
            with torch.set_grad_enabled(call.grad):  # the first read can be where gradients are disabled
                call.tensors[name] = self._dense(name)
        return call.tensors[name]

    def _dense(self, name: str) -> Tensor:
        weight = self._modules[name]
        assert isinstance(weight, Weight)
        values = draw_of(weight)
        if values is None:
            if weight.log_std is None or mode_of(self) == "mean":
                values = weight.mean
            elif mode_of(self) == "moments":
                pair = (weight.mean, (2 * weight.log_std).exp())
                parts = (dense_weight(part, weight.support) for part in pair)
                return self._finished(name, GaussianTensor(*parts))
            else:
                values = weight.sample(self.noise.normal(weight.mean.shape, weight.mean))
        values, listener = weight.heard(values)
        dense = self._finished(name, dense_weight(values, weight.support))
        weight.listen(dense, listener)
        return dense

    def _finished(self, name: str, dense: Tensor) -> Tensor:
        """Hook for subclasses: change a weight that was drawn."""
        return dense


class Drawn(nn.Module):
    """Base of the classes of converted modules, in front of the module's own class."""

    _drawn_kind: type[nn.Module]  # the class of the module before conversion
    _drawn_names: tuple[str, ...]

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        with calling(weights_of(self)):
            return super().__call__(*arguments, **named)

    def reset_parameters(self) -> None:
        """Not possible: a Gaussian weight is initialised when its network is made.

        Raises:
            SzilardError: always.
        """
        raise SzilardError(NO_RESET)

    def __reduce_ex__(self, protocol: Any) -> Any:
        # The class is made at run time and cannot be found by name, so it is pickled by its parts.
        return (
            _blank,
            (type(self)._drawn_kind, _names(type(self)), type(self).__mro__[1]),
            self.__getstate__(),
        )


def weights_of(module: nn.Module) -> BayesWeights:
    """The posteriors of the weights of a converted module."""
    found = module._modules[CHILD]
    assert isinstance(found, BayesWeights)
    return found


def drawn_class(kind: type[nn.Module], names: tuple[str, ...], base: type[Drawn] = Drawn) -> type[nn.Module]:
    """The subclass of ``kind`` in which ``names`` are drawn.

    Raises:
        TypeError: the class cannot have subclasses made at run time.
    """
    return _made(kind, names, base)  # type: ignore[arg-type]


@functools.lru_cache(maxsize=1024)
def _made(kind: type[nn.Module], names: tuple[str, ...], base: type[Drawn]) -> type[nn.Module]:
    members: dict[str, Any] = {name: property(_reader(name)) for name in names}
    # In torch's namespace if the original class is: tracers treat a module of torch as a leaf.
    members |= {
        "__module__": kind.__module__,
        "__doc__": kind.__doc__,
        "_drawn_kind": kind,
        "_drawn_names": names,
    }
    return type(f"Bayes{kind.__name__}", (base, kind), members)


def _reader(name: str) -> Callable[[Any], Tensor]:
    return lambda module: (
        weights_of(module).tensor(name) if CHILD in module._modules else module._parameters[name]
    )


def _names(kind: Any) -> tuple[str, ...]:
    names: tuple[str, ...] = kind._drawn_names
    return names


def _blank(kind: type[nn.Module], names: tuple[str, ...], base: type[Drawn]) -> nn.Module:
    made = drawn_class(kind, names, base)
    return made.__new__(made)


def convert(
    module: nn.Module,
    weights: dict[str, Weight],
    noise: Noise,
    base: type[Drawn] = Drawn,
    holder: Callable[[dict[str, Weight], Noise, tuple[str, ...]], BayesWeights] = BayesWeights,
) -> None:
    """Make a module draw these weights, in place.

    Raises:
        TypeError: its class cannot be subclassed, or the class of its objects cannot be changed.
    """
    found = holder(weights, noise, tuple(module._parameters))
    module.__class__ = drawn_class(type(module), tuple(weights), base)
    for name in weights:
        del module._parameters[name]
    module._modules[CHILD] = found.train(module.training)


@torch.no_grad()
def restore(module: Drawn) -> None:
    """Make a converted module an ordinary one again, in place: its means as parameters, in their original order."""
    found = weights_of(module)
    values = {name: found._finished(name, weight.dense_mean()) for name, weight in found.weights.items()}
    del module._modules[CHILD]
    module.__class__ = type(module)._drawn_kind  # type: ignore[assignment]
    own = dict(module._parameters)
    module._parameters.clear()
    for name in (*found.order, *own):
        if name in values:
            module._parameters[name] = nn.Parameter(values[name].clone())
        elif name in own:
            module._parameters[name] = own[name]
    if isinstance(module, nn.RNNBase):
        module._init_flat_weights()


def drawn_modules(network: nn.Module) -> Iterator[tuple[str, Drawn]]:
    """The converted modules of a network by name, each once, in registration order."""
    return ((name, module) for name, module in network.named_modules() if isinstance(module, Drawn))
