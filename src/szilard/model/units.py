"""In which units a network of somebody else reads inputs and answers quantities: a file of weights does not say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from szilard import bayes
from szilard.data import DataSet
from szilard.data.check import IGNORED
from szilard.model.link import Link, linked
from szilard.model.tried import Chosen, Tried, choose

MOST = 2048  # examples of valid by which units of pictures are chosen
_ROUNDED = 1e-4  # by which a 0 or 1 that was standardised and restored may be off
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

Pair = tuple[Tensor, Tensor]  # shift and scale


def fitted(network: nn.Module, data: DataSet, *, told: bool = False, target: str = "y") -> Chosen[DataSet]:
    """The data in the units in which the network is best on valid, and a sentence that says which and why.

    Features and pictures are usually standardised with the statistics of train, and so are the targets of a regression.
    Tried beside that: as they are in the data; of features, 0/1 columns left alone while the others are standardised,
    and everything mapped to [0, 1]; of pictures, [-1, 1] and the moments of ImageNet. Targets as they are in the data.

    Args:
        network: that fits the data (:func:`szilard.networks.check_fits`); in eval mode.
        told: the user has said how inputs are normalised.
        target: what quantities are called.
    """
    tried = []
    for one, said in _candidates(data, told):
        score, link = _quality(network, one, target)
        tried.append(Tried(score, one, said, link))
    return choose(tried, data.target_type.score, guessing=_guessing(data))


def binary(x: Tensor) -> Tensor:
    """Which columns of features ``[N, D]`` hold 0 and 1 alone, and both; bool ``[D]``."""
    zero, one = x.abs() < _ROUNDED, (x - 1).abs() < _ROUNDED
    return (zero | one).all(0) & zero.any(0) & one.any(0)


def left_alone(x: Tensor, pair: Pair, categories: Tensor | None = None) -> list[tuple[Pair, str]]:
    """Units in which numbers are standardised and 0/1 columns are not, as in a pipeline that does so by column.

    Args:
        x: features ``[N, D]`` as they are in the data.
        pair: by which all of them would be standardised, ``[D]`` each.
        categories: which features were made of text, bool ``[D]``.

    Returns:
        none where all columns are of one kind.
    """
    found: list[tuple[Pair, str]] = []
    columns = binary(x)
    masks = [(columns, "0/1 columns are left as they are")]
    if categories is not None and bool((categories != columns).any()):
        masks.append((categories, "columns made of text are left 0/1"))
    for mask, said in masks:
        if bool(mask.any()) and not bool(mask.all()):
            shift, scale = pair[0].clone(), pair[1].clone()
            shift[mask], scale[mask] = 0.0, 1.0
            found.append(((shift, scale), f"inputs are standardised by the training part, but {said}"))
    return found


def unit_range(x: Tensor) -> Pair:
    """Units in which each feature of ``x [N, D]`` lies in [0, 1]."""
    low, high = x.amin(0), x.amax(0)
    return low.float(), torch.where(high > low, high - low, torch.ones_like(high)).float()


TARGETS = "and targets are standardised"
RAW_TARGETS = "and targets are taken as they are"
UNIT_RANGE = "inputs are mapped to [0, 1] column by column"


def _candidates(data: DataSet, told: bool) -> Iterator[tuple[DataSet, str]]:
    usual = (
        "inputs are normalised as --mean and --std say"
        if told
        else "inputs are standardised by the training part"
    )
    sets: list[tuple[DataSet, str]] = [(data, usual)]
    if not told:
        sets += [(data.renormalised(*pair), said) for pair, said in _others(data)]
    for given, said in sets:
        if not data.target_type.in_units:
            yield given, said
            continue
        yield given, f"{said}, {TARGETS}"
        yield given.retargeted(0.0, 1.0), f"{said}, {RAW_TARGETS}"


def _others(data: DataSet) -> Sequence[tuple[Pair, str]]:
    zero, one = torch.zeros_like(data.shift), torch.ones_like(data.scale)
    if data.is_pictures:
        found = [
            ((zero, one), "pictures are taken in [0, 1]"),
            ((zero + 0.5, one * 0.5), "pictures are taken in [-1, 1]"),
        ]
        if data.input_shape[0] == 3:
            mean, std = (torch.tensor(each).reshape(3, 1, 1) for each in _IMAGENET)
            found.append(((mean, std), "pictures are normalised by the moments of ImageNet"))
        return found
    found = [((zero, one), "inputs are taken as they are in the data")]
    if len(data.input_shape) == 1:
        raw = data.raw(data.train.x)
        found += left_alone(raw, (data.shift, data.scale), _of_text(data))
        found.append((unit_range(raw), UNIT_RANGE))
    return found


def _of_text(data: DataSet) -> Tensor | None:
    """Which features were made of a category."""
    if data.reading is None or len(data.reading.feature_names) != data.input_shape[0]:
        return None
    mask = torch.zeros(data.input_shape[0], dtype=torch.bool)
    for _, where in data.reading.categories():
        mask[where] = True
    return mask


def _guessing(data: DataSet) -> float:
    if not data.target_type.has_classes:
        return 0.0  # R² of the mean
    y = data.valid.y[data.valid.y != IGNORED]
    return float(y.bincount().max()) / len(y) if len(y) else 0.0


@torch.no_grad()
def _quality(network: nn.Module, data: DataSet, target: str) -> tuple[float, Link | None]:
    """Accuracy, or R² of the mean and how it follows the target; minus infinity where answers are not finite."""
    device = next(network.parameters()).device
    x, y = data.valid.x, data.valid.y
    if data.is_pictures and len(x) > MOST:
        some = torch.linspace(0, len(x) - 1, MOST).long()
        x, y = x[some], y[some]
    with bayes.evaluating(network):
        output = torch.cat([network(part.to(device)).cpu() for part in x.split(1024)]).double()
    if not bool(torch.isfinite(output).all()):
        return -torch.inf, None
    if data.target_type.has_classes:
        right = (output.argmax(1) == y)[y != IGNORED]
        return float(right.double().mean()), None
    score = float(1 - (output[:, 0] - y.double()).square().mean() / y.double().var(unbiased=False))
    return score, linked(output[:, 0], y.double() * data.target_scale + data.target_shift, target)
