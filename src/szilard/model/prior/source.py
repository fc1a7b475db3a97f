"""What a prior from a run is: means and deviations of weights, other tensors, and what inputs and targets mean.

It is kept in a file ``prior.pt``, so that a run that uses it needs its source only once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from szilard.bayes.next_prior import Values
from szilard.file.error import SzilardFileError, printable
from szilard.model import checkpoint, schema
from szilard.model.schema import Saved

KIND = "prior"
MOST = 15.0  #: of |ln s|; far beyond, 1/s² is no number in single precision


@dataclass(frozen=True, eq=False)
class Source:
    """A prior from a run.

    Attributes:
        label: where it comes from, for messages: "ssvi on mnist".
        about: network, task, shapes, names and normalisation of the source, as in a saved network.
        weights: dense m and ln s by the names of :func:`szilard.bayes.weights`, without the wrapper of a regression.
        rest: biases and all other tensors by name, which start at these values.
        content: the bytes of the file.
    """

    label: str
    about: Saved
    weights: dict[str, Values]
    rest: dict[str, Tensor]
    content: bytes = field(repr=False)

    @property
    def hash(self) -> str:
        """SHA-256 of the file, hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()


def made(label: str, about: dict[str, Any], weights: dict[str, Values], rest: dict[str, Tensor]) -> Source:
    """A prior and the bytes of its file.

    Args:
        label, weights, rest: as in :class:`Source`.
        about: the fields of :mod:`szilard.model.schema`, as JSON values.
    """
    content = checkpoint.written(
        KIND,
        {
            "label": label,
            "about": about,
            "weights": {name: values._asdict() for name, values in weights.items()},
            "rest": rest,
        },
    )
    return Source(label, schema.read(Path("prior.pt"), about), weights, rest, content)


def load(path: Path, expected: str | None = None) -> Source:
    """Read a ``prior.pt``; no code from the file is run.

    Args:
        expected: the hash that ``run.toml`` states.

    Raises:
        SzilardFileError: missing, damaged, of another run than the hash says, or with content that szilard does not
            write.
    """
    found = checkpoint.load(path, KIND)
    with checkpoint.reading(path, KIND):
        weights = {name: _values(path, name, one) for name, one in _table(path, found, "weights").items()}
        rest = _table(path, found, "rest")
        for name, tensor in rest.items():
            _tensor(path, name, tensor, None)
        about = schema.read(path, found.get("about"))
        source = Source(printable(str(found.get("label")))[:200], about, weights, rest, path.read_bytes())
    if not weights:
        raise SzilardFileError(f"the prior {path} has no weight; make it again from a run with --prior")
    if expected is not None and source.hash != expected:
        raise SzilardFileError(
            f"{path} is not the prior that run.toml beside it names, because its hash differs; restore the file, or "
            "start a new run with --prior"
        )
    return source


def _table(path: Path, found: dict[str, Any], name: str) -> dict[str, Any]:
    table = found.get(name)
    if not isinstance(table, dict) or not all(isinstance(key, str) for key in table):
        raise _refusal(path, name)
    return table


def _values(path: Path, name: str, found: Any) -> Values:
    if not isinstance(found, dict) or set(found) != set(Values._fields):
        raise _refusal(path, name)
    mean, log_std, known = found["mean"], found["log_std"], found["known"]
    _tensor(path, name, mean, None)
    _tensor(path, name, log_std, mean)
    if not (mean.is_floating_point() and log_std.is_floating_point() and mean.dim() >= 1):
        raise _refusal(path, name)
    if known is not None:
        _tensor(path, name, known, mean)
        if known.dtype != torch.bool:
            raise _refusal(path, name)
    if float(log_std.abs().max() if log_std.numel() else 0.0) > MOST:
        raise _refusal(path, name)
    return Values(mean, log_std, known)


def _tensor(path: Path, name: str, value: Any, like: Tensor | None) -> None:
    right = isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized
    if not right or (like is not None and value.shape != like.shape) or not bool(torch.isfinite(value).all()):
        raise _refusal(path, name)


def _refusal(path: Path, name: str) -> SzilardFileError:
    return SzilardFileError(
        f"the prior {path} is damaged: {printable(name)[:80] or 'its weight'} is not a pair of finite mean and ln σ, "
        "or no finite tensor; make it again from a run with --prior"
    )
