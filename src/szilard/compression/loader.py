"""Batches out of whatever somebody gives for data, checked one by one."""

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
    together,
    told,
)
from szilard.compression.reading import Reading, readings
from szilard.errors import SzilardError, printable

PEEKED = 32  # examples by which batches are read


class Batches:
    """Inputs and labels of a loader.

    Args:
        given: a tensor, or what gives batches.
        network: that takes them, or None.
        forward: of the user.
        labelled: labels that cannot be used are refused, instead of ignored.

    Attributes:
        adapter: found by the first batch.
        notes: what was assumed.
    """

    def __init__(
        self, given: Any, network: nn.Module | None, forward: Call | None, *, labelled: bool
    ) -> None:
        self.given, self.network, self.forward, self.labelled = given, network, forward, labelled
        self.adapter = Adapter(forward=forward)
        self.notes: list[str] = []

    def gather(self, most: int) -> tuple[list[Any], list[Tensor]]:
        """Inputs of at most so many examples, and their labels; no labels where there are none.

        Raises:
            SzilardError: no examples, or batches that no network can be judged by.
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
                    f"{where} is {printable(told(batch))} and of another structure or type than the first; give them "
                    "all alike"
                )
            try:
                x, y = self.adapter.split(batch)
            except (IndexError, KeyError) as error:
                raise SzilardError(f"{where} has fewer parts than the first; give them all alike") from error
            x = self.adapter.prepared(x)
            y = self._labels(y, where)
            n = length(x)
            if not n:
                raise SzilardError(f"{where} has no examples; leave it out")
            if y is not None and (y.dim() == 0 or len(y) != n):
                told_labels = len(y) if y.dim() else 1
                raise SzilardError(
                    f"{where} has {n} inputs and {told_labels} labels; give one label for each input, and "
                    "batches whose first dimension is that of the examples"
                )
            if bool(inputs) and bool(labels) != (y is not None):
                raise SzilardError(
                    f"labels are missing in some batches, as in {where} give them with all, or none"
                )
            x = mapped(x, lambda t: t.clone() if t.is_inference() else t)
            inputs.append(rows(x, slice(0, left)) if n > left else x)
            if y is not None:
                labels.append(y[:left] if length(inputs[-1]) == left else y)
            left -= n
            if left <= 0:
                break
        if not inputs:
            used = ": a generator gives its batches only once" if isinstance(self.given, Iterator) else ""
            raise SzilardError(
                f"calibration is empty{used}; give at least one batch, or None to do without data"
            )
        return inputs, labels

    def _read(self) -> Iterator[Any]:
        for number, batch in enumerate(_told(_batches(self.given))):
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
                    f"{', '.join(unused)} of each batch: the network takes no such input, and gets none"
                )
        self.notes += self.adapter.notes

    def _labels(self, y: Any, where: str) -> Tensor | None:
        """As a tensor, if they are one."""
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
                f"the labels of {where} are a single number, as those of one example; give batches, as a "
                "DataLoader makes them"
            )
        what = type(y).__name__
        if isinstance(y, list | tuple) and y:
            what += f" of {type(y[0]).__name__}"
        raise SzilardError(
            f"the labels of {where} are a {what}, which no score is made of; give a tensor, or evaluate, which judges"
        )


def _batches(given: Any) -> Iterable[Any]:
    if isinstance(given, Tensor):
        return [given]
    if isinstance(given, Mapping) or _is_pair(given):
        return [given]
    if isinstance(given, Dataset) and not isinstance(given, IterableDataset):
        name = type(given).__name__
        raise SzilardError(
            f"calibration is a {name} of single examples; give batches, as torch.utils.data.DataLoader({name.lower()}, "
            "batch_size=64) makes them"
        )
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        if hasattr(given, "__getitem__") and hasattr(given, "__len__") and not isinstance(given, str | bytes):
            raise SzilardError(
                f"calibration is a {type(given).__name__} of single examples; give batches, as a DataLoader makes them"
            )
        raise SzilardError(
            f"calibration is a {type(given).__name__}; give a tensor of inputs, or batches as a DataLoader makes them"
        )
    if isinstance(given, np.ndarray):
        return [torch.from_numpy(given)]
    return given


def _where(number: int) -> str:
    return f"calibration batch {number}, counted from 0,"


def _told(batches: Iterable[Any]) -> Iterator[Any]:
    """The batches; what a loader raises is told in one sentence."""
    try:
        yield from batches
    except Exception as error:  # whatever the loader of a stranger does
        lines = str(error).strip().splitlines() or [""]
        raise SzilardError(
            f"calibration raised {type(error).__name__}: {printable(lines[0])}; mend what makes the batches"
        ) from error


def _first(read: Iterator[Any]) -> list[Any]:
    """Batches that hold some examples together."""
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
    """Whether it is one batch, inputs and labels, and no tuple of batches."""
    if not isinstance(given, tuple) or len(given) != 2 or not all(map(_is_tensor, given)):
        return False
    x, y = (torch.as_tensor(one) for one in given)
    return bool(x.dim() and y.dim() and len(x) == len(y)) and (
        x.shape[1:] != y.shape[1:] or (x.dtype != y.dtype)
    )


def _are_parts(given: Any) -> bool:
    """Whether what was read as batches may be the parts of one: a few tensors of as many examples each."""
    if not isinstance(given, tuple | list) or not 2 <= len(given) <= 8 or not all(map(_is_tensor, given)):
        return False
    return all(one.ndim for one in given) and len({len(one) for one in given}) == 1


def _is_tensor(one: Any) -> bool:
    return isinstance(one, Tensor) or _is_array(one)


def _tensors(batch: Any, where: str, network: nn.Module | None) -> Any:
    """A batch with arrays as tensors, on the network's device.

    Raises:
        SzilardError: there is no tensor in it, or one that cannot be used.
    """
    if isinstance(batch, PackedSequence):
        raise SzilardError(
            f"{where} is a packed sequence; give padded sequences, and forward, which packs them"
        )
    batch = rebuilt(batch, lambda leaf: torch.from_numpy(leaf) if _is_array(leaf) else leaf)
    if next(leaves(batch), None) is None:
        what = type(batch).__name__
        if isinstance(batch, list | tuple) and batch:
            what += f" of {type(batch[0]).__name__}"
        raise SzilardError(
            f"{where} is a {what}, in which there is no tensor; let the loader give what the network takes"
        )
    for path, leaf in named_leaves(batch):
        if isinstance(leaf, Tensor):
            _check(leaf, f"{where[:-1]}, part {'.'.join(map(str, path))}," if path else where)
    device = next((p.device for p in network.parameters()), None) if network is not None else None
    return mapped(batch, lambda t: t.detach() if device is None else t.detach().to(device))


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray) and leaf.dtype.kind in "fiub"


def _check(x: Tensor, where: str) -> None:
    """Refuse a tensor that no network can be judged by."""
    where = printable(where)
    if x.is_nested or x.layout is not torch.strided:
        raise SzilardError(f"{where} is a nested or sparse tensor; pad it to a dense one")
    if x.is_meta:
        raise SzilardError(f"{where} is on the meta device, where there are no values; load the data")
    if not (x.is_floating_point() or x.is_complex()) or not x.numel():
        return
    finite = torch.isfinite(x)
    if bool(finite.all()) or _is_mask(x, finite):
        return
    if x.dim() == 0:
        raise SzilardError(f"{where} is NaN or infinite; remove or mend it")
    flat = finite.reshape(len(x), -1).all(1)
    raise SzilardError(
        f"example {int((~flat).nonzero()[0])} of {where} has NaN or infinite values; remove or mend it"
    )


def _is_mask(x: Tensor, finite: Tensor) -> bool:
    """Whether it is added to scores of attention: 0, or minus infinity."""
    return not x.is_complex() and bool(((x == 0) | (x == -torch.inf)).all())
