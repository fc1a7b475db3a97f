"""The folder of a run: what lies where, and the log that a resumed run takes up."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from szilard import atomic, bounded, methods, plain_json
from szilard.errors import SzilardError
from szilard.run import result as results
from szilard.run import settings
from szilard.run.read import MOST_LOG, MOST_RESULT


@dataclass(frozen=True)
class MethodFolder:
    """The files of one method of a run."""

    path: Path

    @property
    def metrics(self) -> Path:
        """One JSON object a line, one line an epoch."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pt"

    @property
    def network(self) -> Path:
        """The finished network."""
        return self.path / "network.pt"

    @property
    def arrays(self) -> Path:
        """What pictures are drawn from."""
        return self.path / "arrays.npz"

    @property
    def result(self) -> Path:
        """Written last: where it is, the method has finished."""
        return self.path / "result.json"

    @property
    def finished(self) -> bool:
        return self.result.is_file()

    @property
    def started(self) -> bool:
        return self.checkpoint.is_file() or self.metrics.is_file() or self.finished

    def open(self) -> None:
        """Make the folder and sweep out what a killed process left."""
        atomic.make_folder(self.path)
        atomic.remove_leftovers(self.path)

    def clear(self) -> None:
        """Remove this method's files, and the folder if nothing else lies in it."""
        # The result first: a folder from which something is missing must not look finished.
        for path in (self.result, self.network, self.checkpoint, self.arrays, self.metrics):
            path.unlink(missing_ok=True)
        for path in self.path.glob("events.out.tfevents.*"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def append(self, line: dict[str, Any]) -> None:
        """Add a line to the log."""
        atomic.append(self.metrics, to_json(line))

    def history(self) -> list[dict[str, Any]]:
        """The lines of the log; a last one that was cut short is left out.

        Raises:
            SzilardError: the file is too large to be a log, or an earlier line is none of a log.
        """
        if not os.path.lexists(self.metrics):
            return []
        content = bounded.read(self.metrics, MOST_LOG, "remove it and go on with --resume")
        written = content.decode("utf-8", errors="replace").split("\n")
        while written and not written[-1].strip():
            written.pop()
        lines = []
        for number, line in enumerate(written, 1):
            try:
                found = plain_json.loads(line)
            except ValueError:
                found = None
                if number == len(written):  # a kill in the middle of writing it
                    break
            if not _is_epoch(found):
                raise SzilardError(
                    f"line {number} of {self.metrics} is no line of a training log; remove that line and go on with "
                    "--resume"
                )
            lines.append(found)
        return lines

    def rewind(self, step: int) -> list[dict[str, Any]]:
        """Drop the lines that a checkpoint at ``step`` does not know of, and return the others.

        Raises:
            SzilardError: as :meth:`history`.
        """
        lines = [line for line in self.history() if line["step"] <= step]
        text = "".join(to_json(line) + "\n" for line in lines)
        if text or os.path.lexists(self.metrics):
            atomic.write(self.metrics, text.encode())
        return lines

    def read_result(self) -> dict[str, Any]:
        """The result of a finished method: the fields of :func:`szilard.run.result.check` that it has.

        Raises:
            SzilardError: it cannot be read, or is no result.
        """
        advice = "remove it and run szilard fit again with --resume"
        content = bounded.read(self.result, MOST_RESULT, advice)
        try:
            return results.check(plain_json.loads(content))[0]
        except ValueError as error:
            raise SzilardError(f"{self.result} is no result of a training; {advice}") from error


@dataclass(frozen=True)
class RunFolder:
    """``run.toml``, ``report.html`` and a folder for each method."""

    path: Path

    @property
    def settings(self) -> Path:
        return self.path / "run.toml"

    def method(self, name: str) -> MethodFolder:
        """The folder of a method; only names of methods are names of folders here.

        Raises:
            SzilardError: there is no such method.
        """
        methods.options(name)  # refuses an unknown name, such as one that would lead out of the run
        return MethodFolder(self.path / name)

    def methods(self) -> list[str]:
        """Names of the methods that have begun here; folders of other names are not ours to look into."""
        return [name for name in methods.names() if self.method(name).started]

    @property
    def in_use(self) -> bool:
        """Whether a run has been here."""
        return self.settings.is_file() or bool(self.methods())

    def command(self, *options: str) -> str:
        """What a person types to go on with the run; the other settings come from ``run.toml``."""
        return shlex.join(["szilard", "fit", "--out", str(self.path), "--resume", *options])

    def how_to_go_on(self, command: str) -> str:
        """For a person whose run has been interrupted after it had begun to write, in one sentence."""
        if not self.settings.is_file():
            return f"the earlier run in {self.path} has been removed in part; start the new one again with --overwrite"
        asked = settings.read(self.settings).methods
        done = [name for name in asked if self.method(name).finished]
        if len(done) == len(asked):
            return (
                f"every network has finished; szilard report {shlex.quote(str(self.path))} writes the page and "
                "prints the table"
            )
        return f"what is in {self.path} is whole; go on with {command}"

    def clear(self) -> None:
        """Remove what a run has written, and nothing else."""
        try:
            # The settings first: what is left when this is interrupted must not be taken up by --resume.
            for path in (self.settings, self.path / "report.html"):
                path.unlink(missing_ok=True)
            for name in self.methods():
                self.method(name).clear()
        except OSError as error:
            raise SzilardError(
                f"the earlier run in {self.path} cannot be removed ({error.strerror or error}); name another folder"
            ) from error


def to_json(value: Any, indent: int | None = None) -> str:
    """Standard JSON: numbers that it has no word for (NaN, infinity) become null."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _is_epoch(line: Any) -> bool:
    """Whether a line of a log says of which epoch and step it is, and how long they took."""
    return isinstance(line, dict) and all(
        results.is_number(line.get(key)) and line[key] >= 0 for key in ("epoch", "step", "seconds")
    )
