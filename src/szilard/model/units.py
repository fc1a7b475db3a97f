"""Infer the units of inputs and targets of an external network: a file of weights does not state them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from szilard import bayes
from szilard.data import DataSet
from szilard.data.check import IGNORED
from szilard.data.image_range import UNIT, scaled
from szilard.model.unit_choice import Candidate, Choice, choose
from szilard.model.unit_relation import UnitRelation, relation_of

MOST = 2048  # validation images that are used to choose units
_ROUNDED = 1e-4  # tolerance for a 0 or 1 that was standardised and restored
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

Pair = tuple[Tensor, Tensor]  # shift and scale


def best_units(
    network: nn.Module, data: DataSet, *, given: bool = False, target: str = "y"
) -> Choice[DataSet]:
    """The data in the units in which the network is best on the validation set, with a sentence that explains them.

    The usual units are inputs, and targets of a regression, standardised with statistics of train. The other candidates
    are inputs as they are in the data; features with 0/1 columns unchanged and the others standardised, or with all
    columns scaled to [0, 1]; images in [-1, 1] or normalised with the ImageNet statistics; targets as in the data.

    Args:
        network: that fits the data (:func:`szilard.networks.check_fits`); in eval mode.
        given: whether the user has given the normalisation of inputs.
        target: name of the target, for messages.
    """
    candidates = []
    for one, text in _candidates(data, given):
        score, relation = _quality(network, one, target)
        candidates.append(Candidate(score, one, text, relation))
    return choose(candidates, data.target_type.score, guessing=_guessing(data))


def binary(x: Tensor) -> Tensor:
    """Which columns of features ``[N, D]`` contain only 0 and 1, and both; bool ``[D]``."""
    zero, one = x.abs() < _ROUNDED, (x - 1).abs() < _ROUNDED
    return (zero | one).all(0) & zero.any(0) & one.any(0)


def left_alone(x: Tensor, pair: Pair, categories: Tensor | None = None) -> list[tuple[Pair, str]]:
    """Units in which numeric columns are standardised and 0/1 columns are not, as in column-wise preprocessing.

    Args:
        x: features ``[N, D]`` as they are in the data.
        pair: shift and scale that standardise all columns, ``[D]`` each.
        categories: which features were made from text, bool ``[D]``.

    Returns:
        shift, scale and a clause for each candidate; empty if all columns are of the same kind.
    """
    found: list[tuple[Pair, str]] = []
    columns = binary(x)
    masks = [(columns, "0/1 columns are left as they are")]
    if categories is not None and bool((categories != columns).any()):
        masks.append((categories, "columns made from text stay 0/1"))
    for mask, text in masks:
        if bool(mask.any()) and not bool(mask.all()):
            shift, scale = pair[0].clone(), pair[1].clone()
            shift[mask], scale[mask] = 0.0, 1.0
            found.append(((shift, scale), f"inputs are standardised with the training part, but {text}"))
    return found


def unit_range(x: Tensor) -> Pair:
    """Shift and scale that map each feature of ``x [N, D]`` to [0, 1]."""
    low, high = x.amin(0), x.amax(0)
    return low, torch.where(high > low, high - low, torch.ones_like(high))


TARGETS = "and targets are standardised"
RAW_TARGETS = "and targets are taken as they are"
UNIT_RANGE = "inputs are mapped to [0, 1] column by column"


def _candidates(data: DataSet, given: bool) -> Iterator[tuple[DataSet, str]]:
    usual = (
        "inputs are normalised with --mean and --std"
        if given
        else "inputs are standardised with the training part"
    )
    sets: list[tuple[DataSet, str]] = [(data, usual)]
    if not given:
        sets += [(data.renormalised(*pair), text) for pair, text in _others(data)]
    for one, text in sets:
        if not data.target_type.in_units:
            yield one, text
            continue
        yield one, f"{text}, {TARGETS}"
        yield one.retargeted(0.0, 1.0), f"{text}, {RAW_TARGETS}"


def _others(data: DataSet) -> Sequence[tuple[Pair, str]]:
    zero, one = torch.zeros_like(data.shift), torch.ones_like(data.scale)
    if data.is_image:
        return _of_images(data, zero, one)
    found = [((zero, one), "inputs are taken as they are in the data")]
    if len(data.input_shape) == 1:
        raw = data.raw(data.train.x)
        found += left_alone(raw, (data.shift, data.scale), _of_text(data))
        found.append((unit_range(raw), UNIT_RANGE))
    return found


def _of_images(data: DataSet, zero: Tensor, one: Tensor) -> list[tuple[Pair, str]]:
    """The usual ranges of images, onto which the range of the training images is mapped, or as they are in the data."""
    found = [
        (zero, one, "images are taken in [0, 1]"),
        (zero + 0.5, one * 0.5, "images are taken in [-1, 1]"),
    ]
    if data.input_shape[0] == 3:
        mean, std = (torch.tensor(each).reshape(3, 1, 1) for each in _IMAGENET)
        found.append((mean, std, "images are normalised with the ImageNet statistics"))
    low, high = data.image_range
    pairs = [((scaled(mean, (low, high)), std * (high - low)), text) for mean, std, text in found]
    if data.image_range != UNIT:
        pairs.insert(0, ((zero, one), "images are taken as they are in the data"))
    return pairs


def _of_text(data: DataSet) -> Tensor | None:
    """Which features encode a category, bool ``[D]``; None if not known."""
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
def _quality(network: nn.Module, data: DataSet, target: str) -> tuple[float, UnitRelation | None]:
    """Accuracy, or R² of the mean and its relation to the target; minus infinity if outputs are not finite."""
    device = next(network.parameters()).device
    x, y = data.valid.x, data.valid.y
    if data.is_image and len(x) > MOST:
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
    return score, relation_of(output[:, 0], y.double() * data.target_scale + data.target_shift, target)
