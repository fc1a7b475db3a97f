"""A run folder as the report sees it: whatever is there, and a note for what is not."""

from __future__ import annotations

import json
import tomllib
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from szilard.errors import SzilardError

if TYPE_CHECKING:
    import numpy as np


@dataclass
class MethodRun:
    """One method of a run; ``result`` is empty until it has finished."""

    key: str
    result: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What to call it."""
        return str(self.result.get("name", self.key))

    @property
    def test(self) -> dict[str, float]:
        return {k: v for k, v in self.result.get("test", {}).items() if isinstance(v, int | float)}

    def cost(self, figure: str) -> float | None:
        """The value of a figure of cost, or None."""
        return self.result.get("cost", {}).get(figure, {}).get("value")

    def array(self, name: str) -> np.ndarray | None:
        return self.arrays.get(name)


@dataclass
class Run:
    """Everything that a run folder holds for its report."""

    path: Path
    settings: dict[str, Any]
    methods: list[MethodRun]
    notes: list[str]

    @property
    def finished(self) -> list[MethodRun]:
        return [m for m in self.methods if m.result]

    def first(self, key: str) -> Any:
        """A fact of the run that every result repeats (data, task, classes), from the first that has it."""
        return next((m.result[key] for m in self.finished if m.result.get(key)), None)


def read(path: Path) -> Run:
    """Read a run folder.

    Raises:
        SzilardError: there is no run in it.
    """
    notes: list[str] = []
    settings: dict[str, Any] = {}
    try:
        settings = tomllib.loads((path / "run.toml").read_text())
    except FileNotFoundError:
        notes.append("run.toml is missing, so what was asked for is not known.")
    except (OSError, ValueError):
        notes.append("run.toml cannot be read.")
    asked = settings.get("methods", [])
    there = sorted(p.parent.name for p in path.glob("*/metrics.jsonl")) if path.is_dir() else []
    if not asked and not there:
        raise SzilardError(f"{path} is no run folder: it has no run.toml; szilard fit --out {path} makes one")
    keys = [str(key) for key in asked] + [key for key in there if key not in asked]
    methods = [_method(path / key, notes) for key in keys]
    return Run(path, settings, methods, notes)


def _method(path: Path, notes: list[str]) -> MethodRun:
    run = MethodRun(path.name)
    try:
        run.result = json.loads((path / "result.json").read_text())
    except FileNotFoundError:
        notes.append(f"{path.name} has not finished.")
    except (OSError, ValueError):
        notes.append(f"{path.name}/result.json cannot be read.")
    if (path / "metrics.jsonl").is_file():
        for line in (path / "metrics.jsonl").read_text(errors="replace").splitlines():
            try:
                run.history.append(json.loads(line))
            except ValueError:
                notes.append(f"{path.name}/metrics.jsonl is cut short after {len(run.history)} lines.")
                break
    if run.result:
        run.arrays = _arrays(path / "arrays.npz", notes)
    return run


def _arrays(path: Path, notes: list[str]) -> dict[str, np.ndarray]:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        notes.append(f"{path.parent.name}/{path.name} is missing or damaged; its pictures are left out.")
        return {}
