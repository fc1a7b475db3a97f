r"""Convolutional dictionaries: signals and images as sums of filters convolved with sparse maps, b = Σ_k d_k * x_k.

Every solver takes a :class:`Convolution`. A code at position p places a filter with its first number at p. Borders:

* ``"circular"``: images are periodic, and there is a code for each position;
* ``"zero"``: filters lie wholly inside the image, and maps are smaller than it by the filter's size less one. Then each
  column of A is a whole filter, whatever its position, and the product is ``numpy.convolve(map, filter, "full")``.
  Pad an image for filters that leave it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from szilard.errors import SzilardError
from szilard.solve.checks import float_tensor
from szilard.solve.convolution_weight import ConvolutionWeight, gram
from szilard.solve.filter_bank import FilterBank, transform
from szilard.solve.operators import Operator

BORDERS = ("circular", "zero")


class Convolution(Operator):
    """The sum of filters convolved with maps.

    Codes are rows ``[B, K · positions]`` and measurements rows ``[B, C · size]``; :meth:`maps`, :meth:`images` and
    :meth:`rows` view them as what they are.

    Args:
        filters: ``[K, h]`` for signals, ``[K, h, w]`` for images; with channels ``[K, C, h]``, ``[K, C, h, w]``.
        size: of the signals or images: N, or (H, W).
        border: "circular" or "zero".
        window: size of the analytic weight's filters, in sizes of the dictionary's (1, 3, ...); None keeps them whole.
            A cut weight needs fewer products and stays feasible, w_iᵀ a_i = 1, but is more coherent.

    Raises:
        SzilardError: if a filter is zero, not finite, or larger than the size; for unknown borders.
    """

    def __init__(
        self,
        filters: Any,
        size: int | tuple[int, ...],
        border: str = "circular",
        window: float | None = None,
    ) -> None:
        super().__init__()
        if border not in BORDERS:
            raise SzilardError(f"border={border!r}; give one of {', '.join(BORDERS)}")
        if window is not None and not 1 <= window < float("inf"):
            raise SzilardError(f"window={window}; give a multiple of the filters' size, at least 1, or None")
        self.size = (size,) if isinstance(size, int) else tuple(int(length) for length in size)
        kernels = _filters(filters, self.size)
        self.border, self.window = border, window
        self.channels = kernels.ndim == len(self.size) + 2
        if not self.channels:
            kernels = kernels.unsqueeze(1)
        if len(self.size) == 1:
            kernels = kernels.unsqueeze(2)
        height, width = kernels.shape[2:]
        margin = (0, 0) if border == "circular" else (height - 1, width - 1)
        self.bank = FilterBank(kernels.contiguous(), (0, 0), self._grid, margin, border == "circular")
        self.shape = (
            kernels.shape[1] * self._grid[0] * self._grid[1],
            len(kernels) * self.bank.positions[0] * self.bank.positions[1],
        )

    @property
    def _grid(self) -> tuple[int, int]:
        return (1, self.size[0]) if len(self.size) == 1 else (self.size[0], self.size[1])

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        return self.bank.filters.dtype

    @property
    def device(self) -> torch.device:
        return self.bank.filters.device

    @property
    def filters(self) -> Tensor:
        """The filters, in the shape in which they were given."""
        kernels = self.bank.filters
        if len(self.size) == 1:
            kernels = kernels.squeeze(2)
        return kernels if self.channels else kernels.squeeze(1)

    def learn(self) -> nn.Parameter:
        """Make the filters a parameter, and return it (``[K, C, h, w]``)."""
        return self.bank.learn()

    # -- views --------------------------------------------------------------------------------------------

    def maps(self, x: Tensor) -> Tensor:
        """Codes ``[B, n]`` as maps, ``[B, K, positions]`` or ``[B, K, rows, columns]``."""
        return x.reshape(len(x), -1, *self.bank.positions[-len(self.size) :])

    def images(self, b: Tensor) -> Tensor:
        """Measurements ``[B, m]`` as signals ``[B, N]`` or images ``[B, H, W]``; with channels ``[B, C, ...]``."""
        return b.reshape(len(b), *((-1,) if self.channels else ()), *self.size)

    def rows(self, images: Any) -> Tensor:
        """Signals, images or maps ``[B, ...]`` as rows, the way solvers take them."""
        return float_tensor(images, "the array of images").flatten(1)

    # -- products -----------------------------------------------------------------------------------------

    def product(self, x: Tensor, active: float = 1.0) -> Tensor:
        return self.bank.combine(x.reshape(len(x), -1, *self.bank.positions)).flatten(1)

    def adjoint(self, residual: Tensor) -> Tensor:
        return self.bank.correlate(residual.reshape(len(residual), -1, *self._grid)).flatten(1)

    def dense(self) -> Tensor:
        """The matrix ``[m, n]``, for algorithms that need it; only for small sizes."""
        return self.product(torch.eye(self.shape[1], dtype=self.dtype, device=self.device)).t()

    def largest_eigenvalue(self) -> float:
        """The largest eigenvalue of AᵀA, found frequency by frequency; of zero borders a bound from above."""
        spectrum = transform(self.bank.filters.detach().double(), self._grid)
        return float(torch.linalg.eigvalsh(gram(spectrum))[..., -1].max())

    # -- what solvers with a weight need ------------------------------------------------------------------

    def column_norms(self) -> Tensor:
        norms = self.bank.filters.detach().double().flatten(1).norm(dim=1)
        return norms.repeat_interleave(self.shape[1] // len(norms))

    def unit_columns(self) -> Convolution:
        norms = self.bank.filters.detach().double().flatten(1).norm(dim=1).to(self.dtype)
        filters = self.filters.detach()
        return Convolution(
            filters / norms.view(-1, *(1,) * (filters.ndim - 1)), self.size, self.border, self.window
        )

    def weight(self, algorithm: str, instead: str, damping: float = 0.0) -> ConvolutionWeight:
        return ConvolutionWeight(self.bank, damping, self.window)

    def resized(self, size: int | tuple[int, ...]) -> Convolution:
        """The same filters for signals or images of another size."""
        return Convolution(self.filters.detach(), size, self.border, self.window)


def _filters(given: Any, size: tuple[int, ...]) -> Tensor:
    if len(size) not in (1, 2) or min(size) < 1:
        raise SzilardError(f"size={size}; give the length of the signals, or rows and columns of the images")
    filters = float_tensor(given, "the array of filters").detach()
    if filters.ndim not in (len(size) + 1, len(size) + 2) or 0 in filters.shape:
        what = "[K, h] or [K, channels, h]" if len(size) == 1 else "[K, h, w] or [K, channels, h, w]"
        raise SzilardError(f"filters have shape {tuple(filters.shape)}; for size {size} give {what}")
    extent = tuple(filters.shape[-len(size) :])
    if any(length > room for length, room in zip(extent, size, strict=True)):
        raise SzilardError(
            f"filters of {_by(extent)} are larger than the size, {_by(size)}; give smaller filters or larger images"
        )
    flat = filters.flatten(1)
    for bad, what in (((~torch.isfinite(flat)).any(1), "not finite"), ((flat == 0).all(1), "zero")):
        if bad.any():
            raise SzilardError(f"filter {int(bad.nonzero()[0])} is {what}; remove or mend it")
    return filters


def _by(lengths: tuple[int, ...]) -> str:
    return " x ".join(map(str, lengths))
