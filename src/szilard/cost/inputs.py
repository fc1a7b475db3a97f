"""Inputs for one run of a network: from shapes, or from examples."""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from szilard.errors import SzilardError

Inputs = Sequence[Any] | Mapping[str, Any] | Tensor
_MOST = 4  # number of inputs up to which floats and tokens are tried in every combination


def runner(network: nn.Module, inputs: Inputs, batch: int) -> Callable[[], Any]:
    """A function that calls the network on a batch, in the form in which the network takes its inputs.

    Shapes become zeros: of a floating type, or integers (tokens) if the network does not take those. Several
    inputs are passed as arguments, or as one tuple if the network takes one.

    Args:
        inputs: the shape of one input; for several inputs a list of shapes or a dict of them by argument name. A tensor
            ``[N, ...]`` can be given instead of a shape; its first example is used.
        batch: number of examples, all the same.

    Raises:
        SzilardError: the network runs on none of these inputs.
    """
    first: Exception | None = None
    for call in _ways(network, inputs, batch):
        try:
            with (
                torch.random.fork_rng(devices=_cuda(network)),
                torch.no_grad(),
                warnings.catch_warnings(action="ignore"),
            ):
                call()
        except SzilardError:
            raise
        except Exception as error:  # a user's forward can raise anything
            first = first or error
        else:
            return call
    reason = (str(first).strip() or type(first).__name__).splitlines()[0]
    raise SzilardError(
        f"the network does not run on an input of shape {_named(inputs)} (one example, without the batch): {reason}"
    ) from first


def _ways(network: nn.Module, inputs: Inputs, batch: int) -> Iterator[Callable[[], Any]]:
    if isinstance(inputs, int):
        raise SzilardError(f"the shape of an input is a list of whole numbers; give ({inputs},)")
    if isinstance(inputs, Mapping):
        names, given = list(inputs), list(inputs.values())
    elif isinstance(inputs, Tensor) or all(isinstance(side, int) for side in inputs):
        names, given = [], [inputs]
    else:
        names, given = [], list(inputs)
    whole = sum(not isinstance(one, Tensor) for one in given) if len(given) <= _MOST else 0
    for tokens in itertools.product((False, True), repeat=whole):
        kinds = iter(tokens)
        tensors = [
            _example(network, one, batch, tokens=not isinstance(one, Tensor) and next(kinds, False))
            for one in given
        ]
        if names:
            yield functools.partial(network, **dict(zip(names, tensors, strict=True)))
            continue
        yield functools.partial(network, *tensors)
        if len(tensors) > 1:
            yield functools.partial(network, tuple(tensors))


def _example(network: nn.Module, given: Any, batch: int, *, tokens: bool) -> Tensor:
    first = next(network.parameters(), torch.zeros(()))
    if isinstance(given, Tensor):
        if not given.dim() or not len(given):
            raise SzilardError("a tensor of inputs must hold an example; give [N, ...] with N at least 1")
        return given[:1].to(first.device).repeat(batch, *(1 for _ in given.shape[1:]))
    try:
        shape = [int(side) for side in given]
    except (TypeError, ValueError) as error:
        raise SzilardError(
            f"the shape of an input is a list of whole numbers, not {str(given)[:80]}; for several inputs give a list "
            "of shapes"
        ) from error
    if min(shape, default=1) < 0:
        raise SzilardError(f"the shape {shape} of an input has a negative size; fix it")
    real = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
    return torch.zeros(batch, *shape, device=first.device, dtype=torch.int64 if tokens else real)


def _named(inputs: Inputs) -> str:
    if isinstance(inputs, Tensor):
        return str(list(inputs.shape[1:]))
    if isinstance(inputs, Mapping):
        return ", ".join(f"{name} {_named(one)}" for name, one in inputs.items())
    if all(isinstance(side, int) for side in inputs):
        return str(list(inputs))
    return ", ".join(_named(one) for one in inputs)


def _cuda(network: nn.Module) -> list[torch.device]:
    first = next(network.parameters(), None)
    return [first.device] if first is not None and first.is_cuda else []
