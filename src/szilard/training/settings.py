"""What a run is asked for: the content of ``run.toml``."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import tomli_w

from szilard import methods
from szilard.errors import SzilardError

_LARGEST = 1 << 53  # whole numbers


@dataclass(frozen=True)
class DataSettings:
    """Arguments of :func:`szilard.data.load`."""

    name: str = "digits"
    root: str | None = None
    target: str | None = None
    split: int = 0
    n_train: int | None = None
    seed: int = 0
    ood: str | None = None
    task: str | None = None
    drop_constant: bool = False


@dataclass(frozen=True)
class NetworkSettings:
    """How the network is built, see :func:`szilard.networks.build`."""

    spec: str = "mlp"


@dataclass(frozen=True)
class FitSettings:
    """Arguments of :func:`szilard.fit`."""

    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    seed: int = 0
    samples: int = 32
    augment: str | None = None
    precision: str = "32-true"
    checkpoint_steps: int | None = None
    checkpoint_seconds: float = 30.0


@dataclass(frozen=True)
class Settings:
    """One run: one network, one data set, one or more methods.

    Attributes:
        methods: options by name, in the order in which they are trained; the first is the one that matters.
        signature: says that this user's own szilard wrote the paths in it, see :mod:`szilard.training.trust`.
    """

    data: DataSettings = field(default_factory=DataSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    fit: FitSettings = field(default_factory=FitSettings)
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    signature: str | None = field(default=None, compare=False)

    def to_toml(self) -> str:
        """As a file; what is None is left out, for TOML has no word for it."""
        content: dict[str, Any] = {"methods": list(self.methods)}
        for name in ("data", "network", "fit"):
            content[name] = _given(dataclasses.asdict(getattr(self, name)))
        content["method"] = {name: _given(options) for name, options in self.methods.items()}
        if self.signature is not None:
            content["signature"] = self.signature
        return tomli_w.dumps(content)

    def differences(self, other: Settings) -> str | None:
        """The first thing in which two settings differ, as words, or None.

        How often checkpoints are written may differ: it does not change what a run gives.
        """
        mine, theirs = (_flat(tomllib.loads(replace(one, signature=None).to_toml())) for one in (self, other))
        for key in [*mine, *theirs]:
            if not key.startswith("fit.checkpoint_") and mine.get(key) != theirs.get(key):
                return f"{key} is {mine.get(key, 'not set')} there and {theirs.get(key, 'not set')} here"
        return None


def check_positive(**numbers: float | None) -> None:
    """Raise unless every number that is given is above zero."""
    for name, value in numbers.items():
        if value is not None and not value > 0:
            raise SzilardError(f"{name} must be positive, not {value:g}")


def read(path: Path) -> Settings:
    """Read a ``run.toml``.

    Raises:
        SzilardError: no such file, no TOML, an unknown key, or a value of the wrong type.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SzilardError(f"{path} is not TOML: {error}; mend it") from error
    except OSError as error:
        raise SzilardError(
            f"{path} cannot be read ({error.strerror or error}); name a run.toml of a run"
        ) from error
    _refuse_unknown(path, "", content, {"data", "network", "fit", "methods", "method", "signature"})
    options = _table(path, "method", content.get("method", {}))
    names = content.get("methods", list(options))
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SzilardError(f"methods in {path} must be a list of names")
    foreign = next((name for name in [*names, *options] if name not in methods.names()), None)
    if foreign is not None:  # a name is also that of a folder
        raise SzilardError(f"{path} names an unknown method {foreign!r}; known: {', '.join(methods.names())}")
    signature = content.get("signature")
    if signature is not None and not isinstance(signature, str):
        raise SzilardError(f"signature in {path} must be str, not {signature!r}")
    stray = next((name for name in options if name not in names), None)
    if stray is not None:
        raise SzilardError(
            f"{path} has options for method {stray}, which its list methods does not name; add it"
        )
    return Settings(
        data=_section(path, "data", DataSettings, content),
        network=_section(path, "network", NetworkSettings, content),
        fit=_section(path, "fit", FitSettings, content),
        methods={name: _table(path, f"method.{name}", options.get(name, {})) for name in names},
        signature=signature,
    )


def _section(path: Path, name: str, kind: type, content: dict[str, Any]) -> Any:
    table = _table(path, name, content.get(name, {}))
    types = get_type_hints(kind)
    _refuse_unknown(path, f"[{name}] ", table, types)
    for key, value in table.items():
        allowed = _alternatives(types[key])
        if type(value) is int and abs(value) > _LARGEST:
            raise SzilardError(f"[{name}] {key} in {path} is too large a number; choose a smaller one")
        if float in allowed and type(value) is int:
            table[key] = float(value)
        elif type(value) not in allowed:
            words = " or ".join(t.__name__ for t in allowed if t is not type(None))
            raise SzilardError(f"[{name}] {key} in {path} must be {words}, not {value!r}")
    return kind(**table)


def _table(path: Path, name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SzilardError(f"{name} in {path} must be a table: write [{name}]")
    return dict(value)


def _refuse_unknown(path: Path, where: str, table: dict[str, Any], known: Any) -> None:
    for key in table:
        if key not in known:
            close = difflib.get_close_matches(key, list(known), 1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}"
            raise SzilardError(f"{where}{key} in {path} is unknown; {hint}")


def _alternatives(kind: Any) -> tuple[type, ...]:
    return get_args(kind) if get_origin(kind) is UnionType else (kind,)


def _given(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value is not None}


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
