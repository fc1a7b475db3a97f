"""The one rule for the numbers of images: bytes are divided by 255, all other numbers are taken as they are.

So a network keeps the range of its training images, and images in other units are refused wherever they are read: other
parts of the training file, another file to measure on, inputs to predict.
"""

from __future__ import annotations

from torch import Tensor

from szilard.errors import SzilardError

UNIT = (0.0, 1.0)  #: of bytes, and of numbers between these two
_SHARE = 0.01  # of the values, which may be outside of the range and its margins
_MARGIN = 0.5  # of the range's width, on both sides
_WIDE = 50.0  # width of a range of bytes; images from -1 to 1 are not in such units

Range = tuple[float, float]


def range_of(train: Tensor) -> Range:
    """Lowest and highest value of training images ``[N, C, H, W]``; :data:`UNIT` for values between 0 and 1."""
    if not train.is_floating_point():
        return UNIT
    low, high = float(train.min()), float(train.max())
    return (low, high) if low < UNIT[0] or high > UNIT[1] else UNIT


def check(x: Tensor, known: Range, what: str, *, of_bytes: bool, takes_bytes: bool = True) -> None:
    """Check that images can be in the units of the training images.

    Args:
        x: images ``[N, C, H, W]``; bytes have been divided by 255.
        known: range of the training images.
        what: the images, for messages.
        of_bytes: whether they were bytes, or all are between 0 and 1 where the training images of their file are, too.
        takes_bytes: whether bytes can be given instead, for the message.

    Raises:
        SzilardError: they are bytes, and the training images cannot have been; more than 1 % of the values are
            outside of the range by more than half of its width; or all are fractions between -1 and 1, and the range
            is at least 50 wide.
    """
    low, high = known
    margin = _MARGIN * (high - low)
    trained = f"the training images have values in [{low:g}, {high:g}]"
    if of_bytes and (UNIT[0] - low > _MARGIN or high - UNIT[1] > _MARGIN):
        raise SzilardError(
            f"{what} are bytes, which are divided by 255, or numbers from 0 to 1, and {trained}; give numbers in the "
            "same units"
        )
    least, most = (float(value) for value in x.aminmax())
    if high - low >= _WIDE and least >= -1 and most <= 1 and not bool((x == x.round()).all()):
        raise SzilardError(
            f"{what} have values in [{least:g}, {most:g}], and {trained}; give numbers in the same units"
        )
    if low - margin <= least and most <= high + margin:
        return
    outside = ((x < low - margin) | (x > high + margin)).float().mean()
    if float(outside) > _SHARE:
        wanted = "numbers in the same units"
        if known == UNIT:
            wanted = "bytes from 0 to 255, or numbers from 0 to 1" if takes_bytes else "numbers from 0 to 1"
        raise SzilardError(f"{what} have values in [{least:g}, {most:g}], and {trained}; give {wanted}")


def shown(x: Tensor, known: Range) -> Tensor:
    """Images as they are displayed: the range of the training images is mapped to [0, 1]."""
    low, high = known
    return ((x - low) / max(high - low, 1e-30)).clamp(0, 1)


def scaled(x: Tensor, known: Range) -> Tensor:
    """Images in [0, 1], such as photographs, in the units of the training images."""
    low, high = known
    return x if known == UNIT else x * (high - low) + low
