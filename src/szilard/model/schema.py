"""Fields that describe the network in a ``.szd`` or ``network.pt`` file, and their checks."""

from __future__ import annotations

import math
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from szilard import methods
from szilard.data.image_range import UNIT, Range
from szilard.data.reading import MISSING, Reading
from szilard.errors import SzilardError
from szilard.likelihood.targets import DATA_TASKS, TaskName, of_data
from szilard.model.field_checks import Fields

MOST_INPUTS = 1 << 24  #: numbers of one input
_MOST_SIDES = 8
_MOST_OUTPUTS = 1 << 20
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
        image_range: as in :class:`szilard.data.DataSet`; 0 and 1 in files of earlier versions.
        shift, scale: ``[D]`` for features, float64; ``[C, 1, ...]`` or the input's shape for inputs with more axes,
            float32.
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
    image_range: Range = UNIT


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
            return statistic.detach().cpu().to(_type(input_shape)).expand(shape).clone()
        except RuntimeError:
            continue
    raise SzilardError(
        f"a normalisation of shape {list(statistic.shape)} does not fit inputs of shape {list(input_shape)}; "
        "give one number for each feature or channel"
    )


def _type(input_shape: tuple[int, ...]) -> torch.dtype:
    """Of shift and scale: float64 for features, which can be as large as a time in seconds."""
    return torch.float64 if len(input_shape) == 1 else torch.float32


def _shapes(input_shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    if len(input_shape) == 1:
        return [input_shape]
    return [(input_shape[0], *[1] * (len(input_shape) - 1)), input_shape]


class _Reader(Fields):
    def saved(self) -> Saved:
        task: TaskName = self.choice("task", self.field("task"), DATA_TASKS)
        shape = self._input_shape()
        classes, features = (self.texts(name, self.field(name)) for name in ("classes", "feature_names"))
        n_outputs = self.whole("n_outputs", self.field("n_outputs"), 1, _MOST_OUTPUTS)
        targets = self.texts("targets", self.content.get("targets", []))
        target_type = of_data(task)
        expected = target_type.n_outputs(classes, targets)
        if n_outputs != expected or (target_type.in_columns and not targets):
            names = "classes" if target_type.has_classes else "targets"
            self.refuse(
                "n_outputs",
                f"is {n_outputs}, and {task} with {len(classes or targets)} {names} has {expected}",
            )
        if classes and not target_type.has_classes:
            self.refuse("classes", f"must be empty for {task}")
        if targets and target_type.has_classes:
            self.refuse("targets", f"must be empty for {task}")
        several = len(targets) if target_type.in_units else 0
        if features and (len(shape) != 1 or len(features) != shape[0]):
            self.refuse("feature_names", f"has {len(features)} names for inputs of shape {list(shape)}")
        method = self.choice("method", self.field("method"), tuple(methods.names()))
        return Saved(
            network_spec=self.optional_text("network_spec", self.field("network_spec")),
            network_signature=self.optional_text("network_signature", self.content.get("network_signature")),
            method=method,
            method_options=self._options(method),
            n_data=self.whole("n_data", self.field("n_data"), 1, _LARGEST),
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
            data_signature=self.optional_text("data_signature", self.content.get("data_signature")),
            answers=self.text("answers", self.content.get("answers", "")),
            noise=self.optional_number("noise", self.content.get("noise")),
            reading=self._reading(features),
            image_range=self._image_range(),
        )

    def _input_shape(self) -> tuple[int, ...]:
        found = self.items("input_shape", self.field("input_shape"))
        if not 1 <= len(found) <= _MOST_SIDES:
            self.refuse("input_shape", f"must have 1 to {_MOST_SIDES} dimensions, and has {len(found)}")
        shape = tuple(self.whole("input_shape", side, 1, MOST_INPUTS) for side in found)
        if math.prod(shape) > MOST_INPUTS:
            self.refuse("input_shape", f"is {list(shape)}, with more than {MOST_INPUTS} numbers")
        return shape

    def _options(self, method: str) -> dict[str, Any]:
        found = self.table("method_options", self.field("method_options"))
        try:
            methods.make(method, 1, **found)
        except SzilardError as error:
            self.refuse("method_options", f"are not valid for {method}: {error}")
        return found

    def _state(self, task: TaskName) -> dict[str, Any]:
        found = self.table("method_state", self.field("method_state"))
        for key in ("step", "total_steps", "calibration", "task"):
            if key not in found:
                self.refuse("method_state", f"lacks {key}")
        if found["task"] != task:
            self.refuse("method_state", "has another task than the network")
        total = found["total_steps"]
        return {
            "step": self.whole("method_state step", found["step"], 0, _LARGEST),
            "total_steps": None
            if total is None
            else self.whole("method_state total_steps", total, 1, _LARGEST),
            "calibration": self.number("method_state calibration", found["calibration"], positive=True),
            "task": task,
        }

    def _data(self) -> dict[str, Any]:
        """Arguments of :func:`szilard.data.load`, except ``download``; other entries are refused."""
        found = self.table("data", self.field("data"))
        known = (
            "name", "root", "target", "split", "n_train", "seed", "ood", "task", "drop_constant", "ignore", "missing",
            "date", "group", "time", "decimal", "categorical",
        )  # fmt: skip
        for key, value in found.items():
            what = f"data {key}"
            if key not in known:
                self.refuse("data", f"has the entry {reprlib.repr(key)}, which is not allowed")
            if value is None:
                continue
            if key in ("ignore", "date", "categorical"):
                for item in self.items(what, value):
                    self.text(what, item)
            elif key in ("missing", "decimal"):
                self.choice(what, value, MISSING if key == "missing" else (".", ","))
            elif key in ("name", "root", "target", "ood", "task", "group", "time"):
                self.text(what, value)
            elif key == "drop_constant":
                if not isinstance(value, bool):
                    self.refuse(what, f"must be true or false, and is {reprlib.repr(value)}")
            else:
                self.whole(
                    what, value, 1 if key == "n_train" else 0 if key == "split" else -_LARGEST, _LARGEST
                )
        if found and found.get("name") is None and set(found) - {"root"}:
            self.refuse("data", "does not name a data set")
        if found.get("task") is not None:
            self.choice("data task", found["task"], DATA_TASKS)
        return {key: value for key, value in found.items() if value is not None}

    def _image_range(self) -> Range:
        found = self.items("image_range", self.content.get("image_range", list(UNIT)))
        low, high = (self.number("image_range", one) for one in found) if len(found) == 2 else (1.0, 0.0)
        if not low <= high:
            self.refuse("image_range", "must be the lowest and the highest value of the training images")
        return low, high

    def _reading(self, features: tuple[str, ...]) -> dict[str, Any] | None:
        found = self.content.get("reading")
        if found is None:
            return None
        try:
            reading = Reading.from_dict(found)
        except ValueError as error:
            self.refuse("reading", str(error))
        if reading.feature_names != features:
            self.refuse("reading", "has other features than feature_names")
        return reading.to_dict()

    def _statistic(self, name: str, input_shape: tuple[int, ...], *, positive: bool = False) -> Tensor:
        value = self.field(name)
        shapes = _shapes(input_shape)
        if isinstance(value, Tensor):
            if tuple(value.shape) not in shapes or not value.is_floating_point():
                self.refuse(name, f"must have shape {' or '.join(str(list(shape)) for shape in shapes)}")
            found = value.to(_type(input_shape))
        else:
            shape = next((shape for shape in shapes if self._has_shape(name, value, shape)), None)
            if shape is None:
                self.refuse(name, f"must have shape {' or '.join(str(list(shape)) for shape in shapes)}")
            found = torch.tensor(value, dtype=_type(input_shape))
        if not torch.isfinite(found.float()).all() or (positive and not (found.float() > 0).all()):
            self.refuse(name, "must be finite" + (" and above zero" if positive else ""))
        return found

    def _has_shape(self, name: str, value: Any, shape: tuple[int, ...]) -> bool:
        if not shape:
            return isinstance(value, int | float) and abs(self.number(name, value)) <= _FLOAT32
        return (
            isinstance(value, list | tuple)
            and len(value) == shape[0]
            and all(self._has_shape(name, item, shape[1:]) for item in value)
        )

    def _units(self, name: str, several: int, *, positive: bool = False) -> float | list[float]:
        """A number, or a list of one for each of several targets."""
        value = self.field(name)
        if not several:
            return self.number(name, value, positive=positive)
        found = self.items(name, value)
        if len(found) != several:
            self.refuse(name, f"has {len(found)} numbers for {several} targets")
        return [self.number(name, one, positive=positive) for one in found]
