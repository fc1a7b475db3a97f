"""The test inputs with the most uncertain predictions, as small images."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from szilard.run.read import MethodRun, Run

_MOST = 64  # images
_MOST_PIXELS = 1 << 20  # pixels of an image
_NAMES = ("uncertain_images", "uncertain_true", "uncertain_guess", "uncertain_probability")


@dataclass(frozen=True)
class Tile:
    """One image (a PNG as a data URI) and its prediction."""

    source: str
    true: str
    guess: str
    probability: float
    right: bool


def tiles(run: Run, m: MethodRun) -> list[Tile]:
    """Most uncertain first; empty if the inputs are not images."""
    if not m.has(*_NAMES):
        return []
    classes = run.fact("classes")
    classes = classes if isinstance(classes, list) else []

    def name(index: int) -> str:
        return str(classes[index]) if 0 <= index < len(classes) else str(index)

    rows: Iterable[Any] = zip(
        *(m.arrays[key] for key in _NAMES), strict=False
    )  # arrays of unequal lengths are cut to the shortest
    rows = itertools.islice(rows, _MOST)
    return [
        Tile(_png(image), name(int(t)), name(int(g)), float(p), int(t) == int(g)) for image, t, g, p in rows
    ]


def _png(image: Any) -> str:
    """A PNG of ``[H, W]`` or ``[C, H, W]`` in [0, 1], in its original size; the browser enlarges it."""
    import numpy as np
    from matplotlib.image import imsave

    if image.size > _MOST_PIXELS:
        raise ValueError("image too large")
    pixels = np.nan_to_num(np.clip(image.astype(float), 0, 1))
    if pixels.ndim == 3:
        pixels = pixels.transpose(1, 2, 0) if len(pixels) in (3, 4) else pixels.mean(0)
    buffer = io.BytesIO()
    imsave(buffer, pixels, cmap="gray", vmin=0, vmax=1, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
