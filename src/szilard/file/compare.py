"""The differences between the tensors of a file and other tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.file.error import printable
from szilard.file.state import contiguous

# Values of E2M1 by their bits, from the OCP Microscaling Formats specification 1.0.
_FLOAT4 = [sign * value for sign in (1, -1) for value in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)]


@dataclass(frozen=True)
class Difference:
    """The difference between two tensors of the same name.

    Attributes:
        identical: whether they have the same bits.
        largest: the largest absolute difference; NaN if an entry is NaN in one and not in the other.
        relative: root mean square of the difference over that of the other tensor.
    """

    name: str
    identical: bool
    largest: float
    relative: float


def compare(
    state: Mapping[str, Tensor], other: Mapping[str, Tensor], names: tuple[str, str]
) -> list[Difference]:
    """Compare the tensors of a state dict with those of another, in order.

    Args:
        names: what to call the two in messages.

    Raises:
        SzilardError: they do not have the same tensors with the same types and shapes.
    """
    for name in [*state, *other]:
        here, there = (_describe(one.get(name)) for one in (state, other))
        if here != there:
            raise SzilardError(
                f"{names[0]} and {names[1]} are of two networks: {printable(name)} is {here} in the one and {there} "
                "in the other; name the network that was stored"
            )
    return [_difference(name, tensor, other[name]) for name, tensor in state.items()]


def _describe(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _wide(tensor: Tensor) -> Tensor:
    """In double precision."""
    if tensor.dtype == torch.float4_e2m1fn_x2:  # PyTorch cannot convert it
        packed = tensor.view(torch.uint8)
        return torch.tensor(_FLOAT4, dtype=torch.float64)[torch.stack([packed & 15, packed >> 4], -1).long()]
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def _difference(name: str, tensor: Tensor, other: Tensor) -> Difference:
    tensor, other = (contiguous(one).reshape(-1) for one in (tensor, other))
    if torch.equal(tensor.view(torch.uint8), other.view(torch.uint8)):
        return Difference(name, True, 0.0, 0.0)
    here, there = _wide(tensor), _wide(other)
    apart = (here - there).abs()
    size = there.abs().square().mean().sqrt()
    return Difference(name, False, float(apart.max()), float(apart.square().mean().sqrt() / size))
