"""A prior from a run, applied: data with its normalisation, a network with its values, weights with its m and s."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from szilard.bayes.next_prior import Unknown, set_source_prior, start_at_prior
from szilard.data import DataSet, image_range, known_classes
from szilard.data.like_training import TrainingTable
from szilard.data.reading import Reading
from szilard.data.table import listed
from szilard.errors import SzilardError
from szilard.model.prior.of_run import others
from szilard.model.prior.source import Source
from szilard.model.schema import Saved
from szilard.networks import WithNoise, copied


def matched(source: Source, data: DataSet) -> tuple[DataSet, list[str]]:
    """The data with the source's normalisation of inputs and targets, order of features, and class numbers.

    Returns:
        the data, and a sentence for each difference that a user should know.

    Raises:
        SzilardError: the source has another task, other inputs, or another number of quantities.
    """
    about, notes = source.about, []
    what = f"the prior ({source.label})"
    if about.task != data.task:
        raise SzilardError(
            f"{what} is of {about.task}, and {data.name} is {data.task}; name a prior of the same task"
        )
    if data.target_type.in_units and about.n_outputs != data.n_outputs:
        raise SzilardError(
            f"{what} predicts {about.n_outputs} quantities, and {data.name} has {data.n_outputs}; name a prior of as "
            "many"
        )
    data = _inputs(about, data, what)
    data, strange = known_classes.numbered(data, about.classes)
    if strange and len(data.classes) == len(about.classes):
        here, there = listed(list(data.classes)), listed(list(about.classes))
        notes.append(
            f"{data.name} has other classes ({here}) than {what} ({there}); they count as the same in this order"
        )
    if data.target_type.in_units:
        data = data.retargeted(_units(about.target_shift), _units(about.target_scale))
        notes += _far(data, what)
    return data.renormalised(about.shift, about.scale), notes


def _far(data: DataSet, what: str) -> list[str]:
    """A sentence if the targets are far from what the source has seen; folds compare in its units and cannot tell."""
    targets = data.train.y.double().reshape(len(data.train), -1)
    if len(targets) < 2:
        return []
    mean, width = targets.mean(0).abs().max().item(), targets.std(0)
    least, most = width.min().item(), width.max().item()
    if mean <= _FAR and least >= 1 / _WIDE and most <= _WIDE:
        return []
    return [
        f"targets of {data.name} have a mean of up to {mean:.3g} and deviations of {least:.3g} to {most:.3g} in units "
        f"in which those of {what} have 0 and 1, and its units hold for the run and its controls; compare with a run "
        "without the prior"
    ]


_FAR, _WIDE = 3.0, 5.0  # deviations of the source's targets


def table_of(source: Source) -> TrainingTable | None:
    """How the source's table was read, for a table of the same columns; None if it was no table."""
    about = source.about
    if about.reading is None:
        return None
    return TrainingTable(
        f"the prior ({source.label})", about.task, about.classes, Reading.from_dict(about.reading), about.shift,
        about.scale, _units(about.target_shift), _units(about.target_scale), about.targets,
    )  # fmt: skip


def loaded(source: Source, network: nn.Module) -> nn.Module:
    """A copy of an ordinary network with the means and the other tensors of the source, where shapes agree."""
    network = copied(network)
    given = dict(source.rest)
    for name, values in source.weights.items():
        given[f"{name}.weight" if name else "weight"] = values.mean
        given[name] = values.mean
    _fill({**dict(network.named_parameters()), **dict(network.named_buffers())}, given)
    return network


def give(
    source: Source, network: nn.Module, *, widen: float, scale: float = 1.0, start: bool = True
) -> list[Unknown]:
    """Give a prepared network the prior, with σ times ``widen``, and let it start at the source's posterior.

    The posterior starts at m and s themselves, also for a wider prior: draws that are wider than what was learnt would
    hide what the mean predicts.

    Args:
        source: the prior.
        network: prepared by a method with Gaussian weights.
        widen, scale: as in :func:`szilard.bayes.set_source_prior`.
        start: whether to set μ, σ and the other tensors to those of the source.

    Returns:
        weights whose prior is fan-in, because the source does not have them, and why.

    Raises:
        SzilardError: no weight fits.
    """
    inner = network.network if isinstance(network, WithNoise) else network
    try:
        unknown = set_source_prior(inner, source.weights, scale=scale)
    except SzilardError as error:
        raise SzilardError(f"the prior ({source.label}) is of another network: {error}") from error
    if start:
        start_at_prior(inner)
        _fill(others(inner), source.rest)
        load_noise(source, network)
    set_source_prior(inner, source.weights, widen=widen, scale=scale)
    return unknown


def load_noise(source: Source, network: nn.Module) -> None:
    """Let the learned noise of a regression start at that of the source, if both have one."""
    if isinstance(network, WithNoise):
        _fill({"log_noise": network.log_noise}, source.rest)


@torch.no_grad()
def _fill(tensors: dict[str, Tensor], given: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        value = given.get(name)
        if value is not None and value.shape == tensor.shape:
            tensor.copy_(value)


def _inputs(about: Saved, data: DataSet, what: str) -> DataSet:
    """The data with the source's order of features.

    Raises:
        SzilardError: other features or channels, or images in other units.
    """
    shape, names = about.input_shape, about.feature_names
    # Images of another size can take a normalisation by channel.
    channels = (
        len(shape) == 3
        and data.is_image
        and shape[0] == data.input_shape[0]
        and about.shift.numel() == about.scale.numel() == shape[0]
    )
    if tuple(shape) != data.input_shape and not channels:
        raise SzilardError(
            f"{what} is for inputs of shape {list(shape)}, and those of {data.name} have shape "
            f"{list(data.input_shape)}; name a prior for the same inputs"
        )
    if names and data.feature_names:
        if sorted(names) != sorted(data.feature_names):
            raise SzilardError(
                f"{what} is for the features {listed(list(names))}, and {data.name} has "
                f"{listed(list(data.feature_names))}; name a prior for the same features"
            )
        if len(set(names)) == len(names):
            data = data.reordered(names)
    if data.is_image:
        image_range.check(
            data.raw(data.train.x), about.image_range, f"images of {data.name}",
            of_bytes=data.image_range == image_range.UNIT,
        )  # fmt: skip
    return data


def _units(plain: float | list[float]) -> float | Tensor:
    return torch.tensor(plain, dtype=torch.float64) if isinstance(plain, list) else plain
