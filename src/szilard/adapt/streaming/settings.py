"""The settings of a stream: the content of ``stream.toml``."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import tomli_w

from szilard import bounded
from szilard.adapt.beliefs import BELIEFS
from szilard.adapt.broadening import checked_rate
from szilard.adapt.presets import PRESETS
from szilard.errors import SzilardError, shortened

MOST_BYTES = 1 << 20
WITH_RATE = ("temper", "bf")  #: methods with one rate of their own
_NOT_COMPARED = ("checkpoint_rows",)  # it does not change a result


@dataclass(frozen=True)
class StreamSettings:
    """How a table is read and learned.

    Attributes:
        target: column to predict.
        task: ``"classification"`` or ``"regression"``; None: the column tells.
        method: one of :data:`szilard.adapt.PRESETS`.
        rate: of forgetting, for ``"temper"`` and ``"bf"``.
        belief: ``"full"`` or ``"diagonal"``.
        time: column by which rows must be in order, or None.
        ignore, date, categorical: columns that are left out, are dates, are codes.
        decimal: decimal mark, or None.
        strict: a missing cell is an error.
        controls: compute the controls, too.
        checkpoint_rows: rows between two saved states.
    """

    target: str
    task: str | None = None
    method: str = "bank"
    rate: float | None = None
    belief: str = "full"
    time: str | None = None
    ignore: list[str] = field(default_factory=list)
    date: list[str] = field(default_factory=list)
    categorical: list[str] = field(default_factory=list)
    decimal: str | None = None
    strict: bool = False
    controls: bool = True
    checkpoint_rows: int = 1000

    def __post_init__(self) -> None:
        if self.method not in PRESETS:
            raise SzilardError(f"there is no method {self.method!r} for streams; choose {', '.join(PRESETS)}")
        if self.belief not in BELIEFS:
            raise SzilardError(f"unknown belief {self.belief!r}: choose {' or '.join(BELIEFS)}")
        if self.rate is not None:
            checked_rate(self.rate)
            if self.method not in WITH_RATE:
                raise SzilardError(
                    f"rate is for the methods {' and '.join(WITH_RATE)}, not for {self.method}; leave it out"
                )
        if self.checkpoint_rows < 1:
            raise SzilardError(f"checkpoint_rows must be at least 1, not {self.checkpoint_rows}")

    def to_toml(self) -> str:
        """The content of the file, without settings that are None."""
        return tomli_w.dumps({key: v for key, v in dataclasses.asdict(self).items() if v is not None})

    def differences(self, other: StreamSettings) -> str | None:
        """The first setting that differs and matters, for a message, or None."""
        for key, mine in dataclasses.asdict(self).items():
            theirs = getattr(other, key)
            if key not in _NOT_COMPARED and mine != theirs:
                return f"{key} is {_shown(mine)} there and {_shown(theirs)} here"
        return None


def read(path: Path) -> StreamSettings:
    """Read a ``stream.toml``.

    Raises:
        SzilardError: it is none.
    """
    advice = "start again in another folder"
    content = bounded.read(path, MOST_BYTES, advice)
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise SzilardError(f"{path} is not TOML ({error}); {advice}") from error
    types = get_type_hints(StreamSettings)
    for key, value in table.items():
        if key not in types or not _is(value, types[key]):
            raise SzilardError(f"{key} in {path} is not a setting of a stream, or of a wrong type; {advice}")
    if "target" not in table:
        raise SzilardError(f"{path} names no target; {advice}")
    if isinstance(table.get("rate"), int):
        table["rate"] = float(table["rate"])
    return StreamSettings(**table)


def _is(value: Any, kind: Any) -> bool:
    for one in get_args(kind) if isinstance(kind, UnionType) else (kind,):
        if get_origin(one) is list:
            if isinstance(value, list) and all(isinstance(item, str) for item in value):
                return True
        elif one is float and type(value) in (int, float):
            return math.isfinite(value)
        elif type(value) is one:
            return True
    return False


def _shown(value: Any) -> str:
    return "not set" if value in (None, []) else shortened(str(value), 80)
