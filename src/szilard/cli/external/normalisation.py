"""``--mean`` and ``--std``: the normalisation that an external network was trained with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from szilard.data import DataSet
from szilard.errors import SzilardError


@dataclass(frozen=True)
class Normalisation:
    """Numbers separated by commas, as typed; None where an option was not given."""

    mean: str | None = None
    std: str | None = None

    @property
    def typed(self) -> bool:
        return self.mean is not None or self.std is not None

    def of(self, data: DataSet) -> DataSet:
        """The data set normalised by it, channel by channel, or column by column.

        Raises:
            SzilardError: one without the other, or numbers that do not fit.
        """
        if not self.typed:
            return data
        return data.renormalised(*self.numbers(data.input_shape))

    def numbers(self, input_shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Shift and scale, broadcastable to inputs.

        Raises:
            SzilardError: as :meth:`of`.
        """
        return _channels(self.mean, input_shape, "--mean"), _channels(self.std, input_shape, "--std")


def _channels(text: str | None, input_shape: tuple[int, ...], name: str) -> Tensor:
    if text is None:
        raise SzilardError("give --mean and --std together, each as numbers separated by commas")
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        raise SzilardError(
            f"{name} is {text!r}; write numbers separated by commas, like 0.5,0.5,0.5"
        ) from None
    if len(values) not in (1, input_shape[0]):
        raise SzilardError(f"{name} has {len(values)} numbers; give one, or one for each of {input_shape[0]}")
    if name == "--std" and min(values) <= 0:
        raise SzilardError(f"--std must be positive, and is {text}")
    kind = torch.float64 if len(input_shape) == 1 else torch.float32  # a column can hold a time in seconds
    return torch.tensor(values, dtype=kind).expand(input_shape[0]).reshape(-1, *[1] * (len(input_shape) - 1))
