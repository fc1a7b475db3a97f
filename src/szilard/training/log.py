"""TensorBoard, for those who want it."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

from szilard.errors import SzilardError


class Log:
    """Writes each epoch's numbers as TensorBoard events; without a folder it writes nothing.

    Args:
        folder: of the events file, or None.
        step: from which a resumed run goes on; later events of the run that was killed are hidden.

    Raises:
        SzilardError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path | None, step: int = 0) -> None:
        self._writer: Any = None
        if folder is None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise SzilardError(
                "--tensorboard needs TensorBoard, which is not installed; pip install 'szilard[tensorboard]'"
            ) from error
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, line: dict[str, Any]) -> None:
        """One line of ``metrics.jsonl``."""
        if self._writer is None:
            return
        terms = {f"train/{key}": line[key] for key in ("free_energy", "energy", "cost")}
        for name, value in terms.items():
            self._writer.add_scalar(name, value, line["step"])
        for name, value in line["valid"].items():
            self._writer.add_scalar(f"valid/{name}", value, line["step"])
