"""The way to call a network on batches, found by its signature and by trying."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from szilard.compression.adapter import Adapter, Call, refused
from szilard.compression.answers import at, counted
from szilard.compression.batches import leaves, length, mapped, rows
from szilard.compression.reading import LABELS, Reading, readings
from szilard.errors import SzilardError, printable
from szilard.likelihood import choose
from szilard.networks.takes import Takes

FEW = 4  # examples that a reading is tried on
EVIDENCE = 256  # examples that say whether a second part of a batch is labels
SOME = 64  # examples whose answers say what counts
ENOUGH = 8  # below which they say nothing
SAME = 1e-2  # of the largest answer: a part of a batch whose answers differ by more cannot stand alone


@torch.no_grad()
def adapt(network: nn.Module, batch: Any, forward: Call | None = None, *, examples: Any = None) -> Adapter:
    """An adapter for batches like this one.

    Args:
        network: in eval mode.
        forward: of the user: it gets the network and a batch without labels.
        examples: a larger batch of the same kind, which tells whether a second part is labels.

    Raises:
        SzilardError: the network takes the batch in no way, or answers nothing that could be judged.
    """
    takes = None if forward else Takes.of(network)
    works: list[Reading] = []
    trouble = None
    for reading in readings(batch, takes):
        error = _tried(Adapter(reading, forward), network, batch)
        if error is not None:
            trouble = trouble or (reading, error)
            continue
        works.append(reading)
        if takes is None or reading.label is None or not _may_be_input(reading, takes):
            break
    if not works:
        assert trouble is not None
        raise refused(trouble[0].split(batch)[0], trouble[1]) from trouble[1]
    found = Adapter(works[0], forward, None, takes)
    if len(works) > 1 and takes is not None:
        more = batch if examples is None else examples
        found = _decided([replace(found, reading=one) for one in works], network, more)
    inputs = _some(found, network, found.split(batch)[0])
    found = _answers(found, network, inputs)
    if found.divided and examples is not None and length(examples) > length(batch):
        found = replace(found, divided=_joins(found, network, inputs, found.split(examples)[0]))
    return found


def _answers(found: Adapter, network: nn.Module, inputs: Any) -> Adapter:
    """The adapter, with what the answers to some inputs tell."""
    given = mapped(inputs, Tensor.clone)
    output = found.outputs(network, given)
    written = not all(map(_same, leaves(given), leaves(inputs)))
    path = counted(output, length(inputs), given)
    if path is None:
        raise SzilardError(
            f"the network answers {type(output).__name__}, in which there is no tensor; give forward, which calls "
            "the network and gives the tensor that counts"
        )
    answer = at(output, path, 0)
    if answer.is_nested or answer.layout is not torch.strided:
        raise SzilardError(
            "the network answers a nested or sparse tensor; give forward, which makes it a dense one"
        )
    each = isinstance(inputs, list | tuple) and len(path) > 1 and path[0] == 0
    if each and isinstance(output, list | tuple) and len(output) == len(inputs) > 1:
        raise SzilardError(
            "the network answers a list with an entry for each example; give forward, which makes one tensor [B, ...] "
            "of them, or fills it up to one shape"
        )
    found = replace(found, path=path, copies=written)
    n = len(answer) if answer.dim() else 0
    if n and n != length(inputs):
        count = _count(inputs, n)
        return found if count is None else replace(found, count=count, divided=False)
    return replace(found, divided=_divides(found, network, inputs, answer))


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.equal(torch.nan_to_num(one), torch.nan_to_num(other))


def _count(inputs: Any, n: int) -> Callable[[Any], int] | None:
    """Where inputs have so many examples: entries of a list, rows of a tensor, or its second dimension, as in
    sequences whose first is time; None where nowhere.
    """
    if isinstance(inputs, list | tuple) and len(inputs) == n:
        return len
    for dim in (0, 1):
        for place, leaf in enumerate(leaves(inputs)):
            if leaf.dim() > dim and leaf.shape[dim] == n:
                return _Size(place, dim)
    return None


class _Size:
    """The size of a tensor of a batch."""

    def __init__(self, place: int, dim: int) -> None:
        self.place, self.dim = place, dim

    def __call__(self, inputs: Any) -> int:
        return int(list(leaves(inputs))[self.place].shape[self.dim])


def _divides(found: Adapter, network: nn.Module, inputs: Any, whole: Tensor) -> bool:
    """Whether the answer to a few examples, in another order, is that to them in their batch."""
    count = length(inputs)
    if count < 2 or whole.dim() == 0:
        return True
    few = torch.tensor(list(dict.fromkeys((count - 1, 0, count // 2)))[: count - 1])
    try:
        part = found.call(network, rows(inputs, few))
    except Exception:  # whatever a network does with a part of what it was made for
        return False
    return _close(part, whole[few.to(whole.device)])


def _joins(found: Adapter, network: nn.Module, inputs: Any, more: Any) -> bool:
    """Whether the answer to a batch is that to it among others."""
    try:
        joined = found.call(network, more)
    except Exception:  # whatever a network does with more than what it was made for
        return False
    return _close(joined[: length(inputs)], found.call(network, inputs))


def _close(part: Tensor, wanted: Tensor) -> bool:
    if part.shape != wanted.shape:
        return False
    size = float(wanted.double().abs().amax()) if wanted.numel() else 0.0
    return not size or not float((part.double() - wanted.double()).abs().amax()) > SAME * size


def _tried(adapter: Adapter, network: nn.Module, batch: Any) -> Exception | None:
    """What a network raises for a few examples and for all of a batch; None where it takes one of them."""
    try:
        _asked(adapter, network, batch)
    except Exception as error:  # whatever a network does with what it was not made for
        return error
    return None


def _asked(adapter: Adapter, network: nn.Module, batch: Any) -> Any:
    """Everything that a network answers to a few examples, or, where it does not take a part, to a batch."""
    inputs = adapter.split(batch)[0]
    try:
        few = rows(inputs, slice(0, FEW))
        return adapter.outputs(network, mapped(few, Tensor.clone))  # some write into what they are given
    except Exception:  # whatever a network does with what it was not made for
        if length(inputs) > EVIDENCE:
            raise
        return adapter.outputs(network, mapped(inputs, Tensor.clone))


def _some(found: Adapter, network: nn.Module, inputs: Any) -> Any:
    """Not all of a large batch, if the network takes a part."""
    if length(inputs) <= SOME:
        return inputs
    try:
        some = rows(inputs, slice(0, SOME))
        found.outputs(network, mapped(some, Tensor.clone))
    except Exception:  # whatever a network does with a part of what it was made for
        return inputs
    return some


def _may_be_input(reading: Reading, takes: Takes) -> bool:
    """Whether what is read as labels might as well be given to the network."""
    place = reading.label
    if not isinstance(place, int) or place != reading.count or place >= takes.most:
        return False
    return place >= len(takes.names) or takes.names[place] not in LABELS


def _decided(works: list[Adapter], network: nn.Module, batch: Any) -> Adapter:
    """Of readings with labels and of one that takes them for an input: that which the examples speak for.

    Raises:
        SzilardError: they speak for neither.
    """
    best = works[0]
    place = best.reading.label
    assert isinstance(place, int)
    assert best.takes is not None
    name = best.takes.names[place] if place < len(best.takes.names) else "one of its inputs"
    if _fit(best, network, batch):
        note = f"part {place} of each batch was taken for labels, as the network answers as they say"
        best.notes.append(note)
        return best
    other = next((one for one in works[1:] if one.reading.label != place), None)
    if other is None or _alike(best, other, network, batch):
        return best
    if length(batch) < ENOUGH:
        raise SzilardError(
            f"part {place} of a batch may be labels or the network's {printable(name)}, and {length(batch)} examples "
            "are too few to tell; give forward, or larger batches"
        )
    other.notes.append(
        f"part {place} of each batch was given to the network as {printable(name)}, as its answers do not fit it as "
        "labels; give forward if it is labels"
    )
    return other


def _alike(one: Adapter, other: Adapter, network: nn.Module, batch: Any) -> bool:
    """Whether two readings make the same answers, as where an input is ignored."""
    first, second = (list(leaves(_asked(it, network, batch))) for it in (one, other))
    return len(first) == len(second) and all(map(torch.equal, first, second))


def _fit(adapter: Adapter, network: nn.Module, batch: Any) -> bool:
    """Whether answers go with labels better than one constant does."""
    try:
        inputs, labels = adapter.split(rows(batch, slice(0, EVIDENCE)))
        if not isinstance(labels, Tensor) or labels.dim() == 0:
            return False
        output = at(adapter.outputs(network, mapped(inputs, Tensor.clone)), None, length(inputs))
        choice = choose(output, labels.to(output.device))
        values = choice.likelihood.values(output, labels.to(output.device))
        return bool(
            values.mean() > choice.likelihood.guessing(labels) + 2 * values.std() / len(values) ** 0.5
        )
    except Exception:  # whatever labels and answers that do not belong together lead to
        return False
