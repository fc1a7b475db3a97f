"""Fields that describe the network in a ``.szd`` or ``network.pt`` file, and their checks."""

from __future__ import annotations

import math
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from szilard import methods
from szilard.data.reading import MISSING, Reading
from szilard.errors import SzilardError
from szilard.file.error import SzilardFileError, printable
from szilard.likelihood.targets import DATA_TASKS, TaskName, of_data

MOST_INPUTS = 1 << 24  #: numbers of one input
_MOST_SIDES = 8
_MOST_OUTPUTS = 1 << 20
_MOST_TEXT = 4096  # characters of a spec, a path or a name
_LARGEST = 1 << 53  # largest whole number
_FLOAT32 = 3.4e38


@dataclass(frozen=True, eq=False)
class Saved:
    """The fields of a file; see :class:`szilard.training.SavedNetwork`.

    Attributes:
        network_signature, data_signature: from :mod:`szilard.model.trust`, or None.
        method_state: ``step``, ``total_steps``, ``calibration`` and ``task``.
        target_shift, target_scale: a number, or one for each of several targets.
        targets: names of several targets or of labels; empty in files of earlier versions.
        answers, noise: of an external network, see :class:`szilard.training.SavedNetwork`.
        reading: of a table, as returned by :meth:`szilard.data.reading.Reading.to_dict`, or None.
        shift, scale: float32, ``[D]`` for features; ``[C, 1, ...]`` or the input's shape for inputs with more axes.
    """

    network_spec: str | None
    network_signature: str | None
    method: str
    method_options: dict[str, Any]
    n_data: int
    method_state: dict[str, Any]
    task: TaskName
    input_shape: tuple[int, ...]
    n_outputs: int
    classes: tuple[str, ...]
    feature_names: tuple[str, ...]
    shift: Tensor
    scale: Tensor
    target_shift: float | list[float]
    target_scale: float | list[float]
    data: dict[str, Any]
    data_signature: str | None
    answers: str = ""
    noise: float | None = None
    reading: dict[str, Any] | None = None
    targets: tuple[str, ...] = ()


def read(path: Path, content: Any) -> Saved:
    """Check the fields of an untrusted file. Unknown fields are ignored.

    Args:
        path: the file, for messages.
        content: the dict of fields, from JSON or from a pickle.

    Raises:
        SzilardFileError: the first field that is missing, of the wrong type or size, not finite, or inconsistent with
            the others.
    """
    return _Reader(path, content).saved()


def narrow(statistic: Tensor, input_shape: tuple[int, ...]) -> Tensor:
    """A shift or scale in the shape that files use: one number per feature or channel if that is enough.

    Raises:
        SzilardError: it cannot be broadcast to ``input_shape``.
    """
    for shape in _shapes(input_shape):
        try:
            return statistic.detach().cpu().float().expand(shape).clone()
        except RuntimeError:
            continue
    raise SzilardError(
        f"a normalisation of shape {list(statistic.shape)} does not fit inputs of shape {list(input_shape)}; "
        "give one number for each feature or channel"
    )


def _shapes(input_shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    if len(input_shape) == 1:
        return [input_shape]
    return [(input_shape[0], *[1] * (len(input_shape) - 1)), input_shape]


class _Reader:
    def __init__(self, path: Path, content: Any) -> None:
        self.path = path
        if not isinstance(content, dict):
            self._refuse("network", "must be a table of fields")
        self.content = content

    def saved(self) -> Saved:
        task: TaskName = self._choice("task", self._field("task"), DATA_TASKS)
        shape = self._input_shape()
        classes, features = (self._texts(name, self._field(name)) for name in ("classes", "feature_names"))
        n_outputs = self._whole("n_outputs", self._field("n_outputs"), 1, _MOST_OUTPUTS)
        targets = self._texts("targets", self.content.get("targets", []))
        target_type = of_data(task)
        expected = target_type.n_outputs(classes, targets)
        if n_outputs != expected or (target_type.in_columns and not targets):
            names = "classes" if target_type.has_classes else "targets"
            self._refuse(
                "n_outputs",
                f"is {n_outputs}, and {task} with {len(classes or targets)} {names} has {expected}",
            )
        if classes and not target_type.has_classes:
            self._refuse("classes", f"must be empty for {task}")
        if targets and target_type.has_classes:
            self._refuse("targets", f"must be empty for {task}")
        several = len(targets) if target_type.in_units else 0
        if features and (len(shape) != 1 or len(features) != shape[0]):
            self._refuse("feature_names", f"has {len(features)} names for inputs of shape {list(shape)}")
        method = self._choice("method", self._field("method"), tuple(methods.names()))
        return Saved(
            network_spec=self._optional_text("network_spec", self._field("network_spec")),
            network_signature=self._optional_text("network_signature", self.content.get("network_signature")),
            method=method,
            method_options=self._options(method),
            n_data=self._whole("n_data", self._field("n_data"), 1, _LARGEST),
            method_state=self._state(task),
            task=task,
            input_shape=shape,
            n_outputs=n_outputs,
            classes=classes,
            feature_names=features,
            shift=self._statistic("shift", shape),
            scale=self._statistic("scale", shape, positive=True),
            target_shift=self._units("target_shift", several),
            target_scale=self._units("target_scale", several, positive=True),
            targets=targets,
            data=self._data(),
            data_signature=self._optional_text("data_signature", self.content.get("data_signature")),
            answers=self._text("answers", self.content.get("answers", "")),
            noise=self._optional_number("noise", self.content.get("noise")),
            reading=self._reading(features),
        )

    # -- fields with their own checks ---------------------------------------------------------------

    def _input_shape(self) -> tuple[int, ...]:
        found = self._list("input_shape", self._field("input_shape"))
        if not 1 <= len(found) <= _MOST_SIDES:
            self._refuse("input_shape", f"must have 1 to {_MOST_SIDES} dimensions, and has {len(found)}")
        shape = tuple(self._whole("input_shape", side, 1, MOST_INPUTS) for side in found)
        if math.prod(shape) > MOST_INPUTS:
            self._refuse("input_shape", f"is {list(shape)}, with more than {MOST_INPUTS} numbers")
        return shape

    def _options(self, method: str) -> dict[str, Any]:
        found = self._table("method_options", self._field("method_options"))
        try:
            methods.make(method, 1, **found)
        except SzilardError as error:
            self._refuse("method_options", f"are not valid for {method}: {error}")
        return found

    def _state(self, task: TaskName) -> dict[str, Any]:
        found = self._table("method_state", self._field("method_state"))
        for key in ("step", "total_steps", "calibration", "task"):
            if key not in found:
                self._refuse("method_state", f"lacks {key}")
        if found["task"] != task:
            self._refuse("method_state", "has another task than the network")
        total = found["total_steps"]
        return {
            "step": self._whole("method_state step", found["step"], 0, _LARGEST),
            "total_steps": None
            if total is None
            else self._whole("method_state total_steps", total, 1, _LARGEST),
            "calibration": self._number("method_state calibration", found["calibration"], positive=True),
            "task": task,
        }

    def _data(self) -> dict[str, Any]:
        """Arguments of :func:`szilard.data.load`, except ``download``; other entries are refused."""
        found = self._table("data", self._field("data"))
        known = (
            "name", "root", "target", "split", "n_train", "seed", "ood", "task", "drop_constant", "ignore", "missing",
            "date", "group", "time", "decimal", "categorical",
        )  # fmt: skip
        for key, value in found.items():
            what = f"data {key}"
            if key not in known:
                self._refuse("data", f"has the entry {reprlib.repr(key)}, which is not allowed")
            if value is None:
                continue
            if key in ("ignore", "date", "categorical"):
                for item in self._list(what, value):
                    self._text(what, item)
            elif key in ("missing", "decimal"):
                self._choice(what, value, MISSING if key == "missing" else (".", ","))
            elif key in ("name", "root", "target", "ood", "task", "group", "time"):
                self._text(what, value)
            elif key == "drop_constant":
                if not isinstance(value, bool):
                    self._refuse(what, f"must be true or false, and is {reprlib.repr(value)}")
            else:
                self._whole(
                    what, value, 1 if key == "n_train" else 0 if key == "split" else -_LARGEST, _LARGEST
                )
        if found and found.get("name") is None and set(found) - {"root"}:
            self._refuse("data", "does not name a data set")
        if found.get("task") is not None:
            self._choice("data task", found["task"], DATA_TASKS)
        return {key: value for key, value in found.items() if value is not None}

    def _reading(self, features: tuple[str, ...]) -> dict[str, Any] | None:
        found = self.content.get("reading")
        if found is None:
            return None
        try:
            reading = Reading.from_dict(found)
        except ValueError as error:
            self._refuse("reading", str(error))
        if reading.feature_names != features:
            self._refuse("reading", "has other features than feature_names")
        return reading.to_dict()

    def _statistic(self, name: str, input_shape: tuple[int, ...], *, positive: bool = False) -> Tensor:
        value = self._field(name)
        shapes = _shapes(input_shape)
        if isinstance(value, Tensor):
            if tuple(value.shape) not in shapes or not value.is_floating_point():
                self._refuse(name, f"must have shape {' or '.join(str(list(shape)) for shape in shapes)}")
            found = value.float()
        else:
            shape = next((shape for shape in shapes if self._has_shape(name, value, shape)), None)
            if shape is None:
                self._refuse(name, f"must have shape {' or '.join(str(list(shape)) for shape in shapes)}")
            found = torch.tensor(value, dtype=torch.float32)
        if not torch.isfinite(found).all() or (positive and not (found > 0).all()):
            self._refuse(name, "must be finite" + (" and above zero" if positive else ""))
        return found

    def _has_shape(self, name: str, value: Any, shape: tuple[int, ...]) -> bool:
        if not shape:
            return isinstance(value, int | float) and abs(self._number(name, value)) <= _FLOAT32
        return (
            isinstance(value, list | tuple)
            and len(value) == shape[0]
            and all(self._has_shape(name, item, shape[1:]) for item in value)
        )

    # -- types --------------------------------------------------------------------------------------

    def _field(self, name: str) -> Any:
        if name not in self.content:
            self._refuse(name, "is missing")
        return self.content[name]

    def _table(self, name: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            self._refuse(name, f"must be a table, and is {reprlib.repr(value)}")
        return dict(value)

    def _list(self, name: str, value: Any) -> list[Any]:
        if not isinstance(value, list | tuple):
            self._refuse(name, f"must be a list, and is {reprlib.repr(value)}")
        return list(value)

    def _units(self, name: str, several: int, *, positive: bool = False) -> float | list[float]:
        """A number, or a list of one for each of several targets."""
        value = self._field(name)
        if not several:
            return self._number(name, value, positive=positive)
        found = self._list(name, value)
        if len(found) != several:
            self._refuse(name, f"has {len(found)} numbers for {several} targets")
        return [self._number(name, one, positive=positive) for one in found]

    def _texts(self, name: str, value: Any) -> tuple[str, ...]:
        found = self._list(name, value)
        if len(found) > MOST_INPUTS:
            self._refuse(name, "has too many entries")
        return tuple(self._text(name, value) for value in found)

    def _optional_text(self, name: str, value: Any) -> str | None:
        return None if value is None else self._text(name, value)

    def _text(self, name: str, value: Any) -> str:
        if not isinstance(value, str) or len(value) > _MOST_TEXT:
            self._refuse(
                name, f"must be a string of at most {_MOST_TEXT} characters, and is {reprlib.repr(value)}"
            )
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            self._refuse(name, "has characters that are not valid in text and paths")
        return value

    def _choice(self, name: str, value: Any, choices: tuple[str, ...]) -> Any:
        if not isinstance(value, str) or value not in choices:
            self._refuse(name, f"must be one of {', '.join(choices)}, and is {reprlib.repr(value)}")
        return value

    def _whole(self, name: str, value: Any, least: int, most: int) -> int:
        if type(value) is not int or not least <= value <= most:
            self._refuse(name, f"must be a whole number from {least} to {most}, and is {reprlib.repr(value)}")
        return value

    def _number(self, name: str, value: Any, *, positive: bool = False) -> float:
        if type(value) not in (int, float) or not abs(value) <= 1e300 or (positive and not value > 0):
            what = "a finite number above zero" if positive else "a finite number"
            self._refuse(name, f"must be {what}, and is {reprlib.repr(value)}")
        return float(value)

    def _optional_number(self, name: str, value: Any) -> float | None:
        return None if value is None else self._number(name, value, positive=True)

    def _refuse(self, name: str, what: str) -> NoReturn:
        raise SzilardFileError(
            f"{self.path} has an invalid description of its network: {name} {printable(what)}; "
            "download or make the file again"
        )
