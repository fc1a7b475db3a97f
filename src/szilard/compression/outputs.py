"""The judged tensor in a network's output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from szilard.compression.batches import leaves, named_leaves
from szilard.errors import SzilardError, printable

NAMED = (
    "logits",
    "prediction",
    "predictions",
    "prediction_logits",
    "pred_logits",
    "start_logits",
    "logits_per_image",
    "sentence_embedding",
    "last_hidden_state",
    "out",
    "output",
    "outputs",
    "scores",
)

Path = tuple[Any, ...]


class NotTaken(SzilardError):
    """A network does not take its inputs, so the error is not about an output."""


def call(network: nn.Module, x: Any) -> Tensor:
    """The judged output of a network for one batch, ``[B, ...]``.

    Raises:
        SzilardError: the output has no tensor.
    """
    return judged_output(network(x))


def judged_output(output: Any) -> Tensor:
    """The tensor itself; the logits of a dict or data class, or else its first tensor; the first of a tuple."""
    return at(output, None, 0)


def at(output: Any, path: Path | None, examples: int) -> Tensor:
    """The tensor at a path in an output; if the path is None, the judged one (:func:`counted`).

    Raises:
        SzilardError: the output has no such tensor.
    """
    if isinstance(output, Tensor):
        return output
    found = dict(tensors(output))
    chosen = counted(output, examples) if path is None else path
    if chosen is None or chosen not in found:
        what = "has no tensor" if not found else "lacks the tensor that the first output had"
        raise SzilardError(
            f"the network returns {type(output).__name__}, which {what}; give forward, which calls the network and "
            "returns the tensor to be judged"
        )
    return found[chosen]


def counted(output: Any, examples: int, inputs: Any = None) -> Path | None:
    """Path of the judged tensor: numbers with a row for each example, names in :data:`NAMED` first.

    Args:
        examples: number of examples in the batch; 0 if it is not known.
        inputs: of the network; if a network returns its inputs, too, they are not judged.
    """
    given = {id(t) for t in leaves(inputs)}
    found = [(path, t) for path, t in tensors(output) if id(t) not in given]

    def rank(place: int) -> tuple[bool, bool, bool, bool, int, int]:
        path, t = found[place]
        names = [NAMED.index(key) for key in path if key in NAMED]
        fits = bool(t.dim()) and (not examples or len(t) == examples)
        same = (
            fits and t.layout is torch.strided and len(t) > 1 and bool((t == t[:1]).all())
        )  # a constant output is not judged if another one fits
        return not t.is_floating_point(), not t.dim(), not fits, same, min(names, default=len(NAMED)), place

    return found[min(range(len(found)), key=rank)][0] if found else None


def tensors(output: Any) -> list[tuple[Path, Tensor]]:
    """All tensors of an output, with their paths."""
    return [(path, leaf) for path, leaf in named_leaves(_opened(output)) if isinstance(leaf, Tensor)]


def output_name(path: Path) -> str:
    """Name of an output from its path: "logits", "result[1][0]"."""
    if all(isinstance(key, str) for key in path):
        return printable(".".join(map(str, path))) if path else "itself"
    return printable("result" + "".join(f"[{key!r}]" for key in path))


@contextmanager
def of_output(name: str) -> Iterator[None]:
    """Errors raised inside the block name the judged output.

    Args:
        name: of the judged output; empty if the network returns a tensor.
    """
    try:
        yield
    except SzilardError as error:
        if not name or isinstance(error, NotTaken):
            raise
        raise SzilardError(f"the judged output {name}: {error}") from error


def _opened(output: Any) -> Any:
    """The fields of a named tuple, and the attributes of an object of an unknown class."""
    if isinstance(output, tuple) and hasattr(output, "_asdict"):
        return output._asdict()
    if isinstance(output, Tensor | nn.Module | str | bytes | type) or next(leaves(output), None) is not None:
        return output
    return vars(output) if hasattr(output, "__dict__") and vars(output) else output
