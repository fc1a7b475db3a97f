"""Units of inputs and of targets, as parts of the compiled graph: its users give and get numbers in their own units."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from szilard.errors import SzilardError, SzilardWarning, shortened

_TINY = torch.finfo(torch.float32).tiny
_MANTISSA = 23  # bits of float32 after the first
_COARSE = 0.01  # of the scale, a rounding error worth a warning
_BLIND = 0.25  # of the scale, steps with which most values of an input are lost
_SMALLEST = 1e-15  # scale of a target: its square, times a relative variance of 1e-7, is a normal number


@dataclass(frozen=True)
class Units:
    """How numbers of the user become numbers of the network: (number - shift) / scale.

    Attributes:
        shift: scalar, or a tensor that broadcasts to one input or one target.
        scale: of the same form; positive.
        names: of features or targets, for messages; may be empty.

    Raises:
        SzilardError: a part is no number or has none, is not finite in float32, a scale is not positive, or their
            shapes do not fit each other.
    """

    shift: Tensor | float
    scale: Tensor | float
    names: Sequence[str] = ()

    def __post_init__(self) -> None:
        for part, value in (("shift", self.shift), ("scale", self.scale)):
            if isinstance(value, bool | str) or _numbers(value) is None:
                raise SzilardError(
                    f"the {part} of units must be a number or a tensor of numbers, not {shortened(repr(value), 60)}"
                )
        shift, scale = self.tensors()
        if not bool(torch.isfinite(shift).all() & torch.isfinite(scale).all() & (scale > 0).all()):
            shown = [shortened(str(torch.as_tensor(one).tolist()), 60) for one in (self.shift, self.scale)]
            raise SzilardError(
                f"units must have a finite shift and a finite, positive scale in float32, not {shown[0]} and {shown[1]}"
            )
        try:
            torch.broadcast_shapes(shift.shape, scale.shape)
        except RuntimeError:
            raise SzilardError(
                f"the shift of units has shape {list(shift.shape)} and the scale {list(scale.shape)}; give both for "
                "the same inputs or targets"
            ) from None

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Shift and scale in float32."""
        return torch.as_tensor(self.shift, dtype=torch.float32), torch.as_tensor(
            self.scale, dtype=torch.float32
        )

    def coarse(self, share: float = _COARSE) -> str:
        """What float32 cannot tell apart in these units, as a clause; empty if nothing.

        Numbers near ``shift`` then have steps of more than ``share`` times ``scale``, as times since 1970 can.
        """
        shift, scale = (part.double() for part in torch.broadcast_tensors(*self.tensors()))
        steps = torch.exp2(shift.abs().clamp_min(_TINY).log2().floor() - _MANTISSA)
        bad = (steps > share * scale).flatten().nonzero().flatten().tolist()
        if not bad:
            return ""
        first = bad[0]
        name = f"{shortened(self.names[first], 60)!r}" if len(self.names) == steps.numel() else str(first)
        more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
        return (
            f"{name} has values near {float(shift.flatten()[first]):.6g} with a deviation of "
            f"{float(scale.flatten()[first]):.3g}, where float32 has steps of {float(steps.flatten()[first]):.3g}{more}"
        )

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
        return ((x - self.shift) / self.scale).to(x.dtype)


class CoarseWarning(SzilardWarning):
    """A compiled network rounds some inputs or answers, because of their units."""


def _numbers(value: object) -> Tensor | None:
    """Real numbers, at least one; None for anything else."""
    try:
        found = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
    real = not found.is_complex() and found.dtype != torch.bool
    return found if real and found.numel() else None


def check_steps(inputs: Units | None, targets: Units | None) -> None:
    """Warn of an input or a target whose values float32, the type of compiled graphs, rounds too coarsely.

    Raises:
        SzilardError: float32 has only a few steps in the deviation of an input, so that no answer could be right.
    """
    lost = "" if inputs is None else inputs.coarse(_BLIND)
    if lost:
        raise SzilardError(
            f"input {lost}, so that a compiled network cannot tell its values apart; subtract a constant from the "
            "column and train again"
        )
    for what, units in (("input", inputs), ("target", targets)):
        clause = "" if units is None else units.coarse()
        if clause:
            warnings.warn(
                f"{what} {clause}, so that the compiled network rounds its values; subtract a constant from the column "
                "and train again",
                CoarseWarning,
                stacklevel=3,
            )


def checked_targets(units: Units) -> Units:
    """Units of targets, if float32 holds variances in their squares.

    Raises:
        SzilardError: it does not.
    """
    _, scale = units.tensors()
    bad = ((scale < _SMALLEST) | (scale > 1 / _SMALLEST)).flatten().nonzero().flatten().tolist()
    if bad:
        named = len(units.names) == scale.numel()
        which = f"target {shortened(units.names[bad[0]], 60)!r}" if named else "a target"
        raise SzilardError(
            f"{which} has a deviation of {float(scale.flatten()[bad[0]]):.3g}, and variances in the square of such a "
            f"unit leave the range of float32; convert the column to a unit in which it is between {_SMALLEST:g} and "
            f"{1 / _SMALLEST:g} and train again (in Python: or leave targets out)"
        )
    return units


def checked(units: Units, example: Tensor) -> Units:
    """Units of inputs, if inputs like these can have them.

    Args:
        example: ``[B, *shape]``.

    Raises:
        SzilardError: inputs that are not floating point, or units of another shape.
    """
    shape = tuple(example.shape[1:])
    if not example.is_floating_point():
        raise SzilardError(
            f"inputs of type {str(example.dtype).removeprefix('torch.')} have no units; leave them out"
        )
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
