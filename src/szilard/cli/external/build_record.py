"""The record in a ``.szd`` file of how an external network is built, and of the units of its inputs and targets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from szilard import file
from szilard.cli.messages import notifier
from szilard.errors import SzilardError, printable
from szilard.model import formats, trust
from szilard.model.formats import Format

KEY = "built"  #: of the metadata
_MOST_TEXT = 4096
_MOST_SIDES = 8
_UNITS = ("shift", "scale", "target_shift", "target_scale")
_MOST = 1 << 24  # numbers of one input


@dataclass(frozen=True)
class BuildRecord:
    """How a network is built, and how its inputs are read.

    Attributes:
        spec: of ``--network``, with the full path of its file.
        input_shape, n_outputs: which the function may need; None where they are not known.
        task: of :data:`szilard.likelihood.TASKS`, or empty.
        shift, scale: inputs are (raw - shift) / scale, broadcastable; None: as they are in the data.
        outputs: names of the outputs, or empty.
        columns: names of the input columns of a table, or empty.
        target_shift, target_scale: values are output * scale + shift; None: as they are.
        judged: whether the units were found with labelled data; otherwise they are unknown.
    """

    spec: str
    input_shape: tuple[int, ...] | None = None
    n_outputs: int | None = None
    task: str = ""
    shift: Tensor | None = None
    scale: Tensor | None = None
    outputs: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    target_shift: Tensor | None = None
    target_scale: Tensor | None = None
    judged: bool = False

    def to_meta(self) -> dict[str, Any]:
        """For the metadata of a file."""
        spec = trust.absolute_network(self.spec)
        return {
            KEY: {
                "network_spec": spec,
                "network_signature": trust.sign_network(spec),
                "input_shape": None if self.input_shape is None else list(self.input_shape),
                "n_outputs": self.n_outputs,
                "task": self.task,
                "outputs": list(self.outputs),
                "columns": list(self.columns),
                "judged": self.judged,
                **{key: None if value is None else value.tolist() for key, value in self._units().items()},
            }
        }

    def _units(self) -> dict[str, Tensor | None]:
        return {key: getattr(self, key) for key in _UNITS}


def is_in(path: Path) -> bool:
    """Whether a file has a record for :func:`read`."""
    return formats.of(path) == Format.SZD and KEY in file.inspect(path).meta


def read(path: Path, spec: str | None, *, trusted: bool) -> BuildRecord | None:
    """The record in a file; ``spec``, if it was typed, replaces the one in the file.

    Returns:
        None where the file has no record.

    Raises:
        SzilardError: the record cannot be read, or names code that is not trusted.
    """
    if formats.of(path) != Format.SZD:
        return None
    stored = file.inspect(path).meta.get(KEY)
    if stored is None:
        return None
    found, signature = _parse(path, stored)
    if spec is not None:
        return replace(found, spec=spec)
    if not trust.knows_network(found.spec, signature):
        if not trusted:
            raise SzilardError(
                f"{path} needs to run {printable(found.spec)}, and your own szilard did not write that name; "
                "add --trust if you trust it, or name your own code with --network"
            )
        notifier()(f"running {printable(found.spec.rpartition(':')[0])}, named by {printable(str(path))}")
    return found


def _parse(path: Path, stored: Any) -> tuple[BuildRecord, Any]:
    try:
        spec, shape, outputs = stored["network_spec"], stored["input_shape"], stored["n_outputs"]
        names, columns, task = stored["outputs"], stored.get("columns", []), stored["task"]
        known = shape is None or (len(shape) <= _MOST_SIDES and all(_is_size(side) for side in shape))
        counted = outputs is None or _is_size(outputs)
        named = all(
            isinstance(some, list) and all(isinstance(name, str) for name in some)
            for some in (names, columns)
        )
        if not (_is_text(spec) and known and counted and named and _is_text(task)):
            raise ValueError
        units = {key: _numbers(stored[key]) for key in _UNITS}
        _check_pair(units["shift"], units["scale"], shape)
        _check_pair(units["target_shift"], units["target_scale"], None)
        found = BuildRecord(
            spec,
            None if shape is None else tuple(shape),
            outputs,
            task,
            outputs=tuple(names),
            columns=tuple(columns),
            judged=stored["judged"] is True,
            **units,
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise SzilardError(
            f"{path} describes how its network is built in a way that cannot be read; add --network, or get the file "
            "from its source again"
        ) from error
    return found, stored.get("network_signature")


def _check_pair(shift: Tensor | None, scale: Tensor | None, shape: Any) -> None:
    if (shift is None) != (scale is None):
        raise ValueError
    if shift is None or scale is None:
        return
    if not bool((scale > 0).all()):
        raise ValueError
    torch.broadcast_shapes(shift.shape, scale.shape)
    if shape is not None:
        shift.expand(shape)
        scale.expand(shape)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _MOST_TEXT and "\0" not in value


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 < value <= _MOST


def _numbers(value: Any) -> Tensor | None:
    if value is None:
        return None
    found = torch.tensor(value, dtype=torch.float64)
    if found.numel() > _MOST or not bool(torch.isfinite(found).all()):
        raise ValueError
    return found
