"""Possible readings of a batch: which parts are the network's inputs, and which are labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from szilard.compression.batches import Whole, rebuilt
from szilard.networks.takes import Takes

LABELS = ("labels", "label", "label_ids", "targets", "target", "y")  # keys and parameters that are labels


@dataclass(frozen=True)
class Reading:
    """One reading.

    Attributes:
        call: one: ``network(inputs)``; several: ``network(*inputs)``; named: ``network(**inputs)``; values:
            ``network(*inputs.values())``.
        count: for a tuple or list: how many of the first parts are inputs; None: the batch itself is the input.
        label: position or key of the labels, or None.
        keys: for a mapping: the keys that are passed to the network; None: all.
    """

    call: Literal["one", "several", "named", "values"]
    count: int | None = None
    label: int | str | None = None
    keys: tuple[str, ...] | None = None

    def split(self, batch: Any) -> tuple[Any, Any]:
        """Inputs and labels."""
        inputs = batch
        if self.count is not None:
            inputs = batch[0] if self.count == 1 else tuple(batch[: self.count])
        if self.keys is not None and isinstance(inputs, Mapping):
            inputs = {key: inputs[key] for key in self.keys}
        labels = None if self.label is None else batch[self.label]
        return inputs, labels

    def __call__(self, network: nn.Module, inputs: Any) -> Any:
        """All outputs of a network for inputs."""
        if isinstance(inputs, Whole):
            inputs = inputs.batch
        if not isinstance(inputs, Tensor):
            inputs = rebuilt(inputs, lambda leaf: leaf)  # some networks write into their inputs
        if self.call == "several":
            return network(*inputs)
        if self.call == "values":
            return network(*inputs.values())
        return network(**inputs) if self.call == "named" else network(inputs)

    def unused(self, batch: Any) -> list[str]:
        """Keys of tensors of a batch that are neither inputs nor labels."""
        if not isinstance(batch, Mapping) or self.keys is None:
            return []
        return [
            str(key)
            for key, value in batch.items()
            if key not in self.keys and key != self.label and isinstance(value, Tensor)
        ]

    def __str__(self) -> str:
        """The reading, as part of a sentence."""
        if self.call == "named":
            what = f"batches are inputs by name ({', '.join(self.keys or ())})"
        elif self.call == "values":
            what = f"batches are inputs by position ({', '.join(self.keys or ())})"
        elif self.call == "several":
            what = f"batches are {self.count} inputs" if self.count != 1 else "batches are several inputs"
        else:
            what = "batches are inputs"
        return f"{what} without labels" if self.label is None else f"{what} and labels"


def readings(batch: Any, takes: Takes | None) -> Iterator[Reading]:
    """Readings of a batch, the most likely first, by the signature of the forward.

    Args:
        takes: None if nothing is known, as for a user's own ``forward``, which receives inputs as they are.
    """
    if isinstance(batch, Mapping):
        yield from _of_mapping(batch, takes)
    elif isinstance(batch, tuple | list):
        yield from _of_tuple(batch, takes)
    else:
        yield Reading("one")


def _of_mapping(batch: Mapping[Any, Any], takes: Takes | None, count: int | None = None) -> Iterator[Reading]:
    """Readings of a mapping, or, with a count, of one that is the first part of a batch."""
    label = next((key for key in LABELS if key in batch), None)
    own = None if count else label
    keys = tuple(key for key in batch if key != label)
    if takes is None:
        if label is not None:
            yield Reading("one", count, own, keys)
        yield Reading("one", count, None if count else label)
        return
    named = all(isinstance(key, str) for key in batch)
    if named and label is not None and label in takes.needs:
        yield from _named(tuple(batch), takes, count, own)
    elif named:
        yield from _named(keys, takes, count, own)
    if label is not None:
        yield Reading("one", count, own, keys)
    yield Reading("one", count, own)
    values = tuple(key for key in keys if isinstance(batch[key], Tensor))
    if takes.required <= len(values) <= takes.most:
        yield Reading("values", count, own, values)  # {"image": ..., "label": ...}
    if named and label is not None:  # a forward that needs labels although its signature does not say so
        yield from _named(tuple(batch), takes, count, own)


def _named(keys: tuple[str, ...], takes: Takes, count: int | None, label: str | None) -> Iterator[Reading]:
    known = tuple(key for key in keys if takes.knows(key))
    if takes.keywords is None:
        yield Reading("named", count, label, keys)
    if known:
        yield Reading("named", count, label, known)


def _of_tuple(batch: tuple[Any, ...] | list[Any], takes: Takes | None) -> Iterator[Reading]:
    n = len(batch)
    if takes is None:
        if n <= 2:
            yield from _first(batch, takes, 1 if n == 2 else None)
        yield Reading("one")
        if n > 2:
            yield Reading("one", n - 1, n - 1)
        return
    for count in _counts(n, takes):
        label = count if count < n else _required_label(count, takes)
        if count == 1:
            yield from _first(batch, takes, label)
        else:
            yield Reading("several", count, label)
    yield Reading("one")  # a network that takes a list
    if n > 2:
        yield Reading("one", n - 1, n - 1)


def _first(batch: tuple[Any, ...] | list[Any], takes: Takes | None, label: int | None) -> Iterator[Reading]:
    """Readings with the first part as the inputs."""
    inner = batch[0]
    if isinstance(inner, Mapping):
        for one in _of_mapping(inner, takes, 1):
            yield Reading(one.call, 1, label, one.keys)
    elif takes is not None and isinstance(inner, tuple | list) and takes.required <= len(inner) <= takes.most:
        if takes.required == 1 == len(inner):
            yield Reading("one", 1, label)
        yield Reading("several", 1, label)
        yield Reading("one", 1, label)
    else:
        yield Reading("one", 1, label)


def _counts(n: int, takes: Takes) -> list[int]:
    """Numbers of inputs to try: as many as are required, then more, then all others."""
    least = max(1, takes.required)
    fits = [count for count in range(least, n + 1) if count <= takes.most]
    return fits + [count for count in range(n, 0, -1) if count not in fits]


def _required_label(count: int, takes: Takes) -> int | None:
    """The position of the last input if it is labels that the network takes, else None."""
    last = takes.names[count - 1] if 1 < count <= len(takes.names) else ""
    return count - 1 if last in LABELS else None
