"""Whether a network can be compressed at all, and whether what was asked for can be."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from szilard.compress.promise import check_confidence
from szilard.errors import SzilardError, printable
from szilard.likelihood import TASKS


def check_network(network: object) -> None:
    """Refuse what is no network, and weights that are not there yet, or are no numbers.

    Raises:
        SzilardError: the layer and what to do.
    """
    if not isinstance(network, nn.Module):
        told = "its tensors alone" if isinstance(network, dict) else f"a {type(network).__name__}"
        raise SzilardError(f"the network is {told}; give the torch.nn.Module that holds the weights")
    for name, tensor in _tensors(network):
        shown = printable(name)
        if is_lazy(tensor):
            raise SzilardError(
                f"{shown} has no shape yet; call the network once on a batch before compressing it"
            )
        if tensor.is_meta:
            raise SzilardError(
                f"{shown} is on the meta device, where there are no values; load the network's weights first"
            )
        if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.layout is not torch.strided:
            continue
        if isinstance(tensor, nn.Parameter):
            odd = not bool(torch.isfinite(tensor.detach()).all())
        else:
            odd = bool(torch.isnan(tensor).any())  # masks of attention are minus infinity
        if odd:
            raise SzilardError(f"{shown} has NaN or infinite values; mend the network before compressing it")
        wide = torch.float64 if tensor.dtype is torch.float64 else torch.float32
        largest = math.sqrt(torch.finfo(wide).max)
        if isinstance(tensor, nn.Parameter) and bool((tensor.detach().abs() > largest).any()):
            raise SzilardError(
                f"{shown} has values above {largest:.1e}, whose squares are too large; scale the network"
            )


def check_weights(network: nn.Module, values: int) -> None:
    """Refuse a network without a value in its weights.

    Raises:
        SzilardError: it has none.
    """
    if values:
        return
    if isinstance(network, torch.jit.ScriptModule):
        raise SzilardError("the TorchScript module has no weights, perhaps as it is frozen; give it unfrozen")
    raise SzilardError("the network has no weights; nothing can be compressed")


def _tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from network.named_parameters()
    yield from network.named_buffers()


def check_wishes(
    max_drop: float | None, max_bytes: int | None, lam: float | None, confidence: float, task: str | None
) -> None:
    """Refuse wishes that contradict each other, and numbers that cannot be.

    Raises:
        SzilardError: there are some.
    """
    if sum(wish is not None for wish in (max_drop, max_bytes, lam)) > 1:
        raise SzilardError("give one of max_drop, max_bytes and lam; the others follow from it")
    if lam is not None and not (lam > 0 and math.isfinite(lam)):
        raise SzilardError(f"lam must be a positive number of nats per bit, not {lam}")
    if max_bytes is not None and not max_bytes >= 1:
        raise SzilardError(f"max_bytes must be a positive number of bytes, not {max_bytes}")
    if max_drop is not None and not max_drop >= 0:  # NaN is caught, too
        raise SzilardError(f"max_drop must not be negative, and is {max_drop}")
    check_confidence(confidence)
    if task is not None and task not in TASKS:
        raise SzilardError(f"task is {task!r}; take one of {', '.join(TASKS)}")
