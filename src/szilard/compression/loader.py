"""Read batches from the user's calibration data, and check each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import Dataset, IterableDataset

from szilard.compression.adapt import adapt
from szilard.compression.adapter import GIVE, Adapter, Call
from szilard.compression.batches import (
    kind,
    leaves,
    length,
    mapped,
    named_leaves,
    rebuilt,
    rows,
    shown,
    together,
)
from szilard.compression.reading import Reading, readings
from szilard.errors import SzilardError, printable

PEEKED = 32  # examples used to find how batches are read


class Batches:
    """Inputs and labels of a loader.

    Args:
        given: a tensor, or an iterable of batches.
        network: that takes them, or None.
        forward: the user's function, or None.
        labelled: labels that cannot be used are refused, instead of ignored.

    Attributes:
        adapter: found from the first batch.
        notes: assumptions that were made.
    """

    def __init__(
        self, given: Any, network: nn.Module | None, forward: Call | None, *, labelled: bool
    ) -> None:
        self.given, self.network, self.forward, self.labelled = given, network, forward, labelled
        self.adapter = Adapter(forward=forward)
        self.notes: list[str] = []

    def gather(self, most: int) -> tuple[list[Any], list[Tensor]]:
        """Inputs of at most ``most`` examples, and their labels, if there are any.

        Raises:
            SzilardError: there are no examples, or batches cannot be used.
        """
        inputs: list[Any] = []
        labels: list[Tensor] = []
        left, like = most, None
        read = self._read()
        first = _first(read)
        for number, batch in enumerate(chain(first, read)):
            where = _where(number)
            if number == 0:
                self._adapt(first)
                like = kind(batch)
            if kind(batch) != like:
                raise SzilardError(
                    f"{where} is {printable(shown(batch))} and differs from the first in structure or type; give "
                    "batches of one kind"
                )
            try:
                x, y = self.adapter.split(batch)
            except (IndexError, KeyError) as error:
                raise SzilardError(
                    f"{where} has fewer parts than the first; give batches of one kind"
                ) from error
            x = self.adapter.prepared(x)
            y = self._labels(y, where)
            n = length(x)
            if not n:
                raise SzilardError(f"{where} has no examples; leave it out")
            if y is not None and (y.dim() == 0 or len(y) != n):
                n_labels = len(y) if y.dim() else 1
                raise SzilardError(
                    f"{where} has {n} inputs and {n_labels} labels; give one label for each input, and "
                    "batches whose first dimension counts the examples"
                )
            if bool(inputs) and bool(labels) != (y is not None):
                raise SzilardError(
                    f"labels are missing in some batches, as in {where} give labels with all batches or none"
                )
            x = mapped(x, lambda t: t.clone() if t.is_inference() else t)
            inputs.append(rows(x, slice(0, left)) if n > left else x)
            if y is not None:
                labels.append(y[:left] if length(inputs[-1]) == left else y)
            left -= n
            if left <= 0:
                break
        if not inputs:
            used = ": a generator can be read only once" if isinstance(self.given, Iterator) else ""
            raise SzilardError(
                f"calibration is empty{used}; give at least one batch, or None to compress without data"
            )
        return inputs, labels

    def _read(self) -> Iterator[Any]:
        for number, batch in enumerate(_checked(_batches(self.given))):
            yield _tensors(batch, _where(number), self.network)

    def _adapt(self, first: list[Any]) -> None:
        batch = first[0]
        if not length(batch):
            raise SzilardError("calibration is empty: its first batch has no examples; leave it out")
        if self.network is None:
            self.adapter = Adapter(next(iter(readings(batch, None)), Reading("one")), self.forward)
            return
        try:
            self.adapter = adapt(self.network, batch, self.forward, examples=together(first))
        except SzilardError as error:
            if not _are_parts(self.given):
                raise
            parts = ", ".join("ABCDEFGH"[: len(self.given)])
            hint = f"give [({parts})] if the {len(self.given)} tensors are parts of one batch, or {GIVE[5:]}"
            raise SzilardError(str(error).replace(GIVE, hint)) from error
        if self.adapter.forward is None and self.adapter.reading.call != "one":
            self.notes.append(str(self.adapter.reading))
            unused = [printable(key) for key in self.adapter.reading.unused(batch)]
            if unused:
                self.notes.append(
                    f"{', '.join(unused)} of each batch: not passed on, because the network takes no such input"
                )
        self.notes += self.adapter.notes

    def _labels(self, y: Any, where: str) -> Tensor | None:
        """Labels as a tensor; None if there are none or they are not needed."""
        if y is None:
            return None
        if isinstance(y, list | tuple) and y and all(isinstance(one, int | float) for one in y):
            y = torch.tensor(y)
        if isinstance(y, Tensor):
            return y.detach()
        if not self.labelled:
            return None
        if isinstance(y, int | float):
            raise SzilardError(
                f"the labels of {where} are a single number, as if of one example; give batches, such as those of a "
                "DataLoader"
            )
        what = type(y).__name__
        if isinstance(y, list | tuple) and y:
            what += f" of {type(y[0]).__name__}"
        raise SzilardError(
            f"the labels of {where} are a {what}, from which no score can be computed; give a tensor, or evaluate"
        )


def _batches(given: Any) -> Iterable[Any]:
    if isinstance(given, Tensor):
        return [given]
    if isinstance(given, Mapping) or _is_pair(given):
        return [given]
    if isinstance(given, Dataset) and not isinstance(given, IterableDataset):
        name = type(given).__name__
        raise SzilardError(
            f"calibration is a {name} of single examples; give batches, such as those of "
            f"torch.utils.data.DataLoader({name.lower()}, batch_size=64)"
        )
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        if hasattr(given, "__getitem__") and hasattr(given, "__len__") and not isinstance(given, str | bytes):
            raise SzilardError(
                f"calibration is a {type(given).__name__} of single examples; give batches, such as those of a "
                "DataLoader"
            )
        raise SzilardError(
            f"calibration is a {type(given).__name__}; give a tensor of inputs, or batches, such as those of a "
            "DataLoader"
        )
    if isinstance(given, np.ndarray):
        return [torch.from_numpy(given)]
    return given


def _where(number: int) -> str:
    return f"calibration batch {number}, counted from 0,"


def _checked(batches: Iterable[Any]) -> Iterator[Any]:
    """The batches; an error of the loader becomes one sentence."""
    try:
        yield from batches
    except Exception as error:  # any error of a user's loader
        lines = str(error).strip().splitlines() or [""]
        raise SzilardError(
            f"calibration raised {type(error).__name__}: {printable(lines[0])}; fix the code that makes the batches"
        ) from error


def _first(read: Iterator[Any]) -> list[Any]:
    """The first batches, until they have :data:`PEEKED` examples."""
    first: list[Any] = []
    while sum(map(length, first)) < PEEKED:
        batch = next(read, None)
        if batch is None:
            break
        first.append(batch)
        if not length(batch) or len(first) == PEEKED:
            break
    return first


def _is_pair(given: Any) -> bool:
    """Whether ``given`` is one batch of inputs and labels, not a tuple of batches."""
    if not isinstance(given, tuple) or len(given) != 2 or not all(map(_is_tensor, given)):
        return False
    x, y = (torch.as_tensor(one) for one in given)
    return bool(x.dim() and y.dim() and len(x) == len(y)) and (
        x.shape[1:] != y.shape[1:] or (x.dtype != y.dtype)
    )


def _are_parts(given: Any) -> bool:
    """Whether the batches could be the parts of one batch: a few tensors with the same number of examples."""
    if not isinstance(given, tuple | list) or not 2 <= len(given) <= 8 or not all(map(_is_tensor, given)):
        return False
    return all(one.ndim for one in given) and len({len(one) for one in given}) == 1


def _is_tensor(one: Any) -> bool:
    return isinstance(one, Tensor) or _is_array(one)


def _tensors(batch: Any, where: str, network: nn.Module | None) -> Any:
    """A batch with arrays as tensors, on the network's device.

    Raises:
        SzilardError: it has no tensor, or one that cannot be used.
    """
    if isinstance(batch, PackedSequence):
        raise SzilardError(
            f"{where} is a packed sequence; give padded sequences, and a forward that packs them"
        )
    batch = rebuilt(batch, lambda leaf: torch.from_numpy(leaf) if _is_array(leaf) else leaf)
    if next(leaves(batch), None) is None:
        what = type(batch).__name__
        if isinstance(batch, list | tuple) and batch:
            what += f" of {type(batch[0]).__name__}"
        raise SzilardError(f"{where} is a {what} without tensors; let the loader give the network's inputs")
    for path, leaf in named_leaves(batch):
        if isinstance(leaf, Tensor):
            _check(leaf, f"{where[:-1]}, part {'.'.join(map(str, path))}," if path else where)
    device = next((p.device for p in network.parameters()), None) if network is not None else None
    return mapped(batch, lambda t: t.detach() if device is None else t.detach().to(device))


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray) and leaf.dtype.kind in "fiub"


def _check(x: Tensor, where: str) -> None:
    """Refuse tensors that are nested, sparse, on the meta device, or have NaN or infinite values."""
    where = printable(where)
    if x.is_nested or x.layout is not torch.strided:
        raise SzilardError(f"{where} is a nested or sparse tensor; pad it to a dense one")
    if x.is_meta:
        raise SzilardError(f"{where} is on the meta device and has no values; load the data")
    if not (x.is_floating_point() or x.is_complex()) or not x.numel():
        return
    finite = torch.isfinite(x)
    if bool(finite.all()) or _is_mask(x, finite):
        return
    if x.dim() == 0:
        raise SzilardError(f"{where} is NaN or infinite; remove or fix it")
    flat = finite.reshape(len(x), -1).all(1)
    raise SzilardError(
        f"example {int((~flat).nonzero()[0])} of {where} has NaN or infinite values; remove or fix it"
    )


def _is_mask(x: Tensor, finite: Tensor) -> bool:
    """Whether it is an additive attention mask: all entries 0 or minus infinity."""
    return not x.is_complex() and bool(((x == 0) | (x == -torch.inf)).all())
