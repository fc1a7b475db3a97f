r"""The analytic weight of a convolutional dictionary, in closed form at each frequency.

A Aᵀ is diagonal in the frequencies: for one channel it is Σ_k |d̂_k|², so that w_k is d_k divided by it, scaled such
that w_kᵀ d_k = 1. With C channels it is a matrix C x C at each frequency. For circular borders this is the closed form
of the dense matrix. Filters that lie wholly inside an image with zero borders are columns of a larger circular
dictionary; its weight is feasible for them, and no more coherent.

One filter alone makes A square: its weight is the inverse filter, of coherence 0, and amplifies noise without damping.
"""

from __future__ import annotations

from copy import copy
from functools import cached_property

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from szilard.errors import SzilardError
from szilard.solve.filter_bank import FilterBank, Pair, transform
from szilard.solve.weight import SINGULAR, OperatorWeight

_AT_ONCE = 2**24  # numbers of the products of filters that are made at once


def gram(spectrum: Tensor) -> Tensor:
    """A Aᵀ at each frequency: ``[K, C, X, Y] -> [X, Y, C, C]``."""
    return torch.einsum("kcxy,kdxy->xycd", spectrum, spectrum.conj())


class ConvolutionWeight(OperatorWeight):
    """The analytic weight of a bank of filters of unit norm.

    Args:
        bank: the dictionary.
        damping: added to A Aᵀ, as a share of the mean of its diagonal.
        window: size of the weight's filters in sizes of the dictionary's; None keeps them whole.

    Attributes:
        of_filters: d of each filter, ``[K]``.

    Raises:
        SzilardError: if A Aᵀ vanishes at a frequency, and there is no damping.
    """

    diagonal: Tensor

    def __init__(self, bank: FilterBank, damping: float = 0.0, window: float | None = None) -> None:
        super().__init__()
        filters = bank.filters.detach()
        height, width = filters.shape[2:]
        whole = bank.size
        if not bank.circular:
            whole = (_padded(whole[0], height), _padded(whole[1], width))
        full, self.of_filters = frequency_weight(filters.double(), whole, damping)
        self._dictionary, self._whole, self._damping, self._window = filters, whole, damping, window
        kernels, offset = (full, (0, 0)) if window is None else _cut(full, filters.double(), window)
        domain = whole if window is None else None
        self.bank = FilterBank(
            kernels.to(filters.dtype).contiguous(), offset, bank.size, bank.margin, bank.circular, domain
        )
        places = self.bank.positions[0] * self.bank.positions[1]
        self.register_buffer("diagonal", self.of_filters.to(filters.dtype).repeat_interleave(places))

    def resized(self, bank: FilterBank) -> ConvolutionWeight:
        """The same weight for a dictionary of another image size; its filters have to be cut.

        Args:
            bank: the dictionary at that size.
        """
        if self._window is None:
            raise SzilardError("the weight's filters are as large as the image; give window=3 to cut them")
        other = copy(self)
        other._modules, other._buffers = dict(self._modules), dict(self._buffers)
        other.bank = self.bank.resized(bank.size)
        places = other.bank.positions[0] * other.bank.positions[1]
        other.diagonal = self.of_filters.to(self.diagonal).repeat_interleave(places)
        return other

    def transposed(self, residual: Tensor) -> Tensor:
        images = residual.reshape(len(residual), -1, *self.bank.size)
        return self.bank.correlate(images).flatten(1)

    @cached_property
    def coherence(self) -> float:  # type: ignore[override]
        """The largest product of a filter of the weight with another filter, or with the same one elsewhere."""
        weight = self.bank.filters.detach().double()
        return coherence(weight, self._dictionary.to(weight), self.bank.offset, self._whole)

    @cached_property
    def whole_coherence(self) -> float:
        """What :attr:`coherence` is if the weight's filters are not cut."""
        filters = self._dictionary.double()
        weight, _ = frequency_weight(filters, self._whole, self._damping)
        return coherence(weight, filters, (0, 0), self._whole)


def frequency_weight(filters: Tensor, domain: Pair, damping: float = 0.0) -> tuple[Tensor, Tensor]:
    """The closed form on a periodic domain.

    Args:
        filters: ``[K, C, h, w]``, float64.
        domain: (X, Y).
        damping: added to A Aᵀ, as a share of the mean of its diagonal.

    Returns:
        Filters of the weight ``[K, C, X, Y]``, the code's position at the origin, and d ``[K]``.

    Raises:
        SzilardError: if A Aᵀ vanishes at a frequency, and there is no damping.
    """
    height, width = filters.shape[2:]
    spectrum = transform(filters, domain)
    products = gram(spectrum)
    channels = filters.shape[1]
    ridge = damping * float(filters.square().sum()) / channels
    products = products + ridge * torch.eye(channels, dtype=products.dtype, device=products.device)
    values = torch.linalg.eigvalsh(products) if channels > 1 else products[..., 0].real
    largest, least = float(values.max()), float(values.min())
    if least <= SINGULAR * largest:
        lost = int((values[..., 0] <= SINGULAR * largest).sum())
        raise SzilardError(
            f"the filters leave out {lost} of {values[..., 0].numel()} frequencies (least eigenvalue of A Aᵀ "
            f"{least / largest:.0e} of the largest), so that the closed form of their weight does not exist; add a "
            "filter that passes them, such as a single 1, or give damping=1e-6"
        )
    if channels == 1:
        solved = spectrum / products[..., 0, 0]
    else:
        solved = torch.linalg.solve(products, spectrum.permute(2, 3, 1, 0)).permute(3, 2, 0, 1)
    full = torch.fft.irfft2(solved, s=domain)
    diagonal = (full[..., :height, :width] * filters).flatten(1).sum(1)
    return full / diagonal[:, None, None, None], diagonal


def _cut(full: Tensor, filters: Tensor, window: float) -> tuple[Tensor, Pair]:
    """Filters of the weight in a window around the dictionary's, with w_kᵀ d_k = 1 again; the window's offset."""
    lengths = [
        min(round(window * inner), outer)
        for inner, outer in zip(filters.shape[2:], full.shape[2:], strict=True)
    ]
    offset = tuple((outer - inner) // 2 for inner, outer in zip(filters.shape[2:], lengths, strict=True))
    kernels = full.roll(offset, (2, 3))[..., : lengths[0], : lengths[1]]
    height, width = filters.shape[2:]
    inside = kernels[..., offset[0] : offset[0] + height, offset[1] : offset[1] + width]
    # The window holds the whole filter: the product stays 1, but for rounding.
    return kernels / (inside * filters).flatten(1).sum(1)[:, None, None, None], (offset[0], offset[1])


def coherence(weight: Tensor, filters: Tensor, offset: Pair, domain: Pair) -> float:
    """The largest |product| of a filter of the weight with a shifted filter, but that of a filter with itself.

    Args:
        weight: ``[K, C, a, b]``; the code's position is at ``offset``.
        filters: ``[K, C, h, w]``.
        offset: of the weight.
        domain: on which they are periodic.
    """
    shape = tuple(
        min(outer, int(next_fast_len(first + second - 1, real=True)))
        for outer, first, second in zip(domain, weight.shape[2:], filters.shape[2:], strict=True)
    )
    extent = (shape[0], shape[1])
    dictionary = transform(filters, extent).conj()
    largest = 0.0
    at_once = max(1, _AT_ONCE // (len(filters) * extent[0] * extent[1]))
    for first in range(0, len(weight), at_once):
        some = transform(weight[first : first + at_once], extent)
        products = torch.fft.irfft2(torch.einsum("kcxy,lcxy->klxy", some, dictionary), s=extent).abs()
        own = torch.arange(len(some), device=products.device)
        products[own, own + first, offset[0], offset[1]] = 0
        largest = max(largest, float(products.max()))
    return largest


def _padded(size: int, filter_size: int) -> int:
    return int(next_fast_len(size + 2 * (filter_size - 1), real=True))
