"""What a compiled file says of itself: text by name, the same for every format of file."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from szilard.data.image_range import Range
from szilard.deploy.uncertainty import Answer
from szilard.errors import SzilardError
from szilard.version import __version__

FORMAT = 1  #: Version of the entries below; a reader refuses later ones.
PREFIX = "szilard."
HASH = f"{PREFIX}sha256"
_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
        torch.uint8, torch.bool,
    )
}  # fmt: skip
_MODES = {"point": ("mean",), "moments": ("mean", "variance"), "samples": (), "ensemble": ()}
_MOST_AXES, _MOST_SIZE = 16, 2**31


@dataclass(frozen=True)
class Description:
    """What a reader needs in order to call a compiled file and to say what its outputs mean.

    Attributes:
        mode: of the graph.
        shape: of one input.
        batch: the only batch size that the file takes; None: any.
        dtype: of the inputs.
        outputs: names of the outputs in order.
        uncertainty: name of the rule that makes answers of outputs.
        labels: names of classes or targets; may be empty.
        other: text of the caller, for example how inputs are preprocessed.
        image_range: lowest and highest value of the training images, in the units of the inputs.
        factors: of the variance of the outputs of each member, for information: they are part of the graph.
    """

    mode: str
    shape: tuple[int, ...]
    batch: int | None
    dtype: torch.dtype
    outputs: tuple[str, ...]
    uncertainty: str
    labels: tuple[str, ...] = ()
    other: Mapping[str, str] = field(default_factory=dict)
    factors: tuple[float, ...] = ()
    image_range: Range | None = None

    def entries(self) -> dict[str, str]:
        """The description as text by name, without a hash.

        Raises:
            SzilardError: a name of ``other`` starts with the prefix of this package's own.
        """
        for name in self.other:
            if name.startswith(PREFIX):
                raise SzilardError(
                    f"metadata {name!r} has the prefix {PREFIX!r} of szilard's own entries; rename it"
                )
        own = {
            "format": str(FORMAT),
            "version": __version__,
            "mode": self.mode,
            "shape": json.dumps(self.shape),
            "batch": json.dumps(self.batch),
            "dtype": str(self.dtype).removeprefix("torch."),
            "outputs": json.dumps(self.outputs),
            "uncertainty": self.uncertainty,
            "labels": json.dumps(self.labels),
        }
        if any(factor != 1 for factor in self.factors):
            own["variance_factor"] = ", ".join(f"{factor:.6g}" for factor in self.factors)
        if self.image_range is not None:
            own["image_range"] = json.dumps(self.image_range)
        return {f"{PREFIX}{name}": value for name, value in own.items()} | dict(self.other)

    @classmethod
    def of(cls, entries: Mapping[str, str], path: object) -> Description:
        """The description in a file, every entry checked.

        Args:
            entries: text by name.
            path: of the file, for messages.

        Raises:
            SzilardError: the file was not written by szilard or by a later version of it, or an entry is damaged.
        """
        if HASH not in entries or f"{PREFIX}format" not in entries:
            raise SzilardError(f"{path} was not written by szilard; run it with its own runtime")
        own = {name: entries.get(f"{PREFIX}{name}", "") for name in _NAMES}
        version = own["format"]
        if not (version.isascii() and version.isdigit() and len(version) < 10):
            raise SzilardError(f"{path} is damaged: its format version is {version!r}; write it again")
        if int(version) > FORMAT:
            raise SzilardError(
                f"{path} has format version {int(version)} and this szilard knows {FORMAT}; upgrade szilard"
            )
        mode, dtype = own["mode"], own["dtype"]
        shape, batch = _json(own["shape"]), _json(own["batch"])
        outputs, labels = _json(own["outputs"]), _json(own["labels"])
        own["image_range"] = entries.get(f"{PREFIX}image_range", "null")  # not in files of earlier versions
        images = _json(own["image_range"])
        valid = {
            "mode": mode in _MODES,
            "shape": _sizes(shape),
            "batch": batch is None or _sizes([batch]),
            "dtype": dtype in _DTYPES,
            "outputs": outputs == [*Answer._fields, *_MODES.get(mode, ())],
            "image_range": images is None or _is_range(images),
            "labels": isinstance(labels, list) and all(isinstance(label, str) for label in labels),
        }
        for name, good in valid.items():
            if not good:
                raise SzilardError(f"{path} is damaged: its {name} is {own[name][:80]!r}; write it again")
        other = {name: value for name, value in entries.items() if not name.startswith(PREFIX)}
        return cls(
            mode,
            tuple(shape),
            batch,
            _DTYPES[dtype],
            tuple(outputs),
            own["uncertainty"],
            tuple(labels),
            other,
            image_range=None if images is None else (float(images[0]), float(images[1])),
        )


_NAMES = ("format", "mode", "shape", "batch", "dtype", "outputs", "uncertainty", "labels")


def hashed(parts: Sequence[bytes]) -> str:
    """SHA-256 of several parts, with their lengths, so that no two lists of parts are alike."""
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.hexdigest()


def packed(entries: Mapping[str, str]) -> bytes:
    """Entries as JSON, for formats without named metadata."""
    return json.dumps(dict(entries), sort_keys=True).encode()


def unpacked(text: bytes, path: object) -> dict[str, str]:
    """The reverse of :func:`packed`.

    Raises:
        SzilardError: it is not such a text.
    """
    try:
        found = _json(text.decode())
    except UnicodeDecodeError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise SzilardError(f"{path} is damaged: its description cannot be read; write it again")
    return found


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return ...  # equal to nothing valid; null is a valid batch


def _is_range(found: Any) -> bool:
    numbers = isinstance(found, list) and len(found) == 2 and all(type(n) in (int, float) for n in found)
    return numbers and all(map(math.isfinite, found)) and found[0] < found[1]


def _sizes(found: Any) -> bool:
    return (
        isinstance(found, list)
        and len(found) <= _MOST_AXES
        and all(isinstance(n, int) and not isinstance(n, bool) and 0 < n < _MOST_SIZE for n in found)
    )
