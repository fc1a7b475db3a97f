"""A run folder as the report sees it: whatever is there, and a note for whatever is not."""

from __future__ import annotations

import json
import math
import tomllib
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from szilard.errors import SzilardError

if TYPE_CHECKING:
    import numpy as np


@dataclass(eq=False)
class MethodRun:
    """One method of a run.

    Attributes:
        key: name of its folder.
        number: place in the run, which decides its colour.
        result: of ``result.json``; empty until it has finished.
        history: a dict an epoch, of ``metrics.jsonl``.
        arrays: of ``arrays.npz``.
    """

    key: str
    number: int
    result: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What to call it."""
        return str(self.result.get("name") or self.key)

    @property
    def finished(self) -> bool:
        return bool(self.result)

    @property
    def test(self) -> dict[str, float]:
        """Quality on the test set; what is unknown, NaN or infinite is left out."""
        return {key: float(value) for key, value in _table(self.result, "test").items() if is_number(value)}

    def cost(self, figure: str) -> float | None:
        """A figure of cost, or None."""
        value = _table(_table(self.result, "cost"), figure).get("value")
        return float(value) if value is not None and is_number(value) else None

    def source(self, figure: str) -> str:
        """How a figure of cost was found: counted, estimated or measured."""
        return str(_table(_table(self.result, "cost"), figure).get("source", "unknown"))

    def density(self) -> dict[str, float]:
        """Fraction of its entries that each weight has."""
        return {str(k): float(v) for k, v in _table(self.result, "density").items() if is_number(v)}

    def has(self, *names: str) -> bool:
        """Whether all these arrays are there and not empty."""
        return all(name in self.arrays and self.arrays[name].size for name in names)


@dataclass(eq=False)
class Run:
    """Everything that a run folder holds for its report.

    Attributes:
        settings: content of ``run.toml``, or empty.
        notes: a sentence for each thing that is missing or damaged; shown on the page.
    """

    path: Path
    settings: dict[str, Any]
    methods: list[MethodRun]
    notes: list[str]

    @property
    def finished(self) -> list[MethodRun]:
        return [m for m in self.methods if m.finished]

    @property
    def title(self) -> str:
        return self.path.resolve().name

    def fact(self, key: str) -> Any:
        """What every result repeats (data, task, classes, ...), from the first that says it."""
        return next((m.result[key] for m in self.finished if m.result.get(key) not in (None, "", [])), None)

    def asked(self, section: str, key: str) -> Any:
        """What ``run.toml`` asks for, or None."""
        return _table(self.settings, section).get(key)

    @property
    def task(self) -> str:
        return "regression" if self.fact("task") == "regression" else "classification"

    @property
    def baseline(self) -> MethodRun | None:
        """The deterministic network, beside which all others are put."""
        by_key = {m.key: m for m in self.finished}
        return by_key.get("deterministic") or by_key.get("sparse-deterministic")


def read(path: Path) -> Run:
    """Read a run folder.

    Raises:
        SzilardError: there is no run in it.
    """
    notes: list[str] = []
    settings = _settings(path / "run.toml", notes)
    asked = settings.get("methods", [])
    asked = [key for key in asked if _is_name(key)] if isinstance(asked, list) else []
    there = {p.parent.name for kind in ("metrics.jsonl", "result.json") for p in path.glob(f"*/{kind}")}
    if not there and not (path / "run.toml").is_file():
        what = "is no run folder" if path.exists() else "does not exist"
        raise SzilardError(f"{path} {what}; name a folder that szilard fit has written, with run.toml in it")
    keys = list(dict.fromkeys([*asked, *sorted(there)]))
    return Run(path, settings, [_method(path / key, n, notes) for n, key in enumerate(keys)], notes)


def is_number(value: Any) -> bool:
    """Whether a value of a JSON file is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _settings(path: Path, notes: list[str]) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        notes.append("run.toml is missing, so what was asked for is not known.")
    except (OSError, ValueError):
        notes.append("run.toml cannot be read, so what was asked for is not known.")
    return {}


def _is_name(key: Any) -> bool:
    """A method is a folder in the run folder: never a path that leads out of it."""
    return isinstance(key, str) and key not in ("", ".", "..") and not set(key) & set("/\\\0")


def _method(path: Path, number: int, notes: list[str]) -> MethodRun:
    run = MethodRun(path.name, number, _result(path, notes), _history(path, notes))
    if isinstance(diverged := run.result.get("diverged"), str):
        notes.append(f"{diverged[:500]}.")
    if run.finished:
        run.arrays = _arrays(path, notes)
    return run


def _result(path: Path, notes: list[str]) -> dict[str, Any]:
    try:
        found = json.loads((path / "result.json").read_text(encoding="utf-8"))
        if isinstance(found, dict) and isinstance(found.get("test"), dict):
            return found
        notes.append(f"{path.name}/result.json holds no result; the method counts as unfinished.")
    except FileNotFoundError:
        state = "has not finished" if path.is_dir() else "has not started"
        notes.append(f"{path.name} {state}; szilard fit with --resume goes on with it.")
    except (OSError, ValueError):
        notes.append(f"{path.name}/result.json cannot be read; the method counts as unfinished.")
    return {}


def _history(path: Path, notes: list[str]) -> list[dict[str, Any]]:
    try:
        text = (path / "metrics.jsonl").read_text(encoding="utf-8", errors="replace")
    except OSError:
        if path.is_dir():
            notes.append(f"{path.name}/metrics.jsonl is missing, so its training curves are left out.")
        return []
    found, damaged = [], 0
    for line in filter(str.strip, text.split("\n")):
        try:
            entry = json.loads(line)
        except ValueError:
            damaged += 1
            continue
        if isinstance(entry, dict) and is_number(entry.get("epoch")):
            found.append(entry)
    if damaged:
        lines = "a line" if damaged == 1 else f"{damaged} lines"
        notes.append(f"{path.name}/metrics.jsonl has {lines} cut short or damaged, left out of the curves.")
    return found


def _arrays(path: Path, notes: list[str]) -> dict[str, np.ndarray]:
    import numpy as np

    broken = (OSError, ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error)
    found: dict[str, np.ndarray] = {}
    damaged: list[str] = []
    try:
        with np.load(path / "arrays.npz", allow_pickle=False) as archive:
            for name in archive.files:
                try:
                    found[name] = archive[name]
                except broken:
                    damaged.append(name)
    except FileNotFoundError:
        notes.append(f"{path.name}/arrays.npz is missing, so the pictures of its predictions are left out.")
    except (*broken, AttributeError, TypeError):  # a bare .npy is an array, which is no context manager
        notes.append(
            f"{path.name}/arrays.npz cannot be read, so the pictures of its predictions are left out."
        )
    if damaged:
        notes.append(f"{path.name}/arrays.npz is damaged; left out: {', '.join(damaged[:5])}.")
    return found


def _table(content: dict[str, Any], key: str) -> dict[str, Any]:
    value = content.get(key)
    return value if isinstance(value, dict) else {}
