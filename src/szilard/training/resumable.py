"""Checks that a run can continue from a checkpoint, before any of its content is used."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from szilard.bayes.network_weights import every_weight
from szilard.file.error import SzilardFileError
from szilard.methods import Method
from szilard.topology import rewind
from szilard.training.support_history import SupportHistory

_LARGEST = 1 << 53


def check(
    path: Path,
    state: dict[str, Any],
    *,
    method: Method,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    steps: int,
    processes: int,
) -> None:
    """Compare a checkpoint, except its weights, with the run that continues from it.

    Args:
        path: the checkpoint, for messages.
        state: its content.
        method, optimizer: of the run, in their initial state.
        network: of the run, with the supports of the checkpoint.
        epochs, steps: epochs of the whole run; steps of one epoch.
        processes: number of processes.

    Raises:
        SzilardFileError: an entry is missing, or has another type, size or range than the run would write.
    """
    _whole(path, "step", state.get("step"), epochs * steps)
    _whole(path, "epoch", state.get("epoch"), epochs)
    _whole(path, "batch", state.get("batch"), steps)
    _number(path, "seconds", state.get("seconds"))
    _check_optimizer(path, state.get("optimizer"), optimizer)
    _check_supports(path, state.get("supports"), SupportHistory(network, resizes=method.resizes))
    shares = state.get("processes")
    if not isinstance(shares, list | tuple) or len(shares) != processes:
        _refuse(path, "processes")
    for share in shares:
        if not isinstance(share, dict):
            _refuse(path, "processes")
        _number(path, "energy", share.get("energy"))
        _number(path, "cost", share.get("cost"))
        _check_method(path, share.get("method"), method, network, epochs * steps)


def _check_method(path: Path, found: Any, method: Method, network: nn.Module, total: int) -> None:
    expected = method.state_dict()
    if not isinstance(found, dict) or set(found) != set(expected):
        _refuse(path, "method")
    _whole(path, "method step", found["step"], total)
    _whole(path, "method total_steps", found["total_steps"], _LARGEST)
    _number(path, "method calibration", found["calibration"])
    if found["task"] != expected["task"]:
        _refuse(path, "method task")
    entries = found.get("entries", [])
    if not isinstance(entries, list) or len(entries) not in (0, len(every_weight(network))):
        _refuse(path, "method entries")
    for count in entries:
        _whole(path, "method entries", count, _LARGEST)
    if "rewind" in expected:
        _check_rewind(path, found["rewind"], rewind.like(network))
    part = method.invalid_part(found, network)
    if part:
        _refuse(path, f"method {part}")
    moves = found.get("moves", {})
    if not isinstance(moves, dict):
        _refuse(path, "method moves")
    for number, heard in moves.items():
        if type(number) is not int or not isinstance(heard, list | tuple) or len(heard) != 2:
            _refuse(path, "method moves")
        batches, total_gradient = heard
        if not (total_gradient is None or _is_floating(total_gradient)) or not isinstance(
            batches, list | tuple
        ):
            _refuse(path, "method moves")
        for pair in batches:
            if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(map(_is_floating, pair)):
                _refuse(path, "method moves")


def _check_supports(path: Path, found: Any, expected: SupportHistory) -> None:
    """Check for the masks of each layer, for none if they were not known, or for no entry (earlier versions)."""
    if found is not None and not (isinstance(found, dict) and (not found or expected.fits(found))):
        _refuse(path, "supports")


def _check_rewind(path: Path, found: Any, expected: dict[str, Tensor]) -> None:
    """Check for the values of a whole network, of the right shapes and types and finite, or for none."""
    if not isinstance(found, dict) or (found and set(found) != set(expected)):
        _refuse(path, "method rewind")
    for name, value in found.items():
        ours = expected[name]
        if not isinstance(value, Tensor) or (value.shape, value.dtype) != (ours.shape, ours.dtype):
            _refuse(path, "method rewind")
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            _refuse(path, "method rewind")


def _check_optimizer(path: Path, found: Any, optimizer: torch.optim.Optimizer) -> None:
    """Check for the same groups with values of the same types, and for numbers or tensors of each parameter's shape."""
    expected = optimizer.state_dict()
    if not isinstance(found, dict) or set(found) != set(expected):
        _refuse(path, "optimizer")
    groups, state = found["param_groups"], found["state"]
    if (
        not isinstance(groups, list)
        or len(groups) != len(expected["param_groups"])
        or not isinstance(state, dict)
    ):
        _refuse(path, "optimizer")
    for group, ours in zip(groups, expected["param_groups"], strict=True):
        _check_group(path, group, ours)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, kept in state.items():
        if type(number) is not int or not 0 <= number < len(parameters) or not isinstance(kept, dict):
            _refuse(path, "optimizer state")
        for value in kept.values():
            if isinstance(value, Tensor):
                if not _is_floating(value) or value.shape not in (parameters[number].shape, torch.Size([])):
                    _refuse(path, "optimizer state")
            elif value is not None:
                _number(path, "optimizer state", value)


def _check_group(path: Path, group: Any, ours: dict[str, Any]) -> None:
    if not isinstance(group, dict) or set(group) != set(ours):
        _refuse(path, "optimizer param_groups")
    for key, value in ours.items():
        if value is None or isinstance(value, bool):  # torch's implementation, which can depend on the device
            fits = group[key] is None or isinstance(group[key], bool)
        elif isinstance(value, int | float):
            fits = type(group[key]) in (int, float) and math.isfinite(group[key])
        else:  # momenta and similar options, set by the method only
            fits = type(group[key]) is type(value) and group[key] == value
        if not fits:
            _refuse(path, f"optimizer {key}")


def _is_floating(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _whole(path: Path, name: str, value: Any, most: int) -> None:
    if type(value) is not int or not 0 <= value <= most:
        _refuse(path, name)


def _number(path: Path, name: str, value: Any) -> None:
    if type(value) not in (int, float) or not math.isfinite(value):
        _refuse(path, name)


def _refuse(path: Path, name: str) -> NoReturn:
    raise SzilardFileError(
        f"the checkpoint {path} holds another {name} than this run writes; remove it to start from the beginning"
    )
