"""What a codec does to a field beside its errors: spectra, extremes, means and structure."""

from __future__ import annotations

from typing import Any

import numpy as np

EXTREME = 0.999  #: quantile of the values of a slice
HISTOGRAM = 41  #: bins of errors from -1 to 1 bound


def measures(original: np.ndarray, decoded: np.ndarray, bound: float, latitude: np.ndarray) -> dict[str, Any]:
    """All of this file, of arrays ``[.., latitude, longitude]``.

    Returns:
        ``power``: relative error of the power of each octave of wavenumbers; ``quantile``: error of the 99.9 % quantile
        of the values, and ``bias``: error of the area mean, both in bounds and of the worst slice; ``rms`` of the
        errors in bounds; ``dssim`` of the worst slice; ``errors``: shares of values by error, from -1 to 1 bound;
        ``waves``, ``spectrum`` and ``error_spectrum``: wavenumbers, mean power of the field and of the errors there.
    """
    first, second = (
        values.astype(np.float64).reshape(-1, *values.shape[-2:]) for values in (original, decoded)
    )
    error = second - first
    quantiles = [np.quantile(values, EXTREME, axis=(1, 2)) for values in (first, second)]
    rings, before = spectrum(first)
    of_error = spectrum(error)[1]
    return {
        "power": dict(zip(octaves(rings), power_errors(before, spectrum(second)[1], rings), strict=True)),
        "quantile": float(np.abs(quantiles[1] - quantiles[0]).max()) / bound,
        "bias": float(np.abs(area_means(error, latitude)).max()) / bound,
        "rms": float(np.sqrt((error**2).mean())) / bound,
        "dssim": min(dssim(a, b) for a, b in zip(first, second, strict=True)),
        "errors": (np.histogram(error / bound, HISTOGRAM, (-1, 1))[0] / error.size).round(5).tolist(),
        "waves": _short(smoothed(rings, rings)),
        "spectrum": _short(smoothed(before, rings)),
        "error_spectrum": _short(smoothed(of_error, rings)),
    }


def _short(values: np.ndarray) -> list[float]:
    return [float(f"{value:.4g}") for value in values]


def smoothed(power: np.ndarray, rings: np.ndarray) -> np.ndarray:
    """Mean over the rings of each half of an octave, of those that have rings."""
    place = np.floor(2 * np.log2(rings)).astype(np.int64)
    _, place = np.unique(place, return_inverse=True)
    return np.asarray(np.bincount(place, power) / np.bincount(place))


def spectrum(slices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean power of the waves in rings of wavenumbers.

    Rows are not periodic, so that they are multiplied by a Hann window.

    Args:
        slices: ``[slices, rows, columns]``.

    Returns:
        Wavenumbers 1 to half of the columns, in waves around a circle of latitude, and the mean power over the slices
        and the waves whose wavenumber is rounded to each.
    """
    height, width = slices.shape[-2:]
    window = np.hanning(height + 2)[1:-1, None]
    waves = np.fft.rfft2((slices - slices.mean((1, 2), keepdims=True)) * window)
    rows, columns = np.fft.fftfreq(height) * width, np.fft.rfftfreq(width) * width
    ring = np.rint(np.hypot(rows[:, None], columns)).astype(np.int64).ravel()
    twice = np.where((columns > 0) & (columns < width / 2), 2.0, 1.0)
    weight = np.broadcast_to(twice, (height, len(columns))).ravel()
    power = (np.abs(waves) ** 2).mean(0).ravel()
    most = width // 2
    sums, counts = (np.bincount(ring, values, most + 1) for values in (power * weight, weight))
    rings = np.arange(1, most + 1)
    return rings, sums[1 : most + 1] / counts[1 : most + 1]


def octaves(rings: np.ndarray) -> list[str]:
    """Names of the octaves of wavenumbers that the rings reach, as ``"4-7"``."""
    last = int(rings[-1])
    return [f"{1 << n}-{min((2 << n) - 1, last)}" for n in range(last.bit_length())]


def power_errors(before: np.ndarray, after: np.ndarray, rings: np.ndarray) -> list[float]:
    """Relative change of the power in each octave."""
    octave = np.log2(rings).astype(np.int64)
    sums = [
        np.bincount(octave, power * rings) for power in (before, after)
    ]  # a ring has as many waves as its radius
    return [float(f"{change:.4g}") for change in sums[1] / sums[0] - 1]


def area_means(slices: np.ndarray, latitude: np.ndarray) -> np.ndarray:
    """Mean of each slice, with the cosine of the latitude, degrees, as the weight."""
    weight = np.cos(np.deg2rad(latitude))
    return np.asarray((slices.mean(2) * weight).sum(1) / weight.sum())


def dssim(first: np.ndarray, second: np.ndarray) -> float:
    """Data SSIM of two slices (Baker et al. 2022, arXiv:2202.02616): 1 if nothing differs at 256 levels."""
    from scipy.ndimage import gaussian_filter

    low, high = min(first.min(), second.min()), max(first.max(), second.max())
    if high == low:
        return 1.0
    a, b = (np.rint((values - low) / (high - low) * 255) / 255 for values in (first, second))

    def smooth(values: np.ndarray) -> np.ndarray:
        return np.asarray(gaussian_filter(values, 1.5, truncate=3.5))  # 11 x 11

    mean_a, mean_b = smooth(a), smooth(b)
    var_a, var_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
    both = smooth(a * b) - mean_a * mean_b
    tiny = 1e-8
    similar = (2 * mean_a * mean_b + tiny) / (mean_a**2 + mean_b**2 + tiny)
    structure = (2 * both + tiny) / (var_a + var_b + tiny)
    return float((similar * structure)[5:-5, 5:-5].mean())
