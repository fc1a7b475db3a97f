"""What was typed of a network and of the data that judge it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from szilard.cli.channels import Normalisation
from szilard.likelihood.targets import of_task

Tell = Callable[[str], object]


@dataclass(frozen=True)
class Request:
    """What was typed.

    Attributes:
        path: of the weights.
        given: of the data.
        spec: of ``--network``; None: what the file says, if it does.
        task: of ``--task``, or None.
    """

    path: Path
    given: dict[str, Any]
    spec: str | None
    key: str | None = None
    trusted: bool = False
    task: str | None = None
    normalisation: Normalisation = field(default_factory=Normalisation)

    @property
    def has_labels(self) -> bool:
        """Whether labels judge the outputs, as far as ``--task`` says."""
        return self.task is None or of_task(self.task).has_labels
