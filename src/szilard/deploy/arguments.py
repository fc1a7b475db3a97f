"""Checks of what a user gives to :func:`szilard.deploy.compile`."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from szilard import bayes
from szilard.data import check
from szilard.data.image_range import Range
from szilard.deploy.backends.base import Backend
from szilard.deploy.graph import MODES, output_of
from szilard.deploy.units import Units
from szilard.errors import SzilardError, SzilardWarning, shortened
from szilard.networks.ensemble import Ensemble
from szilard.networks.finite import not_finite
from szilard.networks.float_type import float_type


def members_of(network: Any) -> list[nn.Module]:
    """The networks to compile, in eval mode and finite.

    Raises:
        SzilardError: there is none, something else than a network, one in training mode, or NaN in a tensor.
    """
    members = (
        [network] if isinstance(network, nn.Module) or not isinstance(network, Sequence) else list(network)
    )
    if len(members) == 1 and isinstance(members[0], Ensemble):
        members = list(members[0].in_use())
    if not members:
        raise SzilardError("there is no network to compile")
    for member in members:
        if not isinstance(member, nn.Module):
            raise SzilardError(f"network is a {type(member).__name__}; give an nn.Module, or a list of them")
        if any(module.training for module in member.modules()):
            raise SzilardError("the network is in training mode; call network.eval() first")
        name = not_finite(member)
        if name is not None:
            raise SzilardError(f"the network's tensor {name} holds NaN or infinite values; fix or retrain it")
    return members


def mode_for(members: Sequence[nn.Module], mode: str | None, samples: int | None = None) -> str:
    """The mode to compile for: the one asked for, or the default for these networks.

    Raises:
        SzilardError: it does not take these networks, or draws no samples.
    """
    bayesian = is_bayesian(members[0])
    if mode is None:
        several = "ensemble" if len(members) > 1 else ("moments" if bayesian else "point")
        mode = several if samples is None else "samples"
    if mode not in MODES:
        raise SzilardError(f"there is no mode {mode!r}; choose one of {', '.join(MODES)}")
    if len(members) > 1 and mode != "ensemble":
        raise SzilardError(f"mode {mode} takes one network, not {len(members)}; use mode ensemble")
    if len(members) == 1 and mode == "ensemble":
        raise SzilardError("mode ensemble takes several networks, not one; give a list of them")
    if mode in ("moments", "samples") and not bayesian:
        raise SzilardError(f"mode {mode} needs a network with Gaussian weights; use mode point")
    if samples is not None and mode != "samples":
        raise SzilardError(f"mode {mode} draws no samples; leave out samples, or the mode")
    return mode


def is_bayesian(network: nn.Module) -> bool:
    """Whether any weight has a variance."""
    return any(not weight.is_point for weight in bayes.weights(network).values())


def check_numbers(**numbers: Any) -> None:
    """Check that each is None or a whole number of at least 1, and ``threads`` not more than there are processors.

    Raises:
        SzilardError: it is not.
    """
    for name, value in numbers.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise SzilardError(f"{name} must be a whole number of at least 1, not {value!r}")
    threads, processors = numbers.get("threads") or 1, _processors()
    if threads > processors:
        raise SzilardError(f"threads is {threads}, and this process may use {processors} processors")


def warn_of_one_draw(samples: int | None) -> None:
    """Warn of an epistemic uncertainty that is zero because there is one draw."""
    if samples == 1:
        warnings.warn(
            "one draw has no epistemic uncertainty, so that it is zero for every input; use at least 2 samples",
            SzilardWarning,
            stacklevel=3,
        )


def factors_of(factor: Any, members: Sequence[nn.Module], mode: str) -> tuple[float, ...]:
    """The factor of the variance of each member's outputs.

    Args:
        factor: one for all members, or one for each.
        members: the networks.
        mode: for which they are compiled.

    Raises:
        SzilardError: one is no finite number above zero, there is another number of them than of members, or this mode
            has no variance.
    """
    found = tuple(factor) if isinstance(factor, list | tuple) else (factor,) * len(members)
    for one in found:
        if isinstance(one, bool) or not isinstance(one, int | float) or not 0 < one < math.inf:
            raise SzilardError(f"variance_factor must be a number above zero, not {one!r}")
    if len(found) != len(members):
        raise SzilardError(
            f"variance_factor has {len(found)} numbers for {len(members)} networks; give one for each"
        )
    if any(one != 1 for one in found):
        if mode not in ("moments", "ensemble"):
            raise SzilardError(
                f"mode {mode} has no variance that variance_factor could multiply; use mode moments"
            )
        if not any(is_bayesian(member) for member in members):
            raise SzilardError(
                "the networks have no Gaussian weights, so that there is no variance that variance_factor could "
                "multiply; leave it out"
            )
    return found


def check_float_type(members: Sequence[nn.Module], backend: type[Backend] | Backend) -> None:
    """Check that a backend takes networks of this floating type.

    Raises:
        SzilardError: it does not.
    """
    for member in members:
        for name, parameter in member.named_parameters():
            if parameter.is_floating_point() and backend.floats and parameter.dtype not in backend.floats:
                kind = str(parameter.dtype).removeprefix("torch.")
                raise SzilardError(
                    f"the network has {kind} weights ({shortened(name, 60)}), which backend {backend.name} does not "
                    "take; convert the network with .float(), or use backend eager"
                )


def check_example(network: nn.Module, example: Any) -> None:
    """Check the inputs that show shape and type.

    Raises:
        SzilardError: they are no tensor, empty, or of a floating type that the network does not take.
    """
    if not isinstance(example, Tensor) or example.dim() < 1 or not len(example):
        kind = list(example.shape) if isinstance(example, Tensor) else type(example)
        raise SzilardError(f"example must be a torch.Tensor [B, ...] with at least one input, not {kind}")
    wanted = float_type(network)
    if example.is_floating_point() and example.dtype != wanted:
        names = [str(dtype).removeprefix("torch.") for dtype in (example.dtype, wanted)]
        raise SzilardError(
            f"example has type {names[0]}, and the network has {names[1]} weights; convert the network with .float(), "
            f"or the example with .to(torch.{names[1]})"
        )
    check.finite(example, "example")


@contextmanager
def naming_type(network: nn.Module, example: Tensor) -> Iterator[None]:
    """In place of an error, name the type of the example where that is the reason.

    Args:
        network: whose inputs it is like.
        example: whole numbers are the inputs of embeddings only.

    Raises:
        SzilardError: the block has raised one, and the network runs on the same numbers in its floating type.
    """
    try:
        yield
    except SzilardError:
        if example.is_floating_point():
            raise
        kinds = [str(dtype).removeprefix("torch.") for dtype in (example.dtype, float_type(network))]
        try:
            output_of(network, example[:2].to(float_type(network)))
        except Exception:  # the type is not the only reason
            runs = False
        else:
            runs = True
        if not runs:
            raise
        raise SzilardError(
            f"example has type {kinds[0]}, which the network does not take; give {kinds[1]}"
        ) from None


def check_metadata(metadata: Any) -> dict[str, str]:
    """The metadata, if they are text by name; none for None.

    Raises:
        SzilardError: they are not.
    """
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise SzilardError(f"metadata is a {type(metadata).__name__}; give a dict of text")
    for name, value in metadata.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise SzilardError(
                f"metadata must be text by name, not {shortened(repr({name: value}), 60)}; make both a str"
            )
    return dict(metadata)


def check_units(**units: Any) -> None:
    """Check that each is None or :class:`Units`.

    Raises:
        SzilardError: it is not.
    """
    for name, value in units.items():
        if value is not None and not isinstance(value, Units):
            raise SzilardError(f"{name} is a {type(value).__name__}; give szilard.deploy.Units(shift, scale)")


def check_image_range(found: Any, example: Tensor) -> Range | None:
    """The range of the training images.

    Raises:
        SzilardError: it is no pair of two finite numbers, the lower one first, or inputs are no floating-point images.
    """
    if found is None:
        return None
    numbers = isinstance(found, tuple | list) and len(found) == 2
    if (
        not numbers
        or not all(isinstance(n, int | float) and math.isfinite(n) for n in found)
        or found[0] >= found[1]
    ):
        raise SzilardError(
            "image_range must be the lowest and the highest value of the training images, not "
            f"{shortened(repr(found), 60)}"
        )
    if example.dim() != 4 or not example.is_floating_point():
        raise SzilardError("image_range is for images [B, C, H, W] of floating-point numbers; leave it out")
    return float(found[0]), float(found[1])


def path_of(path: Any, suffix: str, backend: str) -> Path | None:
    """The file to write.

    Raises:
        SzilardError: the backend writes no file, or files with another suffix.
    """
    if path is None:
        return None
    found = Path(os.fspath(path))
    if not suffix:
        raise SzilardError(f"backend {backend} writes no file; leave the path out")
    if found.suffix.lower() != suffix:
        raise SzilardError(f"backend {backend} writes files that end in {suffix}, and path is {found}")
    return found


def check_labels(labels: Any, answer: Tensor) -> tuple[str, ...]:
    """Names of classes or targets: as many as the answer has.

    Args:
        answer: of the example, ``[B]`` or ``[B, C, ...]``.

    Raises:
        SzilardError: another number of names, or something else than a list of text.
    """
    names = tuple(labels) if isinstance(labels, Sequence) and not isinstance(labels, str) else None
    if names is None or any(not isinstance(name, str) for name in names):
        raise SzilardError("labels must be a list of names")
    count = answer.shape[1] if answer.dim() > 1 else 1
    if names and len(names) != count:
        raise SzilardError(f"there are {len(names)} labels for {count} outputs; give one for each")
    return names


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
