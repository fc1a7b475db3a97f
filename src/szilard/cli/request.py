"""What was typed of a network and of the data to evaluate it on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from szilard.cli.external.normalisation import Normalisation
from szilard.errors import SzilardError
from szilard.likelihood.targets import of_task

Tell = Callable[[str], object]


@dataclass(frozen=True)
class Request:
    """What was typed.

    Attributes:
        path: of the weights.
        data_options: arguments of :func:`szilard.data.load`; None where an option was not typed.
        spec: of ``--network``; None: what the file says, if it does.
        task: of ``--task``, or None.
    """

    path: Path
    data_options: dict[str, Any]
    spec: str | None
    key: str | None = None
    trusted: bool = False
    task: str | None = None
    normalisation: Normalisation = field(default_factory=Normalisation)

    @classmethod
    def typed(
        cls,
        path: Path,
        *,
        data: str | None,
        data_root: Path | None,
        target: str | None,
        split: int | None,
        task: str | None,
        mean: str | None,
        std: str | None,
        network: str | None,
        key: str | None,
        trust: bool,
    ) -> Request:
        """From the options of a command, by their names."""
        root = None if data_root is None else str(data_root)
        data_options = {"name": data, "root": root, "target": target, "split": split}
        return cls(path, data_options, network, key, trust, task, Normalisation(mean, std))

    @property
    def has_labels(self) -> bool:
        """Whether labels judge the outputs, as far as ``--task`` says."""
        return self.task is None or of_task(self.task).has_labels


def check_samples(samples: int) -> None:
    """Raise where ``--samples`` is not positive.

    Raises:
        SzilardError: it is not.
    """
    if samples < 1:
        raise SzilardError(f"--samples must be at least 1, not {samples}")
