"""The tensor that counts in what a network answers."""

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
    """A network refuses its inputs, so that no output is to blame."""


def call(network: nn.Module, x: Any) -> Tensor:
    """The answer of a network to one batch, ``[B, ...]``.

    Raises:
        SzilardError: it holds no tensor of numbers.
    """
    return answer(network(x))


def answer(output: Any) -> Tensor:
    """The tensor itself; the logits of a dict or data class, or else its first tensor; the first of a tuple."""
    return at(output, None, 0)


def at(output: Any, path: Path | None, examples: int) -> Tensor:
    """The tensor of an answer to which a path leads; the one that counts (:func:`counted`) if that is None.

    Raises:
        SzilardError: there is none.
    """
    if isinstance(output, Tensor):
        return output
    found = dict(tensors(output))
    chosen = counted(output, examples) if path is None else path
    if chosen is None or chosen not in found:
        what = "in which there is no tensor" if not found else "without what it answered at first"
        raise SzilardError(
            f"the network answers {type(output).__name__}, {what}; give forward, which calls the network and gives "
            "the tensor that counts"
        )
    return found[chosen]


def counted(output: Any, examples: int, inputs: Any = None) -> Path | None:
    """Keys that lead to the tensor that counts: numbers with a row for each example, those of :data:`NAMED` first.

    Args:
        examples: in the batch; 0 where that is not known.
        inputs: of the network; some answer them, too, and they do not count.
    """
    given = {id(t) for t in leaves(inputs)}
    found = [(path, t) for path, t in tensors(output) if id(t) not in given]

    def rank(place: int) -> tuple[bool, bool, bool, bool, int, int]:
        path, t = found[place]
        names = [NAMED.index(key) for key in path if key in NAMED]
        fits = bool(t.dim()) and (not examples or len(t) == examples)
        same = (
            fits and t.layout is torch.strided and len(t) > 1 and bool((t == t[:1]).all())
        )  # a constant tells nothing
        return not t.is_floating_point(), not t.dim(), not fits, same, min(names, default=len(NAMED)), place

    return found[min(range(len(found)), key=rank)][0] if found else None


def tensors(output: Any) -> list[tuple[Path, Tensor]]:
    """All tensors of an answer, with the keys that lead to them."""
    return [(path, leaf) for path, leaf in named_leaves(_opened(output)) if isinstance(leaf, Tensor)]


def named(path: Path) -> str:
    """A path as it is written behind the answer: "logits", "answer[1][0]"."""
    if all(isinstance(key, str) for key in path):
        return printable(".".join(map(str, path))) if path else "itself"
    return printable("answer" + "".join(f"[{key!r}]" for key in path))


@contextmanager
def of_output(name: str) -> Iterator[None]:
    """Refusals say which of several outputs they are about.

    Args:
        name: of the output that is judged; empty where the network answers a tensor.
    """
    try:
        yield
    except SzilardError as error:
        if not name or isinstance(error, NotTaken):
            raise
        raise SzilardError(f"the output {name}, which is judged: {error}") from error


def _opened(output: Any) -> Any:
    """Attributes of an answer that is an object of no kind that is known, and the names of a named tuple."""
    if isinstance(output, tuple) and hasattr(output, "_asdict"):
        return output._asdict()
    if isinstance(output, Tensor | nn.Module | str | bytes | type) or next(leaves(output), None) is not None:
        return output
    return vars(output) if hasattr(output, "__dict__") and vars(output) else output
