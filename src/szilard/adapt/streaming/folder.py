"""The folder of a stream: tables that grow, and the state that says how far they are valid."""

from __future__ import annotations

import io
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from szilard import atomic
from szilard.data.npz import Archive
from szilard.errors import SzilardError

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)


@dataclass(frozen=True)
class StreamFolder:
    """The files of a stream."""

    path: Path

    @property
    def settings(self) -> Path:
        return self.path / "stream.toml"

    @property
    def belief(self) -> Path:
        """The learner's state and everything else that a resumed stream needs."""
        return self.path / "belief.npz"

    @property
    def predictions(self) -> Path:
        return self.path / "predictions.csv"

    @property
    def changes(self) -> Path:
        return self.path / "changes.csv"

    @property
    def weights(self) -> Path:
        return self.path / "weights.csv"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def result(self) -> Path:
        """Written last: if it exists, all rows of the file were read."""
        return self.path / "result.json"

    @property
    def in_use(self) -> bool:
        return self.settings.is_file() or self.belief.is_file()

    def files(self) -> tuple[Path, ...]:
        """All files of a stream, in the order in which they are removed."""
        # The settings first: what is left after an interruption must not be continued.
        return (
            self.settings, self.belief, self.result, self.report, self.predictions, self.changes, self.weights
        )  # fmt: skip

    def command(self, data: Path | str) -> str:
        """The command that continues the stream."""
        return shlex.join(["szilard", "stream", str(data), "--out", str(self.path), "--resume"])

    def clear(self) -> None:
        """Remove the files of a stream, and nothing else."""
        try:
            for path in self.files():
                path.unlink(missing_ok=True)
        except OSError as error:
            raise SzilardError(
                f"the earlier stream in {self.path} cannot be removed ({error.strerror or error}); name another folder"
            ) from error

    def save(self, arrays: dict[str, np.ndarray]) -> None:
        """Replace the state."""
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        atomic.write(self.belief, buffer.getvalue())

    def load(self) -> dict[str, np.ndarray]:
        """The state.

        Raises:
            SzilardError: it cannot be read.
        """
        with Archive(self.belief) as archive:
            return {name: archive.read(name) for name in archive.headers}


class Growing:
    """A text file that grows. What is written becomes valid when the state says so, and the rest is cut off.

    Args:
        path: the file.
        size: bytes that are valid.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size
        self._lines: list[str] = []
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINK | _BINARY, 0o666)
        except OSError as error:
            raise atomic.refusal(path, error) from error
        self._file = os.fdopen(handle, "r+b", buffering=0)
        found = os.fstat(handle).st_size
        if found < size:
            self._file.close()
            raise SzilardError(
                f"{path} has {found:,} bytes and must have at least {size:,}; it was changed, so start again with "
                "--overwrite (in Python: overwrite=True)"
            )
        self._do(lambda: self._file.truncate(size))
        self._file.seek(size)

    def add(self, line: str) -> None:
        """Add a line, which is written by :meth:`flush`."""
        self._lines.append(line)

    def flush(self) -> int:
        """Write and sync; the bytes of the file."""
        content = "".join(f"{line}\n" for line in self._lines).encode()
        self._lines = []
        if content:
            self._do(lambda: self._write(content))
            self.size += len(content)
        return self.size

    def close(self) -> None:
        """Close the file without writing."""
        self._file.close()

    def _write(self, content: bytes) -> None:
        rest = memoryview(content)
        while rest:
            rest = rest[self._file.write(rest) or 0 :]
        os.fsync(self._file.fileno())

    def _do(self, what: object) -> None:
        assert callable(what)
        try:
            what()
        except OSError as error:
            raise atomic.refusal(self.path, error, partly=True) from error
