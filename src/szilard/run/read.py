"""Reads a run folder for the report: all that it holds, and a note for everything missing or damaged."""

from __future__ import annotations

import hashlib
import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from szilard import bounded, plain_json
from szilard.data.npz import Archive
from szilard.errors import SzilardError, printable
from szilard.likelihood import targets
from szilard.likelihood.targets import DataTargets
from szilard.run import one_pass
from szilard.run import result as results
from szilard.run.result import is_number, text

if TYPE_CHECKING:
    import numpy as np

MOST_SETTINGS = 1 << 20  # bytes of a run.toml
MOST_RESULT = 1 << 25
MOST_LOG = 1 << 26
_LONGEST_LINE = 1 << 20  # characters of a line of a log
_MOST_METHODS = 100
_LATEST_EPOCH = 10**9
_ADVICE = "name a folder that szilard fit has written"


@dataclass(eq=False)
class MethodRun:
    """One method of a run.

    Attributes:
        key: name of its folder.
        number: position in the run, which determines its colour.
        result: content of ``result.json``; empty until the method has finished.
        history: lines of ``metrics.jsonl``, one dict for each epoch.
        arrays: content of ``arrays.npz``.
        one_pass: content of ``one_pass.json`` (:func:`szilard.run.one_pass.check`), or empty.
    """

    key: str
    number: int
    result: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    one_pass: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name to show."""
        return str(self.result.get("name") or text(self.key))

    @property
    def finished(self) -> bool:
        return bool(self.result)

    @property
    def test(self) -> dict[str, float]:
        """Metrics on the test set, without those that are unknown, NaN or infinite."""
        return {key: float(value) for key, value in _table(self.result, "test").items() if is_number(value)}

    def cost(self, figure: str) -> float | None:
        """A cost figure, or None."""
        value = _table(_table(self.result, "cost"), figure).get("value")
        return float(value) if value is not None and is_number(value) else None

    def source(self, figure: str) -> str:
        """Source of a cost figure: counted, estimated or measured."""
        return str(_table(_table(self.result, "cost"), figure).get("source", "unknown"))

    def density(self) -> dict[str, float]:
        """Density of each weight: the fraction of its entries that exist."""
        return {str(k): float(v) for k, v in _table(self.result, "density").items() if is_number(v)}

    def has(self, *names: str) -> bool:
        """Whether all these arrays exist and are not empty."""
        return all(name in self.arrays and self.arrays[name].size for name in names)


@dataclass(eq=False)
class Run:
    """The content of a run folder for its report.

    Attributes:
        settings: content of ``run.toml``, or empty; ``settings_text`` is the file itself, printable line by line.
        notes: a sentence for each thing that is missing or damaged; shown on the page.
    """

    path: Path
    settings: dict[str, Any]
    methods: list[MethodRun]
    notes: list[str]
    settings_text: str = ""

    @property
    def finished(self) -> list[MethodRun]:
        return [m for m in self.methods if m.finished]

    @property
    def title(self) -> str:
        return text(Path(os.path.abspath(self.path)).name)

    def fact(self, key: str) -> Any:
        """A value that is the same in all results (data, task, classes, ...), from the first that has it."""
        return next((m.result[key] for m in self.finished if m.result.get(key) not in (None, "", [])), None)

    def asked(self, section: str, key: str) -> Any:
        """A setting of ``run.toml``, a number or a text, or None."""
        value = _table(self.settings, section).get(key)
        return value if value is None or is_number(value) else text(value)

    @property
    def target_type(self) -> DataTargets:
        """Type of the targets; classes if no result states it."""
        return targets.known(self.fact("task")) or targets.CLASSES

    @property
    def baseline(self) -> MethodRun | None:
        """The deterministic network, with which all others are compared."""
        by_key = {m.key: m for m in self.finished}
        return by_key.get("deterministic") or by_key.get("sparse-deterministic")


def read(path: Path) -> Run:
    """Read a run folder.

    Raises:
        SzilardError: the folder holds no run.
    """
    notes: list[str] = []
    settings, written = _settings(path / "run.toml", notes)
    asked = settings.get("methods", [])
    asked = [key for key in asked if _is_name(key)] if isinstance(asked, list) else []
    there = {p.parent.name for kind in ("metrics.jsonl", "result.json") for p in path.glob(f"*/{kind}")}
    if not there and not os.path.isfile(path / "run.toml"):
        what = "is not a run folder" if os.path.lexists(path) else "does not exist"
        raise SzilardError(f"{path} {what}; {_ADVICE}, with run.toml in it")
    keys = list(dict.fromkeys([*asked, *sorted(there)]))
    if len(keys) > _MOST_METHODS:
        notes.append(f"Only the first {_MOST_METHODS} of {len(keys)} methods are shown.")
    methods = [_method(path / key, n, notes) for n, key in enumerate(keys[:_MOST_METHODS])]
    return Run(path, settings, methods, notes, written)


def _settings(path: Path, notes: list[str]) -> tuple[dict[str, Any], str]:
    """Content of the file, and its text."""
    if not os.path.lexists(path):
        notes.append("run.toml is missing, so the settings are unknown.")
        return {}, ""
    shown = ""
    try:
        content = bounded.read(path, MOST_SETTINGS, _ADVICE)
        lines = content.decode("utf-8", errors="replace").splitlines()
        shown = "\n".join(printable(line.replace("\t", "    ")) for line in lines)
        return tomllib.loads(content.decode("utf-8")), shown
    except (SzilardError, ValueError, RecursionError):
        notes.append("run.toml cannot be read, so the settings are unknown.")
        return {}, shown


def _is_name(key: Any) -> bool:
    """Whether a name can be that of a method's folder: not a path that leads out of the run folder."""
    return isinstance(key, str) and key not in ("", ".", "..") and not set(key) & set("/\\\0")


def _method(path: Path, number: int, notes: list[str]) -> MethodRun:
    run = MethodRun(path.name, number, _result(path, notes), _history(path, notes))
    if isinstance(diverged := run.result.get("diverged"), str):
        notes.append(f"{diverged[:500]}.")
    if run.finished:
        run.arrays = _arrays(path, notes)
        run.one_pass = _one_pass(path, notes)
    return run


def _result(path: Path, notes: list[str]) -> dict[str, Any]:
    name, file = text(path.name), path / "result.json"
    if not os.path.lexists(file):
        state = "has not finished" if path.is_dir() else "has not started"
        notes.append(f"{name} {state}; szilard fit with --resume continues it.")
        return {}
    try:
        found, wrong = results.check(plain_json.loads(bounded.read(file, MOST_RESULT, _ADVICE)))
    except (SzilardError, ValueError):
        notes.append(f"{name}/result.json is not a result; the method counts as unfinished.")
        return {}
    if wrong:
        notes.append(f"{name}/result.json has invalid values, left out: {_first(wrong)}.")
    return found


def _history(path: Path, notes: list[str]) -> list[dict[str, Any]]:
    name, file = text(path.name), path / "metrics.jsonl"
    if not os.path.lexists(file):
        if path.is_dir():
            notes.append(f"{name}/metrics.jsonl is missing, so its training curves are left out.")
        return []
    try:
        content = bounded.read(file, MOST_LOG, _ADVICE).decode("utf-8", errors="replace")
    except SzilardError:
        notes.append(f"{name}/metrics.jsonl cannot be read, so its training curves are left out.")
        return []
    found, damaged = [], 0
    for line in filter(str.strip, content.split("\n")):
        try:
            entry = plain_json.loads(line) if len(line) <= _LONGEST_LINE else None
        except ValueError:
            damaged += 1
            continue
        epoch = entry.get("epoch") if isinstance(entry, dict) else None
        if isinstance(entry, dict) and epoch is not None and is_number(epoch) and 0 <= epoch <= _LATEST_EPOCH:
            found.append(entry)
    if damaged:
        lines = "a line" if damaged == 1 else f"{damaged} lines"
        notes.append(f"{name}/metrics.jsonl has {lines} cut short or damaged, left out of the curves.")
    return found


def _arrays(path: Path, notes: list[str]) -> dict[str, np.ndarray]:
    name, file = text(path.name), path / "arrays.npz"
    if not os.path.lexists(file):
        notes.append(f"{name}/arrays.npz is missing, so the plots of its predictions are left out.")
        return {}
    found: dict[str, np.ndarray] = {}
    damaged: list[str] = []
    try:
        with Archive(file) as archive:
            for key in archive.headers:
                try:
                    found[key] = archive.read(key)
                except SzilardError:
                    damaged.append(key)
    except SzilardError:
        notes.append(f"{name}/arrays.npz cannot be read, so the plots of its predictions are left out.")
    if damaged:
        notes.append(f"{name}/arrays.npz is damaged; left out: {_first(damaged)}.")
    return found


def _one_pass(path: Path, notes: list[str]) -> dict[str, Any]:
    name, file = text(path.name), path / "one_pass.json"
    if not os.path.lexists(file):
        return {}
    left_out = "so its figures of one pass are left out; szilard measure RUN --one-pass writes it again"
    try:
        found = one_pass.check(plain_json.loads(bounded.read(file, MOST_RESULT, _ADVICE)))
    except (SzilardError, ValueError):
        notes.append(f"{name}/one_pass.json is damaged, {left_out}.")
        return {}
    if (
        found["result"]
        != hashlib.sha256(bounded.read(path / "result.json", MOST_RESULT, _ADVICE)).hexdigest()
    ):
        notes.append(f"{name}/one_pass.json is of another training than result.json, {left_out}.")
        return {}
    return found


def _first(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(text(name) for name in names[:5]) + more


def _table(content: dict[str, Any], key: str) -> dict[str, Any]:
    value = content.get(key)
    return value if isinstance(value, dict) else {}
