"""Mutated .szd files, given to every function that reads them, compared with the reference reader."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import szd_reference as reference

from robustness import codec, mutate, szd_seeds
from robustness.watch import MIB, Outcome, too_much, too_slow, watched

MOST = 64 * MIB  # max_bytes of the readers
Fault = tuple[str, str]  # key, what happened


@functools.cache
def seeds() -> list[codec.Draft]:
    return szd_seeds.drafts() + szd_seeds.written()


@functools.cache
def seed_files() -> list[bytes]:
    return [codec.write(draft) for draft in seeds()]


def mutant(family: str, number: int) -> bytes:
    """Input ``number`` of ``szd-shallow`` or ``szd-deep``."""
    rng = random.Random(f"{family} {number}")
    if family == "szd-shallow":
        return mutate.shallow(rng.choice(seed_files()), rng)
    return mutate.deep(seeds(), rng)


def check(data: bytes, folder: Path, *, all_functions: bool = True) -> list[Fault]:
    """Faults of the library on one file.

    Args:
        folder: where the file is written.
        all_functions: test all functions that read a file, not only ``loads``.
    """
    wanted = expected(data)
    with digests() as seen:
        first = watched(lambda: opened(data))
    faults = judged("loads", first, wanted)
    faults += compared("loads", first, wanted, seen)
    if wanted.refused and first.refusal is not None and seen and wanted.tables is not None:
        # Use the content hash that the library computed: an attacker can compute it with the library, too.
        forged = codec.with_content(data, seen[-1])
        faults += [(key, f"with the library's hash, {text}") for key, text in check_forged(forged, wanted)]
    return faults + (entry_points(data, folder, wanted, first) if all_functions else [])


class Expected:
    """The reference reader's result for a file."""

    def __init__(self) -> None:
        self.tables: reference.Tables | None = None
        self.file: reference.File | None = None
        self.refused = ""
        self.too_large = False

    @property
    def declared(self) -> int:
        return 0 if self.tables is None else min(self.tables.declared, MOST)


def expected(data: bytes) -> Expected:
    found = Expected()
    try:
        found.tables = reference.tables(data)
        found.file = reference.decode(found.tables, codec.MOST_WORK)
        if found.file.content != found.tables.content:
            found.refused = "the content's hash is another"
    except reference.Refused as reason:
        found.refused = str(reason)
    except reference.TooLarge:
        found.too_large = True
    return found


# -- functions that read a file -------------------------------------------------------------------------


def opened(data: bytes) -> tuple[Any, dict[str, Any]]:
    from szilard import file

    document = file.loads(data, max_bytes=MOST)
    return document, file.arrays(document)


ENTRY_POINTS = ("read", "load", "verify", "inspect", "inspect --tensors")


def entry_points(
    data: bytes,
    folder: Path,
    wanted: Expected,
    first: Outcome,
    *,
    names: tuple[str, ...] = ENTRY_POINTS,
    values: bool = True,
) -> list[Fault]:
    """Faults of the functions that read a path; those that read everything must agree with ``loads``.

    Args:
        names: the functions to test.
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
    for entry in names:
        found = watched(tried[entry], (path,))
        faults += judged(entry, found, wanted)
        if found.wrong or first.wrong:
            continue
        if entry in ("read", "load", "verify") and (found.refusal is None) != (first.refusal is None):
            faults.append(("wrong_values", f"{entry} {answer(found)}, loads {answer(first)}"))
        if values and entry == "load" and found.refusal is None and first.refusal is None:
            faults += same_state(found.value, first.value[1])
        if entry == "inspect --tensors" and found.refusal is None and found.value.size != len(data):
            faults.append(("wrong_values", f"inspect says {found.value.size} bytes of {len(data)}"))
    return faults


def answer(found: Outcome) -> str:
    return "opens" if found.refusal is None else f"refuses ({found.refusal})"


def judged(entry: str, found: Outcome, wanted: Expected) -> list[Fault]:
    """Faults of one call: exceptions, memory, time and files that it opened."""
    faults: list[Fault] = []
    if found.wrong:
        faults.append(("wrong_exceptions", f"{entry}: {found.wrong}"))
    if too_much(found, wanted.declared):
        faults.append(("peak_over_allowed", f"{entry}: {found.peak} bytes for {wanted.declared} declared"))
    if too_slow(found, wanted.declared):
        faults.append(("slow", f"{entry}: {found.seconds:.2f} s for {wanted.declared} bytes declared"))
    return faults + [("code_run", f"{entry}: {what}") for what in found.touched]


# -- values ---------------------------------------------------------------------------------------------


def compared(entry: str, found: Outcome, wanted: Expected, seen: list[bytes]) -> list[Fault]:
    """Differences between the library and the reference reader."""
    if found.wrong or wanted.too_large:
        return []
    if found.refusal is not None:
        return (
            []
            if wanted.refused
            else [("wrong_values", f"{entry} refuses what the reference reader accepts: {found.refusal}")]
        )
    if wanted.refused:
        return [("wrong_values", f"{entry} opens what the page refuses: {wanted.refused}")]
    assert wanted.file is not None
    document, arrays = found.value
    if seen and seen[-1] != wanted.file.content:
        return [("wrong_values", f"{entry} computes a different content hash")]
    return differences(entry, document, arrays, wanted.file)


def differences(entry: str, document: Any, arrays: dict[str, Any], file: reference.File) -> list[Fault]:
    if list(arrays) != list(file.tensors):
        return [
            (
                "wrong_values",
                f"{entry} gives {list(arrays)[:5]}, the reference reader {list(file.tensors)[:5]}",
            )
        ]
    kinds = {record.name: getattr(record, "dtype", "int32") for record in document.records}
    for name, (kind, shape, entries) in file.tensors.items():
        array = arrays[name]
        if tuple(array.shape) != shape or array.tobytes() != entries:
            return [("wrong_values", f"{entry} gives other values of {name!r}")]
        origin = file.aliases.get(name, name)
        if origin in kinds and kinds[origin] != kind:
            return [("wrong_values", f"{entry} gives {name!r} a different type")]
        if name in file.aliases and array is not arrays[file.aliases[name]]:
            return [("wrong_values", f"{entry} does not tie {name!r}")]
    if normal(document.meta) != normal(file.meta):
        return [("wrong_values", f"{entry} gives other metadata")]
    return []


def normal(meta: Any) -> str:
    return json.dumps(meta, sort_keys=True)


def same_state(state: Any, arrays: dict[str, Any]) -> list[Fault]:
    """Differences between the results of ``load`` and ``loads``."""
    import torch

    if list(state) != list(arrays):
        return [("wrong_values", "load and loads give other names")]
    for name, tensor in state.items():
        if tuple(tensor.shape) != tuple(arrays[name].shape):
            return [("wrong_values", f"load gives {name!r} a different shape")]
        if (
            tensor.numel()
            and tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() != arrays[name].tobytes()
        ):
            return [("wrong_values", f"load gives other values of {name!r}")]
    return []


def check_forged(data: bytes, wanted: Expected) -> list[Fault]:
    found = watched(lambda: opened(data))
    faults = judged("loads", found, wanted)
    if not found.wrong and found.refusal is None and wanted.refused != "the content's hash is another":
        faults.append(("wrong_values", f"loads opens what the page refuses: {wanted.refused}"))
    return faults


@contextmanager
def digests() -> Iterator[list[bytes]]:
    """Record the content hashes that the library computes inside the block."""
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
