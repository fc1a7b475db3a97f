"""The layout of a run folder, and the training log that a resumed run continues."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

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
        """One JSON object for each epoch, one on each line."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pt"

    @property
    def network(self) -> Path:
        """The trained network."""
        return self.path / "network.pt"

    @property
    def arrays(self) -> Path:
        """The data of the report's plots."""
        return self.path / "arrays.npz"

    @property
    def one_pass(self) -> Path:
        """What ``szilard measure --one-pass`` found, for the report."""
        return self.path / "one_pass.json"

    @property
    def folds(self) -> Path:
        """Held-out NLL of the folds that choose a prior."""
        return self.path / "folds.jsonl"

    @property
    def result(self) -> Path:
        """Written last: if it exists, the method has finished."""
        return self.path / "result.json"

    @property
    def finished(self) -> bool:
        return self.result.is_file()

    @property
    def started(self) -> bool:
        return any(path.is_file() for path in (self.checkpoint, self.metrics, self.folds)) or self.finished

    def open(self) -> None:
        """Create the folder and remove temporary files that a killed process has left."""
        atomic.make_folder(self.path)
        atomic.remove_leftovers(self.path)

    def clear(self) -> None:
        """Remove this method's files, and the folder if nothing else is in it."""
        # The result first: an incomplete folder must not look finished.
        for path in (
            self.result,
            self.network,
            self.checkpoint,
            self.arrays,
            self.one_pass,
            self.metrics,
            self.folds,
        ):
            path.unlink(missing_ok=True)
        for path in self.path.glob("events.out.tfevents.*"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def append(self, line: dict[str, Any]) -> None:
        """Add a line to the log."""
        atomic.append(self.metrics, to_json(line))

    def history(self) -> list[dict[str, Any]]:
        """The lines of the log, without a last line that was cut short.

        Raises:
            SzilardError: the file is too large to be a log, or an earlier line is not a line of a log.
        """
        if not os.path.lexists(self.metrics):
            return []
        content = bounded.read(self.metrics, MOST_LOG, "remove it and continue with --resume")
        written = content.decode("utf-8", errors="replace").split("\n")
        while written and not written[-1].strip():
            written.pop()
        lines = []
        for number, line in enumerate(written, 1):
            try:
                found = plain_json.loads(line)
            except ValueError:
                found = None
                if number == len(written):  # killed while writing this line
                    break
            if not _is_epoch(found):
                raise SzilardError(
                    f"line {number} of {self.metrics} is not a line of a training log; remove it and continue with "
                    "--resume"
                )
            lines.append(found)
        return lines

    def rewind(self, step: int) -> list[dict[str, Any]]:
        """Drop the lines written after a checkpoint at ``step``, and return the others.

        Raises:
            SzilardError: as :meth:`history`.
        """
        lines = [line for line in self.history() if line["step"] <= step]
        text = "".join(to_json(line) + "\n" for line in lines)
        if text or os.path.lexists(self.metrics):
            atomic.write(self.metrics, text.encode())
        return lines

    def read_result(self) -> dict[str, Any]:
        """The result of a finished method: its valid fields, see :func:`szilard.run.result.check`.

        Raises:
            SzilardError: the file cannot be read, or is not a result.
        """
        advice = "remove it and run szilard fit again with --resume"
        content = bounded.read(self.result, MOST_RESULT, advice)
        try:
            return results.check(plain_json.loads(content))[0]
        except ValueError as error:
            raise SzilardError(f"{self.result} is not a result of a training; {advice}") from error


@dataclass(frozen=True)
class RunFolder:
    """A run folder: ``run.toml``, ``report.html`` and a folder for each method.

    A run with a prior from another run also has ``prior.pt``, and its controls in the run folders of :attr:`controls`.
    """

    FAN_IN: ClassVar[str] = "fan-in"
    FINE_TUNING: ClassVar[str] = "fine-tuning"

    path: Path

    @property
    def settings(self) -> Path:
        return self.path / "run.toml"

    @property
    def prior(self) -> Path:
        """The prior from another run, so that this run does not need that one again."""
        return self.path / "prior.pt"

    @property
    def controls(self) -> list[RunFolder]:
        """The folders of the controls that are there: the methods without the prior, and fine-tuning."""
        found = [RunFolder(self.path / name) for name in (self.FAN_IN, self.FINE_TUNING)]
        return [one for one in found if one.methods()]

    def method(self, name: str) -> MethodFolder:
        """The folder of a method; only names of methods are allowed.

        Raises:
            SzilardError: there is no such method.
        """
        methods.options(name)  # raises for an unknown name, such as a path that leads out of the run folder
        return MethodFolder(self.path / name)

    def methods(self) -> list[str]:
        """Names of the methods that have started here; folders of other names are ignored."""
        return [name for name in methods.names() if self.method(name).started]

    @property
    def in_use(self) -> bool:
        """Whether the folder holds a run."""
        return self.settings.is_file() or bool(self.methods())

    def command(self, *options: str) -> str:
        """The command that continues the run; the other settings come from ``run.toml``."""
        return shlex.join(["szilard", "fit", "--out", str(self.path), "--resume", *options])

    def how_to_continue(self, command: str) -> str:
        """What to do after a run was interrupted while it was writing, in one sentence."""
        if not self.settings.is_file():
            return (
                f"the earlier run in {self.path} is partly removed; start the new one again with --overwrite"
            )
        names = settings.read(self.settings).methods
        done = [name for name in names if self.method(name).finished]
        if len(done) == len(names):
            return (
                f"all networks are trained; szilard report {shlex.quote(str(self.path))} writes the report and "
                "prints the table"
            )
        return f"the files in {self.path} are complete; continue with {command}"

    def clear(self) -> None:
        """Remove the files that a run has written, and nothing else."""
        try:
            # The settings first: if this is interrupted, --resume must not continue from the remaining files.
            for path in (self.settings, self.path / "report.html"):
                path.unlink(missing_ok=True)
            for folder in (self, *self.controls):
                for name in folder.methods():
                    folder.method(name).clear()
                if folder is not self:
                    with contextlib.suppress(OSError):
                        folder.path.rmdir()
            self.prior.unlink(missing_ok=True)
        except OSError as error:
            raise SzilardError(
                f"the earlier run in {self.path} cannot be removed ({error.strerror or error}); name another folder"
            ) from error


def to_json(value: Any, indent: int | None = None) -> str:
    """Standard JSON; NaN and infinite numbers, which it cannot represent, become null."""
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
    """Whether a line of a log holds an epoch, a step and the seconds so far."""
    return isinstance(line, dict) and all(
        results.is_number(line.get(key)) and line[key] >= 0 for key in ("epoch", "step", "seconds")
    )
