"""What a ``.szd`` file remembers of a network that no data set of ours describes: how it is built, and its units."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from szilard import file
from szilard.cli.told import once
from szilard.errors import SzilardError, printable
from szilard.model import formats, trust
from szilard.model.formats import Format

KEY = "built"  #: of the metadata
_MOST_TEXT = 4096
_MOST_SIDES = 8
_UNITS = ("shift", "scale", "target_shift", "target_scale")
_MOST = 1 << 24  # numbers of one input


@dataclass(frozen=True)
class Built:
    """How a network is built, and how its inputs are read.

    Attributes:
        spec: of ``--network``, with the whole path of its file.
        input_shape, n_outputs: which the function may want; None where they are not known.
        task: of :data:`szilard.likelihood.TASKS`, or empty.
        shift, scale: inputs are (raw - shift) / scale, broadcastable; None: as they are in the data.
        outputs: names of the outputs, or empty.
        columns: names of the inputs' columns in a table, or empty.
        target_shift, target_scale: quantities are answer * scale + shift; None: as they are.
        judged: labelled data have told the units; otherwise nobody knows them.
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


def says(path: Path) -> bool:
    """Whether a file says how its network is built, as :func:`of` reads it."""
    return formats.of(path) == Format.SZD and KEY in file.inspect(path).meta


def of(path: Path, spec: str | None, *, trusted: bool) -> Built | None:
    """What a file says; ``spec``, if it was typed, is followed instead of the one in the file.

    Returns:
        None where it says nothing of this kind.

    Raises:
        SzilardError: what it says cannot be read, or names code that is not trusted.
    """
    if formats.of(path) != Format.SZD:
        return None
    said = file.inspect(path).meta.get(KEY)
    if said is None:
        return None
    found, signature = _read(path, said)
    if spec is not None:
        return replace(found, spec=spec)
    if not trust.knows_network(found.spec, signature):
        if not trusted:
            raise SzilardError(
                f"{path} wants to run {printable(found.spec)}, and this user's own szilard has not written that; "
                "add --trust if you trust it, or name your own code with --network"
            )
        once()(f"running {printable(found.spec.rpartition(':')[0])}, named by {printable(str(path))}")
    return found


def _read(path: Path, said: Any) -> tuple[Built, Any]:
    try:
        spec, shape, outputs = said["network_spec"], said["input_shape"], said["n_outputs"]
        names, columns, task = said["outputs"], said.get("columns", []), said["task"]
        known = shape is None or (len(shape) <= _MOST_SIDES and all(_whole(side) for side in shape))
        counted = outputs is None or _whole(outputs)
        named = all(
            isinstance(some, list) and all(isinstance(name, str) for name in some)
            for some in (names, columns)
        )
        if not (_text(spec) and known and counted and named and _text(task)):
            raise ValueError
        units = {key: _numbers(said[key]) for key in _UNITS}
        _check_pair(units["shift"], units["scale"], shape)
        _check_pair(units["target_shift"], units["target_scale"], None)
        found = Built(
            spec,
            None if shape is None else tuple(shape),
            outputs,
            task,
            outputs=tuple(names),
            columns=tuple(columns),
            judged=said["judged"] is True,
            **units,
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise SzilardError(
            f"{path} describes how its network is built in a way that cannot be read; add --network, or get the file "
            "again from where it came"
        ) from error
    return found, said.get("network_signature")


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


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _MOST_TEXT and "\0" not in value


def _whole(value: Any) -> bool:
    return type(value) is int and 0 < value <= _MOST


def _numbers(value: Any) -> Tensor | None:
    if value is None:
        return None
    found = torch.tensor(value, dtype=torch.float32)
    if found.numel() > _MOST or not bool(torch.isfinite(found).all()):
        raise ValueError
    return found
