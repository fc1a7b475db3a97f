"""Batches of inputs as networks take them: tensors, and tuples, lists, mappings and data classes of tensors.

No other module reads the structure of a batch. Parts that are not tensors (names, flags, None) are passed on unchanged.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, MutableMapping, Sequence
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Whole:
    """A batch that must not be divided, because the outputs for a part of it differ.

    Attributes:
        batch: as the network takes it.
        examples: number of examples in it.
    """

    batch: Any
    examples: int


def mapped(batch: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same structure with every tensor changed; other parts stay."""
    return rebuilt(batch, lambda leaf: change(leaf) if isinstance(leaf, Tensor) else leaf)


def rebuilt(batch: Any, change: Callable[[Any], Any]) -> Any:
    """The same structure with every leaf changed."""
    if isinstance(batch, Whole):
        return Whole(rebuilt(batch.batch, change), batch.examples)
    if isinstance(batch, Mapping):
        return _like(batch, {key: rebuilt(value, change) for key, value in batch.items()})
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):  # a named tuple
        return type(batch)(*(rebuilt(value, change) for value in batch))
    if isinstance(batch, tuple | list) and not _names(batch):
        values = [rebuilt(value, change) for value in batch]
        return tuple(values) if isinstance(batch, tuple) else values
    if is_record(batch):
        made = copy.copy(batch)
        for name, value in fields(batch).items():
            object.__setattr__(made, name, rebuilt(value, change))
        return made
    return change(batch)


def _like(batch: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    """A mapping of the same class, because some networks read its attributes; a dict if that fails."""
    if type(batch) is not dict and isinstance(batch, MutableMapping):
        try:
            made = copy.copy(batch)
            for key, value in values.items():
                made[key] = value
            return made
        except Exception:  # any error of a user's mapping class
            return values
    return values


def is_record(value: Any) -> bool:
    """Whether ``value`` is an instance of a data class."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type | Mapping)


def fields(value: Any) -> dict[str, Any]:
    """The fields of an instance of a data class, by name."""
    return {one.name: getattr(value, one.name, None) for one in dataclasses.fields(value)}


def named_leaves(batch: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every leaf of a batch, with the path of keys to it."""
    if isinstance(batch, Whole):
        yield from named_leaves(batch.batch, path)
        return
    if is_record(batch):
        batch = fields(batch)
    if isinstance(batch, Mapping):
        for key, value in batch.items():
            yield from named_leaves(value, (*path, key))
    elif isinstance(batch, tuple | list) and not _names(batch):
        for number, value in enumerate(batch):
            yield from named_leaves(value, (*path, number))
    else:
        yield path, batch


def leaves(batch: Any) -> Iterator[Tensor]:
    """Every tensor of a batch."""
    return (leaf for _, leaf in named_leaves(batch) if isinstance(leaf, Tensor))


def length(batch: Any) -> int:
    """Number of examples in a batch: the most common first dimension of its tensors; 0 if there are none."""
    if isinstance(batch, Whole):
        return batch.examples
    counts = Counter(len(t) for t in leaves(batch) if t.dim())
    return counts.most_common(1)[0][0] if counts else 0


def rows(batch: Any, which: slice | Tensor) -> Any:
    """Some examples of a batch. Parts without one row for each example are kept whole."""
    if isinstance(batch, Whole):
        return batch
    count = length(batch)
    numbers = range(count)[which] if isinstance(which, slice) else which.tolist()

    def at(leaf: Tensor) -> slice | Tensor:
        return which if isinstance(which, slice) else which.to(leaf.device)

    def part(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return leaf[at(leaf)] if leaf.dim() and len(leaf) == count else leaf
        return [leaf[number] for number in numbers] if isinstance(leaf, list) and len(leaf) == count else leaf

    return rebuilt(batch, part)


def distinct(batches: Sequence[Any], enough: int) -> int:
    """Number of different examples, at most ``enough``. All examples of a :class:`Whole` count as different."""
    found: set[bytes] = set()
    others = 0
    for batch in batches:
        if isinstance(batch, Whole):
            others += batch.examples
        for number in range(0 if isinstance(batch, Whole) else length(batch)):
            one = rows(batch, slice(number, number + 1))
            digest = sha256()
            for _, leaf in named_leaves(one):
                if isinstance(leaf, Tensor):
                    digest.update(
                        leaf.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
                    )
                else:
                    digest.update(repr(leaf).encode())
            found.add(digest.digest())
            if others + len(found) >= enough:
                return enough
        if others >= enough:
            return enough
    return others + len(found)


def split(batch: Any, size: int) -> list[Any]:
    """A batch in parts of at most ``size`` examples. A :class:`Whole` stays one part."""
    count = length(batch)
    if isinstance(batch, Whole) or count <= size:
        return [batch]
    return [rows(batch, slice(start, start + size)) for start in range(0, count, size)]


def together(batches: Sequence[Any]) -> Any:
    """All batches joined into one; only the first if they do not fit together, such as padded text."""
    if len(batches) == 1 or not fit(batches):
        return batches[0]
    counts = [length(batch) for batch in batches]
    columns = zip(*([leaf for _, leaf in named_leaves(batch)] for batch in batches), strict=True)
    made = iter([_column(column, counts) for column in columns])
    return rebuilt(batches[0], lambda _: next(made))


def fit(batches: Sequence[Any]) -> bool:
    """Whether batches can be concatenated along their examples."""
    if any(isinstance(batch, Whole) for batch in batches) or len({kind(batch) for batch in batches}) > 1:
        return False
    if len({tuple(path for path, _ in named_leaves(batch)) for batch in batches}) > 1:
        return False
    counts = [length(batch) for batch in batches]
    columns = zip(*([leaf for _, leaf in named_leaves(batch)] for batch in batches), strict=True)
    return all(_joins(column, counts) for column in columns)


def _joins(column: Sequence[Any], counts: Sequence[int]) -> bool:
    first = column[0]
    if isinstance(first, Tensor):
        if all(t.dim() and len(t) == n for t, n in zip(column, counts, strict=True)):
            return len({t.shape[1:] for t in column}) == 1
        return all(t.shape == first.shape and torch.equal(t, first) for t in column)
    if isinstance(first, list) and all(len(names) == n for names, n in zip(column, counts, strict=True)):
        return True
    return all(type(leaf) is type(first) and bool(leaf == first) for leaf in column)


def _column(column: Sequence[Any], counts: Sequence[int]) -> Any:
    first = column[0]
    if isinstance(first, Tensor):
        rowwise = all(t.dim() and len(t) == n for t, n in zip(column, counts, strict=True))
        return torch.cat(list(column)) if rowwise else first
    if isinstance(first, list) and all(len(names) == n for names, n in zip(column, counts, strict=True)):
        return [name for names in column for name in names]
    return first


def kind(batch: Any) -> Hashable:
    """What all batches of one loader share: structure, keys, types, and numbers of dimensions."""
    if isinstance(batch, Whole) or is_record(batch):
        return type(batch).__name__, kind(batch.batch if isinstance(batch, Whole) else fields(batch))
    if isinstance(batch, Mapping):
        return "mapping", tuple(sorted(((str(key), kind(value)) for key, value in batch.items()), key=str))
    if isinstance(batch, Tensor):
        return "tensor", str(batch.dtype), batch.dim()
    if isinstance(batch, tuple | list) and not _names(batch):
        kinds = tuple(kind(value) for value in batch)
        if isinstance(batch, tuple):
            return "tuple", kinds
        return "list", kinds[0] if len(
            set(kinds)
        ) == 1 else kinds  # of any length, such as lists of images of many sizes
    return type(batch).__name__


def shown(batch: Any) -> str:
    """A short description of a batch for messages."""
    if isinstance(batch, Whole):
        return shown(batch.batch)
    if isinstance(batch, Tensor):
        return f"{list(batch.shape)}"
    if isinstance(batch, Mapping):
        return "{" + ", ".join(f"{key}: {shown(value)}" for key, value in batch.items()) + "}"
    if isinstance(batch, tuple | list) and not _names(batch):
        return "(" + ", ".join(shown(value) for value in batch[:8]) + (", ...)" if len(batch) > 8 else ")")
    return type(batch).__name__


def _names(value: Any) -> bool:
    """Whether ``value`` is a list of strings or numbers, which may have one entry for each example."""
    if not isinstance(value, tuple | list) or hasattr(value, "_fields"):
        return False
    return all(isinstance(one, str | bytes | int | float | None) for one in value)
