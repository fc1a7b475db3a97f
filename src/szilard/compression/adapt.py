"""Find how to call a network on batches, from its signature and by trial calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from szilard.compression.adapter import Adapter, Call, refused
from szilard.compression.batches import leaves, length, mapped, rows
from szilard.compression.output_of_labels import EVIDENCE, predicts, with_output_of_labels
from szilard.compression.outputs import at, counted
from szilard.compression.reading import LABELS, Reading, readings
from szilard.errors import SzilardError, printable
from szilard.networks.takes import Takes

FEW = 4  # examples for a trial call
SOME = 64  # examples whose outputs decide which output is judged
ENOUGH = 8  # fewer examples decide nothing
SAME = (
    1e-2  # relative to the largest output: if outputs for a part of a batch differ by more, it is not divided
)


@torch.no_grad()
def adapt(network: nn.Module, batch: Any, forward: Call | None = None, *, examples: Any = None) -> Adapter:
    """An adapter for batches like this one.

    Args:
        network: in eval mode.
        forward: the user's function; it receives the network and a batch without labels.
        examples: a larger batch of the same kind, to decide whether a second part is labels.

    Raises:
        SzilardError: the network cannot be called on the batch, or has no output that can be judged.
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
    found = _with_output(found, network, inputs)
    found = with_output_of_labels(found, network, batch if examples is None else examples)
    if found.divided and examples is not None and length(examples) > length(batch):
        found = replace(found, divided=_joins(found, network, inputs, found.split(examples)[0]))
    return found


def _with_output(found: Adapter, network: nn.Module, inputs: Any) -> Adapter:
    """The adapter, completed from the outputs for some inputs."""
    given = mapped(inputs, Tensor.clone)
    output = found.outputs(network, given)
    written = not all(map(_same, leaves(given), leaves(inputs)))
    path = counted(output, length(inputs), given)
    if path is None:
        raise SzilardError(
            f"the network returns {type(output).__name__}, which has no tensor; give forward, which calls the network "
            "and returns the tensor to be judged"
        )
    tensor = at(output, path, 0)
    if tensor.is_nested or tensor.layout is not torch.strided:
        raise SzilardError(
            "the network returns a nested or sparse tensor; give forward, which makes it a dense one"
        )
    each = isinstance(inputs, list | tuple) and len(path) > 1 and path[0] == 0
    if each and isinstance(output, list | tuple) and len(output) == len(inputs) > 1:
        raise SzilardError(
            "the network returns a list with an entry for each example; give forward, which stacks or pads the "
            "entries to one tensor [B, ...]"
        )
    found = replace(found, path=path, copies=written)
    n = len(tensor) if tensor.dim() else 0
    if n and n != length(inputs):
        count = _count(inputs, n)
        return found if count is None else replace(found, count=count, divided=False)
    return replace(found, divided=_divides(found, network, inputs, tensor))


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.equal(torch.nan_to_num(one), torch.nan_to_num(other))


def _count(inputs: Any, n: int) -> Callable[[Any], int] | None:
    """A function that counts ``n`` examples in inputs: entries of a list, rows of a tensor, or its second dimension,
    as in sequences whose first dimension is time. None if nothing has this size.
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
    """Whether the outputs for a few examples, in another order, equal their outputs within the batch."""
    count = length(inputs)
    if count < 2 or whole.dim() == 0:
        return True
    few = torch.tensor(list(dict.fromkeys((count - 1, 0, count // 2)))[: count - 1])
    try:
        part = found.call(network, rows(inputs, few))
    except Exception:  # any error of a network that does not take a part of a batch
        return False
    return _close(part, whole[few.to(whole.device)])


def _joins(found: Adapter, network: nn.Module, inputs: Any, more: Any) -> bool:
    """Whether the outputs for a batch equal its outputs within a larger batch."""
    try:
        joined = found.call(network, more)
    except Exception:  # any error of a network that does not take a larger batch
        return False
    return _close(joined[: length(inputs)], found.call(network, inputs))


def _close(part: Tensor, wanted: Tensor) -> bool:
    if part.shape != wanted.shape:
        return False
    size = float(wanted.double().abs().amax()) if wanted.numel() else 0.0
    return not size or not float((part.double() - wanted.double()).abs().amax()) > SAME * size


def _tried(adapter: Adapter, network: nn.Module, batch: Any) -> Exception | None:
    """The error of a network that takes neither a few examples nor the whole batch; None if it takes one of them."""
    try:
        _outputs(adapter, network, batch)
    except Exception as error:  # any error of a network on inputs that do not fit
        return error
    return None


def _outputs(adapter: Adapter, network: nn.Module, batch: Any) -> Any:
    """All outputs for a few examples, or for the batch if the network does not take a part of it."""
    inputs = adapter.split(batch)[0]
    try:
        few = rows(inputs, slice(0, FEW))
        return adapter.outputs(network, mapped(few, Tensor.clone))  # some networks write into their inputs
    except Exception:  # any error of a network on inputs that do not fit
        if length(inputs) > EVIDENCE:
            raise
        return adapter.outputs(network, mapped(inputs, Tensor.clone))


def _some(found: Adapter, network: nn.Module, inputs: Any) -> Any:
    """Some examples of a large batch if the network takes them alone, else all."""
    if length(inputs) <= SOME:
        return inputs
    try:
        some = rows(inputs, slice(0, SOME))
        found.outputs(network, mapped(some, Tensor.clone))
    except Exception:  # any error of a network that does not take a part of a batch
        return inputs
    return some


def _may_be_input(reading: Reading, takes: Takes) -> bool:
    """Whether the part that is read as labels could also be an input of the network."""
    place = reading.label
    if not isinstance(place, int) or place != reading.count or place >= takes.most:
        return False
    return place >= len(takes.names) or takes.names[place] not in LABELS


def _decided(works: list[Adapter], network: nn.Module, batch: Any) -> Adapter:
    """Choose between readings with labels and one that takes them as an input, by the examples.

    Raises:
        SzilardError: there are too few examples to decide.
    """
    best = works[0]
    place = best.reading.label
    assert isinstance(place, int)
    assert best.takes is not None
    name = best.takes.names[place] if place < len(best.takes.names) else "one of its inputs"
    if _fit(best, network, batch):
        note = f"part {place} of each batch was taken as labels, because the network's outputs agree with it"
        best.notes.append(note)
        return best
    other = next((one for one in works[1:] if one.reading.label != place), None)
    if other is None or _alike(best, other, network, batch):
        return best
    if length(batch) < ENOUGH:
        raise SzilardError(
            f"part {place} of a batch may be labels or the network's {printable(name)}, and {length(batch)} examples "
            "are too few to decide; give forward, or larger batches"
        )
    other.notes.append(
        f"part {place} of each batch was given to the network as {printable(name)}, because its outputs do not "
        "agree with it as labels; give forward if it is labels"
    )
    return other


def _alike(one: Adapter, other: Adapter, network: nn.Module, batch: Any) -> bool:
    """Whether two readings give the same outputs, as if an input is ignored."""
    first, second = (list(leaves(_outputs(it, network, batch))) for it in (one, other))
    return len(first) == len(second) and all(map(torch.equal, first, second))


def _fit(adapter: Adapter, network: nn.Module, batch: Any) -> bool:
    """Whether outputs predict the labels better than a constant does."""
    try:
        inputs, labels = adapter.split(rows(batch, slice(0, EVIDENCE)))
        if not isinstance(labels, Tensor) or labels.dim() == 0:
            return False
        output = at(adapter.outputs(network, mapped(inputs, Tensor.clone)), None, length(inputs))
    except Exception:  # any error of a network that does not take a part of a batch
        return False
    return predicts(output, labels)
