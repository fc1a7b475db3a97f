"""A bank of filters on a window: sums of its convolutions with maps, and its correlations with images.

Small filters are applied tap by tap, as one matrix product and shifts; large ones by FFT. Signals are images of
one row.
"""

from __future__ import annotations

import torch
from scipy.fft import next_fast_len
from torch import Tensor, nn
from torch.nn import functional

Pair = tuple[int, int]

DIRECT_TAPS = (
    64  # numbers of a filter up to which taps are faster than FFT (one thread, 126 x 126, 64 filters)
)


class FilterBank(nn.Module):
    """Filters ``[K, C, h, w]`` for images ``[B, C, H, W]`` and maps ``[B, K, P, Q]``.

    Args:
        filters: ``[K, C, h, w]``.
        offset: which number of a filter lies at the position of its code.
        size: (H, W).
        margin: by how many rows and columns an image is larger than a map; 0 is for circular borders.
        circular: whether images are periodic; if not, they are zero outside.
        domain: on which filters as large as the image, or larger, are periodic; None: chosen.
    """

    filters: Tensor

    def __init__(
        self,
        filters: Tensor,
        offset: Pair,
        size: Pair,
        margin: Pair,
        circular: bool,
        domain: Pair | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("filters", filters)
        self.offset, self.size, self.circular, self.margin = offset, size, circular, margin
        height, width = filters.shape[2:]
        self.positions = (size[0] - margin[0], size[1] - margin[1])
        self.direct = filters.shape[1] * height * width <= DIRECT_TAPS and domain is None
        self.domain = domain or size
        if not circular and domain is None:
            # Reads beyond the image find zeros, not its other side.
            self.domain = (
                next_fast_len(size[0] + height - 1 - margin[0], real=True),
                next_fast_len(size[1] + width - 1 - margin[1], real=True),
            )
        self._known: tuple[Tensor, int, Tensor] | None = None  # filters, their version, their transforms

    def learn(self) -> nn.Parameter:
        """Make the filters, a copy of those that were given, a parameter, and return it."""
        if "filters" in self._buffers:
            self.filters = nn.Parameter(self._buffers.pop("filters").clone())  # type: ignore[union-attr]
            self._known = None
        return self.filters  # type: ignore[return-value]

    def resized(self, size: Pair) -> FilterBank:
        """A copy for images of another size."""
        return FilterBank(self.filters.detach().clone(), self.offset, size, self.margin, self.circular)

    def spectrum(self) -> Tensor:
        """Transforms of the filters, ``[K, C, ...]``; kept while the filters stay as they are."""
        if self.filters.requires_grad:
            return self._transform()
        version = self.filters._version
        if self._known is None or self._known[0] is not self.filters or self._known[1] != version:
            self._known = (self.filters, version, self._transform())
        return self._known[2]

    def _transform(self) -> Tensor:
        return transform(self.filters, self.domain, self.offset)

    def combine(self, maps: Tensor) -> Tensor:
        """Σ_k filter_k * map_k: ``[B, K, P, Q] -> [B, C, H, W]``. Only for an offset of (0, 0)."""
        if not self.direct:
            sums = torch.einsum("bkxy,kcxy->bcxy", torch.fft.rfft2(maps, s=self.domain), self.spectrum())
            return torch.fft.irfft2(sums, s=self.domain)[..., : self.size[0], : self.size[1]]
        height, width = self.filters.shape[2:]
        taps = self.filters.flatten(1).t() @ maps.flatten(2)
        full = (self.positions[0] + height - 1, self.positions[1] + width - 1)
        images = functional.fold(taps, full, (height, width))
        if not self.circular:
            return images
        rows, columns = self.size
        images = images[:, :, :rows] + functional.pad(images[:, :, rows:], (0, 0, 0, 2 * rows - full[0]))
        return images[..., :columns] + functional.pad(images[..., columns:], (0, 2 * columns - full[1]))

    def correlate(self, images: Tensor) -> Tensor:
        """The product of every shifted filter with the images: ``[B, C, H, W] -> [B, K, P, Q]``."""
        rows, columns = self.positions
        if not self.direct:
            products = torch.einsum(
                "bcxy,kcxy->bkxy", torch.fft.rfft2(images, s=self.domain), self.spectrum().conj()
            )
            return torch.fft.irfft2(products, s=self.domain)[..., :rows, :columns]
        height, width = self.filters.shape[2:]
        top, left = self.offset
        if self.circular:
            if top or left:
                images = images.roll((top, left), (2, 3))
            images = torch.cat((images, images[:, :, : height - 1]), 2)
            images = torch.cat((images, images[..., : width - 1]), 3)
        elif self.filters.shape[2:] != (self.margin[0] + 1, self.margin[1] + 1):
            below, right = height - 1 - self.margin[0] - top, width - 1 - self.margin[1] - left
            images = functional.pad(images, (left, right, top, below))
        taps = functional.unfold(images, (height, width))
        return (self.filters.flatten(1) @ taps).unflatten(2, (rows, columns))


def transform(filters: Tensor, domain: Pair, offset: Pair = (0, 0)) -> Tensor:
    """FFT over the last two axes of filters ``[..., h, w]`` that are laid into a domain, ``offset`` at its origin."""
    spare = (domain[0] - filters.shape[-2], domain[1] - filters.shape[-1])
    laid = functional.pad(filters, (0, spare[1], 0, spare[0]))
    if any(offset):
        laid = laid.roll((-offset[0], -offset[1]), (-2, -1))
    return torch.fft.rfft2(laid)
