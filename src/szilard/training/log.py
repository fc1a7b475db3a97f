"""TensorBoard events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from szilard import atomic
from szilard.errors import SzilardError


class Log:
    """Writes each epoch's numbers as TensorBoard events; without a folder it writes nothing.

    Args:
        folder: folder of the events file, or None.
        step: step from which a resumed run continues; later events of the killed run are hidden.

    Raises:
        SzilardError: TensorBoard is not installed, or its file cannot be written.
    """

    def __init__(self, folder: Path | None, step: int = 0) -> None:
        self._writer: Any = None
        self._folder = Path() if folder is None else folder
        if folder is None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise SzilardError(
                "--tensorboard needs TensorBoard, which is not installed; pip install 'szilard[tensorboard]'"
            ) from error
        with self._disk_errors():
            self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is None:
            return
        try:
            with self._disk_errors():
                self._writer.close()
        except SzilardError:
            if error is None:  # else the other error is more important
                raise

    def write(self, line: dict[str, Any]) -> None:
        """One line of ``metrics.jsonl``."""
        if self._writer is None:
            return
        values = {f"train/{key}": line[key] for key in ("free_energy", "energy", "cost")}
        values |= {f"valid/{name}": value for name, value in line["valid"].items()}
        with self._disk_errors():
            for name, value in values.items():
                self._writer.add_scalar(name, value, line["step"])
            self._writer.flush()

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise atomic.refusal(self._folder / "events.out.tfevents", error, partly=True) from error
