"""Calibration data: inputs to compress with, and examples to judge by."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from szilard.compression.adapter import Adapter, Call
from szilard.compression.batches import Whole, fit, length, rows, split, together
from szilard.compression.loader import Batches

EXAMPLES = 512  # number of examples to compress with
MOST_JUDGES = 10_000


@dataclass(frozen=True, eq=False)
class Calibration:
    """Attributes:
    inputs: batches to compress with, as the network takes them, without labels.
    judges: batches to judge by: other inputs, or the same ones if there are too few.
    labels: of ``judges``, or None.
    adapter: calls a network on one of these batches.
    notes: notes for the user, one sentence each.
    """

    inputs: list[Any]
    judges: list[Any]
    labels: list[Tensor] | None
    adapter: Adapter
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        given: Any,
        network: nn.Module | None = None,
        *,
        forward: Call | None = None,
        examples: int = EXAMPLES,
        batch_size: int = 64,
        hold_out: bool = True,
        keep_back: bool | None = None,
    ) -> Calibration:
        """From a tensor ``[N, ...]``, or batches of any structure that the network takes, with labels or without.

        The first ``examples`` are for compression. The others are for judging: by their labels if there are any, else
        by the network's predicted probabilities. If too few follow, all labelled examples judge, because compression
        does not use labels. Of unlabelled ones a quarter is held out for judging, if ``hold_out``. Batches whose
        examples have one shape are joined and divided again; others, such as padded text, are only divided.

        Args:
            network: in eval mode; the adapter is chosen for it (:func:`szilard.compression.adapt.adapt`). None: a
                batch is a tensor, or a pair of inputs and labels.
            forward: the user's function that is called instead of the network.
            hold_out: judge by these examples: hold some out if they have no labels, and refuse labels that cannot be
                used, which are ignored otherwise.
            keep_back: the former name of ``hold_out``; it goes with the next release.

        Raises:
            SzilardError: there are no examples, the data are not batches, or batches differ in kind.
        """
        if keep_back is not None:
            warnings.warn("keep_back is now hold_out", DeprecationWarning, stacklevel=2)
            hold_out = keep_back
        batches = Batches(given, network, forward, labelled=hold_out)
        inputs, labels = batches.gather(examples + MOST_JUDGES)
        adapter, notes = batches.adapter, batches.notes
        total = sum(map(length, inputs))
        scarce = hold_out and total < examples * 5 // 4
        count = max(1, total * 3 // 4) if scarce else examples
        if fit(inputs):
            x, y = together(inputs), together(labels) if labels else None
            rest = slice(count, None) if total > count and not (scarce and labels) else slice(None)
            return cls(
                split(rows(x, slice(0, count)), batch_size),
                split(rows(x, rest), 4 * batch_size),
                None if y is None else list(y[rest].split(4 * batch_size)),
                adapter,
                notes,
            )
        first, others = _cut(inputs, labels, count)
        others = [*first, *others] if scarce and labels else others or first
        small = [part for x, _ in first for part in split(x, batch_size)]
        judges = [part for x, y in others for part in _both(x, y, 4 * batch_size)]
        known = [y for _, y in judges if y is not None]
        return cls(small, [x for x, _ in judges], known if labels else None, adapter, notes)


def to_give(judges: int, examples: int = EXAMPLES) -> int:
    """How many examples without labels are needed so that ``judges`` of them are held out for judging."""
    return 4 * judges if 4 * judges < examples * 5 // 4 else examples + judges


Labelled = tuple[Any, Tensor | None]


def _both(x: Any, y: Tensor | None, size: int) -> Iterator[Labelled]:
    parts = split(x, size)
    labels = [None] * len(parts) if y is None else [y] if len(parts) == 1 else list(y.split(size))
    yield from zip(parts, labels, strict=True)


def _cut(inputs: list[Any], labels: list[Tensor], count: int) -> tuple[list[Labelled], list[Labelled]]:
    """The first ``count`` examples, and the others. A :class:`Whole` is not divided."""
    first: list[Labelled] = []
    others: list[Labelled] = []
    for number, x in enumerate(inputs):
        y = labels[number] if labels else None
        n = length(x)
        if count >= n or (count > 0 and isinstance(x, Whole)):
            first.append((x, y))
        elif count <= 0:
            others.append((x, y))
        else:
            first.append((rows(x, slice(0, count)), None if y is None else y[:count]))
            others.append((rows(x, slice(count, None)), None if y is None else y[count:]))
        count -= n
    return first, others
