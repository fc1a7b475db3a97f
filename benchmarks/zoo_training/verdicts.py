"""The verdict on one stage: right, refused, wrong or crashed."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from szilard.errors import SzilardError
from zoo_training.prepared_checks import Wrong


@dataclass(frozen=True)
class Cell:
    """The result of one stage.

    Attributes:
        verdict: "right", "refused", "wrong" or "crashed"; "not reached" if an earlier stage has failed.
        message: text of the refusal or fault.
        figure: a number that the stage measures.
    """

    subject: str
    method: str
    stage: str
    verdict: str
    message: str = ""
    figure: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def judged(subject: str, method: str, stage: str, work: Callable[[], float | None]) -> Cell:
    """The cell of one stage; ``work`` raises :class:`Wrong` if a check fails."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            figure = work()
    except SzilardError as error:
        if not is_sentence(str(error)):
            return Cell(subject, method, stage, "wrong", f"refused without a sentence: {str(error)!r}")
        return Cell(subject, method, stage, "refused", str(error))
    except Wrong as error:
        return Cell(subject, method, stage, "wrong", str(error), error.figure)
    except Exception as error:
        return Cell(subject, method, stage, "crashed", located(error))
    return Cell(subject, method, stage, "right", figure=figure)


def is_sentence(text: str) -> bool:
    return bool(text.strip()) and "\n" not in text and "Traceback" not in text


def located(error: BaseException) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {str(error)[:160]} ({Path(where.filename).name}:{where.lineno})".replace(
        "\n", " "
    )
