"""The inputs of which a network was least sure, as small pictures."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

from szilard.report.read import MethodRun, Run


@dataclass(frozen=True)
class Tile:
    """One picture (a PNG as a data URI) and what was said of it."""

    source: str
    true: str
    guess: str
    probability: float

    @property
    def right(self) -> bool:
        return self.true == self.guess


def tiles(run: Run, m: MethodRun) -> list[Tile]:
    """Most uncertain first; empty where the inputs are no pictures."""
    images = m.array("uncertain_images")
    if images is None:
        return []
    classes = run.first("classes") or []

    def name(index: int) -> str:
        return str(classes[index]) if 0 <= index < len(classes) else str(index)

    said = zip(
        images,
        m.arrays["uncertain_true"],
        m.arrays["uncertain_guess"],
        m.arrays["uncertain_probability"],
        strict=True,
    )
    return [Tile(_png(image), name(int(t)), name(int(g)), float(p)) for image, t, g, p in said]


def _png(image: Any) -> str:
    import numpy as np
    from matplotlib.image import imsave

    pixels = np.clip(image.astype(float), 0, 1)
    buffer = io.BytesIO()
    imsave(
        buffer,
        pixels if pixels.ndim == 2 else pixels.transpose(1, 2, 0),
        cmap="gray",
        vmin=0,
        vmax=1,
        format="png",
    )
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
