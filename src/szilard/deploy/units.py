"""Units of inputs and of targets, as parts of the compiled graph: its users give and get numbers in their own units."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from szilard.errors import SzilardError


@dataclass(frozen=True)
class Units:
    """How numbers of the user become numbers of the network: (number - shift) / scale.

    Attributes:
        shift: scalar, or a tensor that broadcasts to one input or one target.
        scale: of the same form; positive.
    """

    shift: Tensor | float
    scale: Tensor | float

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Shift and scale in float32.

        Raises:
            SzilardError: one is not finite, or a scale is not positive.
        """
        shift, scale = (torch.as_tensor(part, dtype=torch.float32) for part in (self.shift, self.scale))
        if not bool(torch.isfinite(shift).all() & torch.isfinite(scale).all() & (scale > 0).all()):
            raise SzilardError("units must have a finite shift and a finite, positive scale")
        return shift, scale

    @property
    def trivial(self) -> bool:
        """Whether they change nothing."""
        shift, scale = self.tensors()
        return not bool(shift.any()) and bool((scale == 1).all())


class Standardise(nn.Module):
    """Inputs ``[B, *shape]`` from the user's units to the network's."""

    shift: Tensor
    scale: Tensor

    def __init__(self, units: Units) -> None:
        super().__init__()
        shift, scale = units.tensors()
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.shift) / self.scale


def checked(units: Units, example: Tensor) -> Units:
    """Units of inputs, if inputs like these can have them.

    Args:
        example: ``[B, *shape]``.

    Raises:
        SzilardError: inputs that are not floating point, or units of another shape.
    """
    shape = tuple(example.shape[1:])
    if not example.is_floating_point():
        raise SzilardError(f"inputs of type {str(example.dtype).removeprefix('torch.')} have no units")
    for part in units.tensors():
        try:
            fits = torch.broadcast_shapes(part.shape, shape) == shape
        except RuntimeError:
            fits = False
        if not fits:
            raise SzilardError(
                f"units of shape {list(part.shape)} do not fit inputs of shape {list(shape)}; give one number, or one "
                "for each channel or feature"
            )
    return units
