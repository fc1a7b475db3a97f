"""The trials of a search as a file of JSON lines, from which a search that was stopped continues."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from szilard import atomic, bounded, flock, plain_json
from szilard.compression.policies.problem import Problem, Trial
from szilard.errors import SzilardError

FORMAT = 1
_MOST_BYTES = 1 << 30
_OTHER = "name another folder, or pass overwrite=True"


def header(problem: Problem, searcher: str, **others: Any) -> dict[str, Any]:
    """What identifies a search: two searches of the same header propose the same trials.

    Args:
        problem: its target and seed, and hashes of its space, sensitivity and features.
        searcher: name of the searcher.
        others: whatever else the KL or the cost of a choice depends on, as values of JSON: hashes of the network, of
            the calibration inputs and of the table of costs, the machine, the runtime.
    """
    space = [(one.name, one.kind, one.layers, one.options) for one in problem.space.decisions]
    return {
        "searcher": searcher,
        "target": problem.target,
        "seed": problem.seed,
        "space": _hash([space, dict(problem.space.pools), dict(problem.space.fixed)]),
        "sensitivity": _hash([list(map(float, row)) for row in problem.sensitivity]),
        "features": _hash([{key: float(value) for key, value in one.items()} for one in problem.features]),
        **others,
    }


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


class History:
    """The trials of a search, in memory and, if it was opened with a path, in a file.

    The first line of the file is the header, and each further line a trial. A line is on disk before :meth:`append`
    returns. A search that is killed while it writes leaves an unfinished last line, which is removed when the file is
    opened again: that trial is then tried once more.

    Attributes:
        trials: in the order of the search.
        path: of the file; None: nothing is kept.
    """

    def __init__(self) -> None:
        self.trials: list[Trial] = []
        self.path: Path | None = None
        self._file: BinaryIO | None = None

    @classmethod
    def open(
        cls, path: Path | str, given: Mapping[str, Any], *, resume: bool = False, overwrite: bool = False
    ) -> History:
        """A history that is kept in a file.

        Args:
            path: of the file; its folder is created.
            given: identifies the search, see :func:`header`; values of JSON.
            resume: continue the search that the file holds, if there is one.
            overwrite: forget it.

        Raises:
            SzilardError: the file holds trials and neither is asked for, belongs to another search (names the entry
                that differs), is no history, is in use by another process, or cannot be read or written.
        """
        self = cls()
        self.path = path = Path(path)
        atomic.make_folder(path.parent)
        try:
            self._file = open(path, "a+b", buffering=0)  # noqa: SIM115  # for the life of the history
        except OSError as error:
            raise atomic.refusal(path, error) from error
        try:
            if flock.take(self._file.fileno()) is False:
                raise SzilardError(f"another process is writing {path}; wait for it, or name another folder")
            size = 0 if overwrite else self._read(dict(given), resume)
            self._file.truncate(size)
            if not size:
                self._write(_header_line(given))
                atomic.sync_folder(path.parent)
        except BaseException:
            self.close()
            raise
        return self

    def append(self, trial: Trial) -> None:
        """Add a trial; it is on disk afterwards.

        Raises:
            NotWritten: the disk is full or the file is not writable.
        """
        if self._file is not None:
            self._write(_as_line(_entry(trial)))
        self.trials.append(trial)

    def measure(self, number: int, cost: float) -> Trial:
        """Note what the real network of a trial costs.

        Args:
            number: of the trial, from 0.
            cost: as a share of the original network's.

        Returns:
            the trial with its measured cost, which replaces the one in :attr:`trials`.
        """
        if self._file is not None:
            self._write(_as_line({"number": number, "measured": cost}))
        self.trials[number] = replace(self.trials[number], measured=cost)
        return self.trials[number]

    def close(self) -> None:
        """Close the file; the trials stay."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> History:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _write(self, line: bytes) -> None:
        assert self._file is not None
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
            os.fsync(self._file.fileno())
        except OSError as error:
            assert self.path is not None
            raise atomic.refusal(self.path, error, partly=True) from error

    def _read(self, given: dict[str, Any], resume: bool) -> int:
        """Reads the trials; how many bytes of the file are whole lines."""
        assert self.path is not None
        content = bounded.read(self.path, _MOST_BYTES, _OTHER)
        size = content.rfind(b"\n") + 1
        lines = content[:size].splitlines()
        where = self.path
        if not lines:  # the header of a search that was killed at once, or somebody's file
            if not _header_line(given).startswith(content):
                raise SzilardError(f"{where} is not the history of a search; {_OTHER}")
            return 0
        try:
            first = plain_json.loads(lines[0])
            kind, known = first["format"], dict(first["search"])
        except (ValueError, TypeError, KeyError) as error:
            raise SzilardError(f"{where} is not the history of a search; {_OTHER}") from error
        if kind != FORMAT:
            raise SzilardError(f"{where} is a history of format {kind!r}, not {FORMAT}; {_OTHER}")
        if not resume:
            raise SzilardError(
                f"{where} holds {len(lines) - 1} trials of a search; pass resume=True to continue it, or "
                "overwrite=True to start again"
            )
        given = plain_json.loads(json.dumps(given))
        for key in sorted({*known, *given}):
            if key not in known or key not in given or known[key] != given[key]:
                raise SzilardError(
                    f"{where} is of another search: its {key} is {known.get(key)!r} and not {given.get(key)!r}; "
                    f"{_OTHER}"
                )
        for number, line in enumerate(lines[1:], 2):
            try:
                self._take(plain_json.loads(line))
            except (ValueError, TypeError, KeyError, IndexError) as error:
                raise SzilardError(f"line {number} of {where} is not a trial; {_OTHER}") from error
        return size

    def _take(self, entry: Mapping[str, Any]) -> None:
        if "number" in entry:
            number = entry["number"]
            self.trials[number] = replace(self.trials[number], measured=float(entry["measured"]))
        else:
            self.trials.append(_trial(entry))


def _as_line(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, allow_nan=False).encode() + b"\n"


def _header_line(given: Mapping[str, Any]) -> bytes:
    return _as_line({"format": FORMAT, "search": given})


def _entry(trial: Trial) -> dict[str, Any]:
    """A trial as JSON; a KL that is not finite is null."""
    entry = {
        "choice": trial.choice,
        "kl": trial.kl if math.isfinite(trial.kl) else None,
        "cost": trial.cost,
        "actions": trial.actions,
    }
    return entry if trial.measured is None else {**entry, "measured": trial.measured}


def _trial(entry: Mapping[str, Any]) -> Trial:
    choice, kl, measured = entry["choice"], entry["kl"], entry.get("measured")
    if not all(type(option) is int for option in choice):
        raise TypeError("options are whole numbers")
    return Trial(
        choice=tuple(choice),
        kl=math.inf if kl is None else float(kl),
        cost=float(entry["cost"]),
        actions=tuple(map(float, entry["actions"])),
        measured=None if measured is None else float(measured),
    )
