"""Mutated .szd files through every door, beside the reader that was written from the page alone."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import szd_reference as page

from robustness import codec, mutate, szd_seeds
from robustness.watch import MIB, Outcome, too_much, too_slow, watched

MOST = 64 * MIB  # what the doors are asked to allow
Fault = tuple[str, str]  # key, what happened


@functools.cache
def seeds() -> list[codec.Draft]:
    return szd_seeds.drafts() + szd_seeds.written()


@functools.cache
def seed_files() -> list[bytes]:
    return [codec.write(draft) for draft in seeds()]


def mutant(family: str, number: int) -> bytes:
    """Input ``number`` of ``szd-shallow`` or ``szd-deep``."""
    more = random.Random(f"{family} {number}")
    if family == "szd-shallow":
        return mutate.shallow(more.choice(seed_files()), more)
    return mutate.deep(seeds(), more)


def check(data: bytes, folder: Path, *, all_doors: bool = True) -> list[Fault]:
    """What is wrong with the library on one file.

    Args:
        folder: for the file.
        all_doors: try them all, not only ``loads``.
    """
    told = expected(data)
    with digests() as seen:
        first = watched(lambda: opened(data))
    faults = judged("loads", first, told)
    faults += compared("loads", first, told, seen)
    if told.refused and first.refusal is not None and seen and told.tables is not None:
        # The library's own hash of what it found: whoever forges a file has the library, too.
        forged = codec.with_content(data, seen[-1])
        faults += [(key, f"with the library's hash, {text}") for key, text in check_forged(forged, told)]
    return faults + (doors(data, folder, told, first) if all_doors else [])


class Expected:
    """What the page says of a file."""

    def __init__(self) -> None:
        self.tables: page.Tables | None = None
        self.file: page.File | None = None
        self.refused = ""
        self.too_large = False

    @property
    def declared(self) -> int:
        return 0 if self.tables is None else min(self.tables.declared, MOST)


def expected(data: bytes) -> Expected:
    found = Expected()
    try:
        found.tables = page.tables(data)
        found.file = page.decode(found.tables, codec.MOST_WORK)
        if found.file.content != found.tables.content:
            found.refused = "the content's hash is another"
    except page.Refused as reason:
        found.refused = str(reason)
    except page.TooLarge:
        found.too_large = True
    return found


# -- doors ----------------------------------------------------------------------------------------------


def opened(data: bytes) -> tuple[Any, dict[str, Any]]:
    from szilard import file

    document = file.loads(data, max_bytes=MOST)
    return document, file.arrays(document)


DOORS = ("read", "load", "verify", "inspect", "inspect --tensors")


def doors(
    data: bytes,
    folder: Path,
    told: Expected,
    first: Outcome,
    *,
    names: tuple[str, ...] = DOORS,
    values: bool = True,
) -> list[Fault]:
    """The doors that take a path; those that open everything must agree with ``loads``.

    Args:
        names: the doors to try.
        values: compare the tensors of ``load``, too.
    """
    from szilard import file

    path = folder / "mutant.szd"
    path.write_bytes(data)
    tried = {
        "read": lambda: file.read(path, max_bytes=MOST),
        "load": lambda: file.load(path, max_bytes=MOST),
        "verify": lambda: file.verify(path, max_bytes=MOST),
        "inspect": lambda: file.inspect(path),
        "inspect --tensors": lambda: file.inspect(path, tensors=True, max_bytes=MOST),
    }
    faults: list[Fault] = []
    for door in names:
        found = watched(tried[door], (path,))
        faults += judged(door, found, told)
        if found.wrong or first.wrong:
            continue
        if door in ("read", "load", "verify") and (found.refusal is None) != (first.refusal is None):
            faults.append(("wrong_values", f"{door} {answer(found)}, loads {answer(first)}"))
        if values and door == "load" and found.refusal is None and first.refusal is None:
            faults += same_state(found.value, first.value[1])
        if door == "inspect --tensors" and found.refusal is None and found.value.size != len(data):
            faults.append(("wrong_values", f"inspect says {found.value.size} bytes of {len(data)}"))
    return faults


def answer(found: Outcome) -> str:
    return "opens" if found.refusal is None else f"refuses ({found.refusal})"


def judged(door: str, found: Outcome, told: Expected) -> list[Fault]:
    """Exceptions, memory, time and touch of one call."""
    faults: list[Fault] = []
    if found.wrong:
        faults.append(("wrong_exceptions", f"{door}: {found.wrong}"))
    if too_much(found, told.declared):
        faults.append(("peak_over_allowed", f"{door}: {found.peak} bytes for {told.declared} declared"))
    if too_slow(found, told.declared):
        faults.append(("slow", f"{door}: {found.seconds:.2f} s for {told.declared} bytes declared"))
    return faults + [("code_run", f"{door}: {what}") for what in found.touched]


# -- values ---------------------------------------------------------------------------------------------


def compared(door: str, found: Outcome, told: Expected, seen: list[bytes]) -> list[Fault]:
    """The library beside the page."""
    if found.wrong or told.too_large:
        return []
    if found.refusal is not None:
        return (
            []
            if told.refused
            else [("wrong_values", f"{door} refuses what the page accepts: {found.refusal}")]
        )
    if told.refused:
        return [("wrong_values", f"{door} opens what the page refuses: {told.refused}")]
    assert told.file is not None
    document, arrays = found.value
    if seen and seen[-1] != told.file.content:
        return [("wrong_values", f"{door} computes another hash of the content")]
    return differences(door, document, arrays, told.file)


def differences(door: str, document: Any, arrays: dict[str, Any], file: page.File) -> list[Fault]:
    if list(arrays) != list(file.tensors):
        return [("wrong_values", f"{door} gives {list(arrays)[:5]} and the page {list(file.tensors)[:5]}")]
    kinds = {record.name: getattr(record, "dtype", "int32") for record in document.records}
    for name, (kind, shape, entries) in file.tensors.items():
        array = arrays[name]
        if tuple(array.shape) != shape or array.tobytes() != entries:
            return [("wrong_values", f"{door} gives other values of {name!r}")]
        origin = file.aliases.get(name, name)
        if origin in kinds and kinds[origin] != kind:
            return [("wrong_values", f"{door} gives {name!r} another type")]
        if name in file.aliases and array is not arrays[file.aliases[name]]:
            return [("wrong_values", f"{door} does not tie {name!r}")]
    if normal(document.meta) != normal(file.meta):
        return [("wrong_values", f"{door} gives other metadata")]
    return []


def normal(meta: Any) -> str:
    return json.dumps(meta, sort_keys=True)


def same_state(state: Any, arrays: dict[str, Any]) -> list[Fault]:
    """What ``load`` gives beside what ``loads`` gave."""
    import torch

    if list(state) != list(arrays):
        return [("wrong_values", "load and loads give other names")]
    for name, tensor in state.items():
        if tuple(tensor.shape) != tuple(arrays[name].shape):
            return [("wrong_values", f"load gives {name!r} another shape")]
        if (
            tensor.numel()
            and tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() != arrays[name].tobytes()
        ):
            return [("wrong_values", f"load gives other values of {name!r}")]
    return []


def check_forged(data: bytes, told: Expected) -> list[Fault]:
    found = watched(lambda: opened(data))
    faults = judged("loads", found, told)
    if not found.wrong and found.refusal is None and told.refused != "the content's hash is another":
        faults.append(("wrong_values", f"loads opens what the page refuses: {told.refused}"))
    return faults


@contextmanager
def digests() -> Iterator[list[bytes]]:
    """The hashes of contents that the library computes inside."""
    from szilard.file.digest import Content

    seen: list[bytes] = []
    digest = Content.digest

    def noted(self: Any) -> bytes:
        seen.append(digest(self))
        return seen[-1]

    Content.digest = noted  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        Content.digest = digest  # type: ignore[method-assign]
