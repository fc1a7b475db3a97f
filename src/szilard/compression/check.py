"""Check the network and the arguments of a compression."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from numbers import Integral, Real

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from szilard.compression.finite import all_finite
from szilard.compression.promise import check_confidence
from szilard.errors import SzilardError, SzilardWarning, first_line, printable
from szilard.likelihood import TASKS
from szilard.networks.ensemble import ensemble_in

MUCH = 0.3  # a drop of this share of the score was probably meant in percentage points


def check_network(network: object) -> None:
    """Refuse objects that are not networks, and weights that are uninitialised, NaN, infinite or too large.

    Raises:
        SzilardError: names the tensor and what to do.
    """
    if not isinstance(network, nn.Module):
        given = "a dict of tensors" if isinstance(network, dict) else f"a {type(network).__name__}"
        raise SzilardError(f"the network is {given}; give the torch.nn.Module that holds the weights")
    ensemble = ensemble_in(network)
    if ensemble is not None:
        raise SzilardError(
            f"the network is an ensemble of {len(ensemble.members)} networks, and one is compressed at a time; give a "
            "member in Python, szilard.compress(network.members[0], ...)"
        )
    for name, tensor in _tensors(network):
        shown = printable(name)
        if is_lazy(tensor):
            raise SzilardError(
                f"{shown} has no shape yet; call the network once on a batch before compressing it"
            )
        if tensor.is_meta:
            raise SzilardError(
                f"{shown} is on the meta device and has no values; load the network's weights first"
            )
        if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.layout is not torch.strided:
            continue
        value = tensor.detach()
        weight = isinstance(tensor, nn.Parameter)  # buffers can be attention masks with minus infinity
        odd = not all_finite(value) if weight else bool(value.isnan().any())
        if odd:
            raise SzilardError(f"{shown} has NaN or infinite values; fix the network before compressing it")
        wide = torch.float64 if tensor.dtype is torch.float64 else torch.float32
        largest = math.sqrt(torch.finfo(wide).max)
        if isinstance(tensor, nn.Parameter) and bool((tensor.detach().abs() > largest).any()):
            raise SzilardError(
                f"{shown} has values above {largest:.1e}, whose squares are too large; scale the network"
            )


def check_weights(network: nn.Module, values: int) -> None:
    """Refuse a network without weights.

    Raises:
        SzilardError: it has none.
    """
    if values:
        return
    if isinstance(network, torch.jit.ScriptModule):
        raise SzilardError(
            "the TorchScript module has no weights, perhaps because it is frozen; give it unfrozen"
        )
    raise SzilardError("the network has no weights; nothing can be compressed")


def _tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from network.named_parameters()
    yield from network.named_buffers()


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def check_share(max_drop: float | None) -> None:
    """Refuse a drop above 1, and warn about one that was probably meant in percentage points.

    Raises:
        SzilardError: it is above 1.
    """
    if max_drop is None or max_drop < MUCH:
        return
    share = "max_drop is a share of 1, and 0.005 is half a percentage point"
    if max_drop > 1:
        raise SzilardError(f"max_drop is {max_drop:g}; {share}")
    warnings.warn(f"max_drop = {max_drop:g} allows nearly any network: {share}", SzilardWarning, stacklevel=3)


def check_functions(evaluate: object, forward: object, seed: object, meta: object) -> None:
    """Refuse functions that cannot be called, seeds that are not whole numbers, and metadata that are not a mapping.

    Raises:
        SzilardError: one of them is wrong.
    """
    for name, given in (("evaluate", evaluate), ("forward", forward)):
        if given is not None and not callable(given):
            raise SzilardError(f"{name} is {given!r}; give a function")
    if not isinstance(seed, Integral):
        raise SzilardError(f"seed must be a whole number, not {seed!r}")
    if meta is not None and not isinstance(meta, Mapping):
        raise SzilardError(f"meta is a {type(meta).__name__}; give a dict")


def check_goal(
    max_drop: float | None, max_bytes: int | None, lam: float | None, confidence: float, task: str | None
) -> None:
    """Refuse goals that exclude each other, and numbers out of range.

    Raises:
        SzilardError: one of them is wrong.
    """
    if sum(goal is not None for goal in (max_drop, max_bytes, lam)) > 1:
        raise SzilardError("give one of max_drop, max_bytes and lam; the others follow from it")
    for name, value in (("max_drop", max_drop), ("lam", lam), ("confidence", confidence)):
        needed = name == "confidence"
        if (value is not None or needed) and not _is_number(value):
            raise SzilardError(f"{name} must be a number, not {value!r}")
    if max_bytes is not None and not (_is_number(max_bytes) and max_bytes % 1 == 0):
        raise SzilardError(f"max_bytes must be a whole number of bytes, not {max_bytes!r}")
    if lam is not None and not (lam > 0 and math.isfinite(lam)):
        raise SzilardError(f"lam must be a positive number of nats per bit, not {lam}")
    if max_bytes is not None and not max_bytes >= 1:
        raise SzilardError(f"max_bytes must be a positive number of bytes, not {max_bytes}")
    if max_drop is not None and not max_drop >= 0:  # NaN is caught, too
        raise SzilardError(f"max_drop must not be negative, but is {max_drop}")
    check_confidence(confidence)
    if task is not None and task not in TASKS:
        raise SzilardError(f"task is {task!r}; take one of {', '.join(TASKS)}")


def shape_of(given: object) -> tuple[int, ...]:
    """The shape of one input.

    Raises:
        SzilardError: it is not a shape.
    """
    try:
        shape = tuple(int(side) for side in given)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        shape = ()
    if not shape or min(shape) < 1:
        raise SzilardError(f"input_shape is {given!r}; give the sides of one input, such as (3, 32, 32)")
    return shape


@torch.no_grad()
def check_shape(network: nn.Module, shape: tuple[int, ...]) -> None:
    """Refuse inputs that a network does not take.

    Raises:
        SzilardError: with the network's error for a batch of two.
    """
    like = next(p for p in network.parameters() if p.is_floating_point())
    try:
        network(torch.zeros(2, *shape, dtype=like.dtype, device=like.device))
    except Exception as error:
        raise SzilardError(
            f"the network does not take inputs [B, {', '.join(map(str, shape))}] (input_shape, which leaves out the "
            f"batch): {first_line(error)}"
        ) from error
