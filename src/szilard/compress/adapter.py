"""How a network is called on a batch, and which tensor of its answer counts: found out once, used by everybody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from szilard.compress.answers import at, counted
from szilard.compress.batches import Whole, leaves, length, named_leaves, rows, told
from szilard.compress.reading import LABELS, Reading, readings
from szilard.compress.takes import Takes
from szilard.errors import SzilardError, printable
from szilard.likelihood import choose

FEW = 4  # examples that a reading is tried on
EVIDENCE = 256  # examples that say whether a second part of a batch is labels
SAME = 1e-2  # of the largest answer: a part of a batch whose answers differ by more cannot stand alone

Call = Callable[[nn.Module, Any], Any]
Path = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Adapter:
    """What batches and answers of one network mean.

    Attributes:
        reading: which parts of a batch are inputs, and which labels.
        forward: the user's, or None: the network is called as the reading says.
        path: keys that lead to the tensor that counts in an answer; None: found out for each answer.
        takes: what the network's forward takes, where that is known.
        divided: whether a batch can be taken apart into examples.
        listed: whether inputs are a list with one entry for each example.
        notes: what was assumed and may be wrong, one sentence each.
    """

    reading: Reading = field(default_factory=lambda: Reading("one"))
    forward: Call | None = None
    path: Path | None = None
    takes: Takes | None = None
    divided: bool = True
    listed: bool = False
    notes: list[str] = field(default_factory=list)

    @classmethod
    @torch.no_grad()
    def of(cls, network: nn.Module, batch: Any, forward: Call | None = None) -> Adapter:
        """The way to read batches like this one that the network takes, found by its signature and by trying.

        Args:
            network: in eval mode.
            forward: of the user: it gets the network and a batch without labels.

        Raises:
            SzilardError: the network takes it in no way, or two ways would do and mean different things.
        """
        takes = None if forward else Takes.of(network)
        works, trouble = [], None
        for reading in readings(batch, takes):
            error = _tried(cls(reading, forward), network, batch)
            if error is not None:
                trouble = trouble or (reading, error)
                continue
            works.append(reading)
            if takes is None or reading.label is None or not _may_be_input(reading, batch, takes):
                break
        if not works:
            assert trouble is not None
            raise refused(trouble[0].split(batch)[0], trouble[1]) from trouble[1]
        found = cls(works[0], forward, None, takes)
        if len(works) > 1 and takes is not None:
            found = _decided([cls(one, forward, None, takes) for one in works], network, batch)
        inputs = _some(found.split(batch)[0])
        output = found.outputs(network, inputs)
        path = counted(output, length(inputs), inputs)
        if path is None:
            raise SzilardError(
                f"the network answers {type(output).__name__}, in which there is no tensor; give forward, which calls "
                "the network and gives the tensor that counts"
            )
        counts = at(output, path, 0)
        listed = (
            isinstance(inputs, list | tuple)
            and counts.dim() > 0
            and len(counts) == len(inputs) != length(inputs)
        )
        found = replace(found, path=path, listed=listed)
        return replace(found, divided=not listed and found._divides(network, inputs, counts))

    def split(self, batch: Any) -> tuple[Any, Any]:
        """Inputs and labels of a batch of the loader."""
        return self.reading.split(batch)

    def prepared(self, inputs: Any) -> Any:
        """Inputs as passes get them: those that must not be divided are marked as such."""
        if self.divided:
            return inputs
        return Whole(inputs, len(inputs) if self.listed else length(inputs))

    def outputs(self, network: nn.Module, inputs: Any) -> Any:
        """Everything that the network answers."""
        if self.forward is None:
            return self.reading(network, inputs)
        return self.forward(network, inputs.batch if isinstance(inputs, Whole) else inputs)

    def call(self, network: nn.Module, inputs: Any) -> Tensor:
        """The tensor that counts in what the network answers, ``[B, ...]``.

        Padding, where an attention mask tells of it, has no gradient.

        Raises:
            SzilardError: it is not there.
        """
        return self.counted(self.outputs(network, inputs), inputs)

    def counted(self, output: Any, inputs: Any) -> Tensor:
        """The tensor that counts in an answer to inputs; see :meth:`call`."""
        output = at(output, self.path, length(inputs))
        mask = self.mask(inputs, output) if output.requires_grad else None
        return output if mask is None else torch.where(mask[..., None], output, output.detach())

    def mask(self, inputs: Any, output: Tensor) -> Tensor | None:
        """Which positions of outputs ``[B, T, k]`` are no padding, ``[B, T]``; None where all count."""
        if output.dim() != 3:
            return None
        for path, leaf in named_leaves(inputs):
            if not isinstance(leaf, Tensor) or leaf.shape != output.shape[:2]:
                continue
            name = self._name(path)
            if name.endswith("attention_mask") or name in ("input_mask", "token_mask"):
                return (leaf if leaf.dtype is torch.bool else leaf > 0).to(output.device)
            if name.endswith("padding_mask"):  # torch's own: true where there is padding
                return ~(leaf if leaf.dtype is torch.bool else leaf != 0).to(output.device)
        return None

    def _name(self, path: Path) -> str:
        """Of an input, by its key or its place."""
        if not path:
            return ""
        last = path[-1]
        if isinstance(last, str) or self.takes is None or self.reading.call != "several":
            return str(last)
        return self.takes.names[last] if last < len(self.takes.names) else ""

    def _divides(self, network: nn.Module, inputs: Any, whole: Tensor) -> bool:
        """Whether the answer to a few examples is that to them in their batch."""
        count = length(inputs)
        few = min(FEW, count - 1)
        if few < 1 or whole.dim() == 0 or len(whole) != count:
            return True
        try:
            part = self.call(network, rows(inputs, slice(0, few)))
        except Exception:  # whatever a network does with a part of what it was made for
            return False
        wanted = whole[:few]
        if part.shape != wanted.shape:
            return False
        size = float(wanted.float().abs().amax()) if wanted.numel() else 0.0
        return not size or not float((part - wanted).float().abs().amax()) > SAME * size


def refused(inputs: Any, error: Exception) -> SzilardError:
    """What a network raised, in one sentence."""
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    kind = "" if isinstance(error, RuntimeError | TypeError | ValueError) else f"{type(error).__name__}: "
    shape = f"of shape {told(inputs)}" if isinstance(inputs, Tensor) else printable(told(inputs))
    return SzilardError(
        f"the network does not take calibration inputs {shape}: {printable(kind + first).rstrip('.')}; give batches "
        "of what it takes, or forward, which calls it on a batch"
    )


def _tried(adapter: Adapter, network: nn.Module, batch: Any) -> Exception | None:
    """What a network raises for a few examples and for all of a batch; None where it takes one of them."""
    try:
        inputs = adapter.split(batch)[0]
        few = rows(inputs, slice(0, FEW))
    except Exception as error:  # whatever containers of strangers do
        return error
    trouble = None
    for given in (few, inputs) if length(inputs) <= EVIDENCE else (few,):
        try:
            adapter.outputs(network, given)
            return None
        except Exception as error:  # whatever a network does with what it was not made for
            trouble = error
    return trouble


def _some(inputs: Any) -> Any:
    """Not all of a very large batch."""
    return inputs if length(inputs) <= EVIDENCE else rows(inputs, slice(0, EVIDENCE))


def _may_be_input(reading: Reading, batch: Any, takes: Takes) -> bool:
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
    other.notes.append(
        f"part {place} of each batch was given to the network as {printable(name)}, as its answers do not fit it as "
        "labels; give forward if it is labels"
    )
    return other


def _alike(one: Adapter, other: Adapter, network: nn.Module, batch: Any) -> bool:
    """Whether two readings make the same answers, as where an input is ignored."""
    first, second = (
        list(leaves(it.outputs(network, rows(it.split(batch)[0], slice(0, FEW))))) for it in (one, other)
    )
    return len(first) == len(second) and all(map(torch.equal, first, second))


def _fit(adapter: Adapter, network: nn.Module, batch: Any) -> bool:
    """Whether answers go with labels better than one constant does."""
    few = rows(batch, slice(0, EVIDENCE))
    inputs, labels = adapter.split(few)
    if not isinstance(labels, Tensor) or labels.dim() == 0:
        return False
    try:
        output = at(adapter.outputs(network, inputs), None, length(inputs))
        choice = choose(output, labels.to(output.device))
        values = choice.likelihood.values(output, labels.to(output.device))
        return bool(
            values.mean() > choice.likelihood.guessing(labels) + 2 * values.std() / len(values) ** 0.5
        )
    except (SzilardError, RuntimeError, IndexError, ValueError):
        return False
