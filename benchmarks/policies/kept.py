"""Results of cells in a folder, a JSON file each, which several processes can fill together and go on filling later."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common.harness import progress
from szilard import atomic, flock
from szilard.errors import SzilardError

Row = dict[str, Any]


class Kept:
    """A folder of results.

    A process that makes a cell holds a lock, which the system releases when the process ends, even if it is killed.

    Args:
        folder: is created.
        settings: of this run; they are kept, too.

    Raises:
        SzilardError: the folder holds results of other settings.
    """

    def __init__(self, folder: Path, settings: Row) -> None:
        self.folder = folder
        atomic.make_folder(folder)
        path = folder / "settings.json"
        if not path.exists():
            atomic.write(path, _bytes(settings))
        elif (known := json.loads(path.read_text())) != json.loads(_bytes(settings)):
            differing = [name for name in settings if known.get(name) != settings[name]]
            raise SzilardError(
                f"{folder} holds results of other settings ({', '.join(differing) or 'of another version'}); name "
                "another folder with --scratch, or remove it"
            )

    def path(self, name: str, suffix: str = ".json") -> Path:
        """Of a file of a cell."""
        return self.folder / f"{name}{suffix}"

    def get(self, name: str) -> Row | None:
        """The result of a cell; None if there is none."""
        path = self.path(name)
        return json.loads(path.read_text()) if path.exists() else None

    def make(self, name: str, work: Callable[[], Row]) -> Row:
        """The result of a cell, which is made if there is none; if another process is making it, that one's."""
        self._take(name, work, wait=True)
        found = self.get(name)
        assert found is not None
        return found

    def fill(self, jobs: Mapping[str, Callable[[], Row]]) -> None:
        """Make the cells that are missing; those that other processes are making are waited for.

        Raises:
            SzilardError: some failed; the others were made.
        """
        failed: dict[str, str] = {}
        for wait in (False, True):
            for name, work in jobs.items():
                if name not in failed and self.get(name) is None:
                    try:
                        self._take(name, work, wait=wait)
                    except SzilardError as error:
                        failed[name] = str(error)
                        progress(f"{name} failed: {error}")
        if failed:
            name, reason = next(iter(failed.items()))
            raise SzilardError(f"{len(failed)} cells failed; {name}: {reason}")

    def _take(self, name: str, work: Callable[[], Row], *, wait: bool) -> None:
        with open(self.path(name, ".lock"), "a") as file:
            if flock.take(file.fileno(), wait=wait) is False or self.get(name) is not None:
                return
            progress(f"{name} starts")
            atomic.write(self.path(name), _bytes(work()))


def _bytes(value: Row) -> bytes:
    return (json.dumps(value) + "\n").encode()
