"""How large the noise of measurements is, as users say it."""

from __future__ import annotations

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.solve.checks import float_tensor


class Noise:
    """The standard deviation of the noise of a measurement, or a ratio of signal to it.

    Args:
        deviation: σ, in the units of the measurements; a number, or one for each sample ``[B]``.
        snr: the signal-to-noise ratio of each sample in dB, instead. Neither: no noise.

    Raises:
        SzilardError: if both are given, or one makes no sense.
    """

    def __init__(self, deviation: float | Tensor | None = None, snr: float | None = None) -> None:
        if deviation is not None and snr is not None:
            raise SzilardError("noise and snr say the same; give one of them")
        if snr is not None and not abs(snr) < float("inf"):
            raise SzilardError(f"snr={snr}; give a ratio in dB, or None where there is no noise")
        self.given = None if deviation is None else not_negative(deviation, "noise")
        self.snr = snr

    def __bool__(self) -> bool:
        return self.given is not None or self.snr is not None

    def deviation(self, b: Tensor) -> Tensor | None:
        """σ of each sample ``[B]``; None if there is no noise.

        Args:
            b: measurements ``[B, m]``, with their noise.
        """
        if self.given is not None:
            return for_each(self.given, b, "noise")
        if self.snr is None:
            return None
        ratio = 10 ** (-self.snr / 20)  # of noise to signal; b has both
        return b.double().square().mean(1).sqrt() * ratio / (1 + ratio * ratio) ** 0.5

    def largest_residual(self, b: Tensor, rounding: float) -> Tensor:
        """The largest ‖b - A x‖ that the noise explains ``[B]``, σ (√m + 2): it holds for 99.7 % of samples.

        Args:
            b: measurements ``[B, m]``.
            rounding: what rounding alone makes, as a share of ‖b‖.
        """
        least = rounding * b.double().norm(dim=1)
        deviation = self.deviation(b)
        return least if deviation is None else torch.maximum(deviation * (b.shape[1] ** 0.5 + 2), least)


def not_negative(values: float | Tensor, name: str) -> Tensor:
    """A number that is not negative, or one for each sample, in float64.

    Raises:
        SzilardError: if it is not.
    """
    if isinstance(values, int | float):
        values = torch.tensor(values, dtype=torch.float64)
    tensor = float_tensor(values, name).double()
    if tensor.ndim > 1 or not bool(((tensor >= 0) & tensor.isfinite()).all()):
        raise SzilardError(f"{name}={values}; give a number that is not negative, or one for each sample")
    return tensor


def for_each(values: Tensor, b: Tensor, name: str) -> Tensor:
    """A number for each sample ``[B]``.

    Raises:
        SzilardError: if there are as many as neither one nor the samples.
    """
    if values.ndim and len(values) != len(b):
        raise SzilardError(f"{name} has {len(values)} numbers and b {len(b)} rows; give one for each row")
    return values.to(b.device).expand(len(b))
