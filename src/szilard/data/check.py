"""Checks that every reader makes: NaN and infinite values, labels out of range, classes without examples."""

from __future__ import annotations

import torch
from torch import Tensor

from szilard.errors import SzilardError, shortened
from szilard.likelihood.categorical import IGNORED


def finite(x: Tensor, what: str) -> None:
    """Raise for the first NaN or infinite value; ``what`` names the array and the file, as in "x of a.npz"."""
    if not x.is_floating_point():
        return
    bad = ~torch.isfinite(x)
    count = int(bad.sum())
    if count:
        first = tuple(int(i) for i in torch.unravel_index(bad.flatten().byte().argmax(), x.shape))
        where = ", ".join(map(str, first))
        value = "NaN" if torch.isnan(x[first]) else "infinite"
        more = f" ({count} such values)" if count > 1 else ""
        axes = "row, column" if x.dim() == 2 else "index"
        raise SzilardError(
            f"{what} is {value} at {axes} [{where}], counted from 0{more}; remove or fill such entries first"
        )


def same_length(x: Tensor, y: Tensor, what: str) -> None:
    if len(x) != len(y):
        raise SzilardError(f"{what} has {len(x)} inputs but {len(y)} labels; each input needs exactly one")
    if not len(x):
        raise SzilardError(f"{what} is empty; it must have at least one example")


def labels(y: Tensor, n_classes: int, what: str) -> None:
    """Raise unless every label is in [0, n_classes), or is the one for pixels without a label."""
    bad = ((y < 0) | (y >= n_classes)) & ((y != IGNORED) | (y.dim() == 1))
    if bool(bad.any()):
        row = int(bad.flatten(1).any(1).byte().argmax()) if y.dim() > 1 else int(bad.byte().argmax())
        first = int(y[row][bad[row]].flatten()[0])
        raise SzilardError(
            f"label {first} at index {row} of {what} is out of range; labels are 0 to {n_classes - 1}"
        )


def no_label_255(y: Tensor, what: str) -> None:
    """Raise if labels ``y`` contain 255, the "no label" of many image sets, and all others are much smaller."""
    if y.is_floating_point() or not bool((y == 255).any()):
        return
    others = y[y != 255]
    if len(others) and int(others.max()) < 254:
        raise SzilardError(
            f"{what} has the label 255, and its other labels go up to {int(others.max())}; if 255 means no label, "
            "write -100 for each pixel or token without a label, and leave out inputs without any label"
        )


def every_class(y: Tensor, classes: tuple[str, ...], what: str) -> None:
    """Raise if a class has no training example: a network cannot learn it, and scores would not show that."""
    if y.dim() > 1:
        y = y[y != IGNORED]
    empty = (torch.bincount(y, minlength=len(classes)) == 0).nonzero().flatten().tolist()
    if empty:
        names = ", ".join(shortened(classes[i], 60) for i in empty[:5]) + (", ..." if len(empty) > 5 else "")
        raise SzilardError(
            f"class {names} of {what} has no training example ({len(y)} examples, {len(classes)} classes); "
            "add some, number the classes without gaps, or load it with task='regression' if y is a quantity"
        )


def classes_of(y: Tensor, what: str) -> Tensor:
    """Labels as int64; raises for labels that are negative or not whole."""
    finite(y, what)
    whole = y.round() if y.is_floating_point() else y
    bad = (whole != y).nonzero()
    if len(bad):
        row = int(bad[0])
        raise SzilardError(
            f"label {float(y[row]):g} at index {row} of {what} is not a whole number; "
            "classes are 0, 1, 2, ..., or load it with task='regression'"
        )
    whole = whole.long()
    no_label_255(whole, what)
    bad = (whole < 0).nonzero()
    if len(bad):
        row = int(bad[0])
        raise SzilardError(
            f"label {int(whole[row])} at index {row} of {what} is negative; classes are 0, 1, 2, ..."
        )
    return whole


def class_numbers(y: Tensor, what: str) -> Tensor:
    """Labels as int64, per example or per position; positions without a label keep
    :data:`szilard.likelihood.categorical.IGNORED`."""
    if y.dim() == 1:
        return classes_of(y, what)
    y = y.long()
    bad = ((y < 0) & (y != IGNORED)).flatten(1).any(1)
    if bool(bad.any()):
        raise SzilardError(
            f"{what} has a negative label in example {int(bad.byte().argmax())}, counted from 0; classes are 0, 1, 2, "
            f"..., and {IGNORED} is for pixels without a label"
        )
    return y
