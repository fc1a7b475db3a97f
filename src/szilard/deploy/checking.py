"""Compares a compiled network with the same graph in plain PyTorch."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from szilard import atomic
from szilard.errors import SzilardError

TOLERANCE = 1e-3  # of the outputs' size; float32 in another order differs by some 1e-6
_MOST = 64  # inputs of the check
_NATS = 1.0  # size of uncertainties in nats: they are differences of entropies of this size
_ROUNDING = torch.finfo(torch.float32).eps
_UNCERTAINTIES = ("aleatoric", "epistemic")


def some(example: Tensor, batch: int | None) -> Tensor:
    """Inputs for the check: those of the example, repeated or cut to the batch size if that is fixed."""
    count = min(len(example), _MOST) if batch is None else batch
    return example[torch.arange(count) % len(example)].contiguous()


def difference(
    found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], *, in_nats: bool
) -> tuple[float, str]:
    """The largest difference of two sets of outputs, relative to the outputs' size, and the name of its output.

    The size is the largest absolute value; both uncertainties have the size of their sum, so that rounding of an
    epistemic uncertainty near zero does not count as a difference. The size of a variance is at least that of the
    rounding of its mean: runtimes set numbers near the smallest float32 to zero.

    Args:
        found, wanted: outputs by name, of the same shapes.
        in_nats: whether uncertainties are entropies in nats; else variances.
    """
    total = sum(float(wanted[name].abs().max()) for name in _UNCERTAINTIES)
    worst, where = 0.0, "answer"
    for name, value in wanted.items():
        if found[name].shape != value.shape:
            return float("inf"), name
        size = float(value.abs().max())
        if name in _UNCERTAINTIES:
            size = max(total, _NATS) if in_nats else total
        elif name == "variance":
            size = max(size, (_ROUNDING * float(wanted["mean"].abs().max())) ** 2)
        gap = float((found[name].double() - value.double()).abs().max())
        if math.isnan(gap):
            return float("inf"), name
        relative = gap / size if size > 0 else (float("inf") if gap else 0.0)
        if relative > worst:
            worst, where = relative, name
    return worst, where


def check(
    backend: str, found: Sequence[Tensor], wanted: Sequence[Tensor], names: Sequence[str], *, in_nats: bool
) -> float:
    """The largest relative difference of a backend's outputs to those of PyTorch.

    Raises:
        SzilardError: it is larger than :data:`TOLERANCE`.
    """
    if len(found) != len(names):
        raise SzilardError(
            f"backend {backend} returns {len(found)} outputs, not {len(names)}; choose another one"
        )
    pairs = (dict(zip(names, outputs, strict=True)) for outputs in (found, wanted))
    worst, where = difference(*pairs, in_nats=in_nats)
    if worst > TOLERANCE:
        raise SzilardError(
            f"backend {backend} computes another {where} than PyTorch: they differ by {worst:.2g} of its size; choose "
            "another backend"
        )
    return worst


@contextmanager
def replacing(path: Path | None) -> Iterator[Path | None]:
    """A path to write instead of ``path``, whose bytes go to ``path`` at the end of the block if there was no error.

    Args:
        path: of a file; a symbolic link is kept. None: there is nothing to write.

    Raises:
        SzilardError: the file cannot be written; an existing one is unchanged.
    """
    if path is None:
        yield None
        return
    if path.is_dir() or not path.absolute().parent.is_dir():
        what = "is a folder" if path.is_dir() else "is in a folder that does not exist"
        raise SzilardError(f"{path} {what}; name a file to write")
    with tempfile.TemporaryDirectory(prefix="szilard-deploy-") as folder:
        temporary = Path(folder) / path.name
        yield temporary
        if temporary.exists():
            atomic.write(path, temporary.read_bytes(), follow=True)
