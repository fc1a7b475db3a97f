"""Photographs as luma, and their patches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SIDE = 16  #: of a patch
PIXELS = SIDE * SIDE
TRAINED, JUDGED = 8, 4  # pictures of Kodak, in the order of their names
KODAK, SAMPLES = "Kodak", "scikit-learn"
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Photograph:
    """A picture that is cut to whole patches.

    Attributes:
        name: of its file.
        luma: ``[height, width]`` float32, in [0, 1].
    """

    name: str
    luma: Tensor

    @property
    def patches(self) -> Tensor:
        """Patches that do not overlap, row by row ``[count, 256]``."""
        height, width = self.luma.shape
        cut = self.luma.reshape(height // SIDE, SIDE, width // SIDE, SIDE)
        return cut.transpose(1, 2).reshape(-1, PIXELS)


def joined(patches: Tensor, shape: tuple[int, int]) -> Tensor:
    """Undo :attr:`Photograph.patches`: ``[count, 256] -> [height, width]``."""
    height, width = shape
    cut = patches.reshape(height // SIDE, width // SIDE, SIDE, SIDE)
    return cut.transpose(1, 2).reshape(height, width)


def photograph(name: str, pixels: np.ndarray) -> Photograph:
    """The luma of red, green and blue bytes ``[height, width, 3]``."""
    luma = pixels.astype(np.float64) @ _LUMA / 255
    height, width = (size // SIDE * SIDE for size in luma.shape)
    return Photograph(name, torch.from_numpy(luma[:height, :width].astype(np.float32)))


def kodak(root: Path) -> tuple[list[Photograph], list[Photograph]]:
    """Eight pictures to train on, and four to judge.

    Raises:
        SystemExit: there are fewer than twelve.
    """
    paths = sorted((root / "kodak").glob("kodim*.png"))[: TRAINED + JUDGED]
    if len(paths) < TRAINED + JUDGED:
        raise SystemExit(f"{root / 'kodak'} holds {len(paths)} pictures kodim*.png; twelve are needed")
    found = [photograph(path.stem, np.asarray(Image.open(path).convert("RGB"))) for path in paths]
    return found[:TRAINED], found[TRAINED:]


def samples() -> list[Photograph]:
    """The two photographs of scikit-learn, which no part of training sees."""
    from sklearn.datasets import load_sample_image

    return [photograph(name, load_sample_image(f"{name}.jpg")) for name in ("china", "flower")]


def judged(root: Path) -> dict[str, list[Photograph]]:
    """Pictures to judge, by their source."""
    return {KODAK: kodak(root)[1], SAMPLES: samples()}


def drawn(pictures: list[Photograph], count: int, generator: torch.Generator) -> Tensor:
    """Patches ``[count, 256]`` at random places of pictures, and in one of eight orientations."""
    which = torch.randint(len(pictures), (count,), generator=generator)
    turns = torch.randint(8, (count,), generator=generator)
    places = torch.rand(count, 2, generator=generator)
    inside = torch.arange(SIDE)
    found = torch.empty(count, SIDE, SIDE)
    for number, picture in enumerate(pictures):
        rows = (which == number).nonzero()[:, 0]
        sizes = torch.tensor(picture.luma.shape) - SIDE + 1
        corner = (places[rows] * sizes).long()
        y, x = corner[:, :1, None] + inside[:, None], corner[:, 1:, None] + inside
        found[rows] = picture.luma[y, x]
    for turn in range(8):
        rows = (turns == turn).nonzero()[:, 0]
        cut = found[rows].rot90(turn % 4, (1, 2))
        found[rows] = cut.flip(2) if turn >= 4 else cut
    return found.reshape(count, PIXELS)


def centred(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Patches without their mean, and the means ``[count, 1]``."""
    means = patches.mean(1, keepdim=True)
    return patches - means, means
