"""The settings of a run: the content of ``run.toml``."""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import tomli_w

from szilard import bounded, methods
from szilard.errors import SzilardError, shortened
from szilard.run.read import MOST_SETTINGS

_TOO_LARGE = 1 << 63


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
    ignore: list[str] = field(default_factory=list)
    missing: str = "refuse"
    date: list[str] = field(default_factory=list)
    group: str | None = None
    time: str | None = None
    decimal: str | None = None
    categorical: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        _check_size(self)


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
    class_weights: str | None = None
    checkpoint_steps: int | None = None
    checkpoint_seconds: float = 30.0

    def __post_init__(self) -> None:
        _check_size(self)


@dataclass(frozen=True)
class PriorSettings:
    """The prior from another run, which is kept beside ``run.toml`` as ``prior.pt``.

    Attributes:
        run: where it came from; only compared, never opened again.
        hash: SHA-256 of ``prior.pt``, hexadecimal.
    """

    run: str | None = None
    hash: str | None = None


@dataclass(frozen=True)
class Settings:
    """One run: one network, one data set, one or more methods.

    Attributes:
        prior: of another run; empty if there is none.
        methods: options by name, in the order in which the methods are trained; the first is the main one.
        signature: shows that this user's szilard wrote the paths in the file, see :mod:`szilard.model.trust`.
    """

    data: DataSettings = field(default_factory=DataSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    fit: FitSettings = field(default_factory=FitSettings)
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    signature: str | None = field(default=None, compare=False)
    prior: PriorSettings = field(default_factory=PriorSettings)

    def to_toml(self) -> str:
        """The content of the file, without settings that are None, which TOML cannot represent."""
        content: dict[str, Any] = {"methods": list(self.methods)}
        for name in ("data", "network", "fit"):
            content[name] = _given(dataclasses.asdict(getattr(self, name)))
        if self.prior.run is not None:
            content["prior"] = _given(dataclasses.asdict(self.prior))
        content["method"] = {name: _given(options) for name, options in self.methods.items()}
        if self.signature is not None:
            content["signature"] = self.signature
        return tomli_w.dumps(content)

    def differences(self, other: Settings) -> str | None:
        """The first setting that differs, for a message, or None.

        The checkpoint intervals are ignored: they do not change the result of a run.
        """
        mine, theirs = (_flat(tomllib.loads(replace(one, signature=None).to_toml())) for one in (self, other))
        for key in [*mine, *theirs]:
            if not key.startswith("fit.checkpoint_") and mine.get(key) != theirs.get(key):
                return f"{key} is {mine.get(key, 'not set')} there and {theirs.get(key, 'not set')} here"
        return None


def _check_size(section: DataSettings | FitSettings) -> None:
    """Raise for an integer of 64 bits or more, and for a float that is not finite."""
    for key, value in dataclasses.asdict(section).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise SzilardError(f"{key} must be a finite number, not {value}")
        if isinstance(value, int) and abs(value) >= _TOO_LARGE:
            raise SzilardError(f"{key} is too large; give a number below 2^63")


def check_positive(**numbers: float | None) -> None:
    """Raise unless every number that is not None is above zero."""
    for name, value in numbers.items():
        if value is not None and not value > 0:
            raise SzilardError(f"{name} must be positive, not {value:g}")


def read(path: Path) -> Settings:
    """Read a ``run.toml``.

    Raises:
        SzilardError: no such file, invalid TOML, an unknown key, or a value of the wrong type.
    """
    if not os.path.lexists(path):
        raise SzilardError(f"{path} cannot be read (no such file); name the run.toml of a run")
    written = bounded.read(path, MOST_SETTINGS, "name the run.toml of a run")
    try:
        content = tomllib.loads(written.decode("utf-8"))
    except RecursionError as error:
        raise SzilardError(f"{path} is nested too deeply for a run.toml; fix it") from error
    except ValueError as error:  # not TOML, not UTF-8, a number of thousands of digits
        raise SzilardError(f"{path} is not TOML: {error}; fix it") from error
    _refuse_unknown(path, "", content, {"data", "network", "fit", "methods", "method", "signature", "prior"})
    options = _table(path, "method", content.get("method", {}))
    names = content.get("methods", list(options))
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SzilardError(f"methods in {path} must be a list of names")
    foreign = next((name for name in [*names, *options] if name not in methods.names()), None)
    if foreign is not None:  # the name is also a folder name
        raise SzilardError(f"{path} names an unknown method {foreign!r}; known: {', '.join(methods.names())}")
    signature = content.get("signature")
    if signature is not None and not isinstance(signature, str):
        raise SzilardError(f"signature in {path} must be str, not {signature!r}")
    if len(set(names)) < len(names):
        raise SzilardError(f"methods in {path} names a method twice; remove one")
    stray = next((name for name in options if name not in names), None)
    if stray is not None:
        raise SzilardError(f"{path} has options for method {stray}, which is not in its list methods; add it")
    tables = {name: _table(path, f"method.{name}", options.get(name, {})) for name in names}
    for name, table in tables.items():
        _refuse_unknown(path, f"[method.{name}] ", table, methods.options(name))
    return Settings(
        data=_section(path, "data", DataSettings, content),
        network=_section(path, "network", NetworkSettings, content),
        fit=_section(path, "fit", FitSettings, content),
        methods=tables,
        signature=signature,
        prior=_prior(path, content),
    )


def _prior(path: Path, content: dict[str, Any]) -> PriorSettings:
    found: PriorSettings = _section(path, "prior", PriorSettings, content)
    if (found.run is None) != (found.hash is None):
        raise SzilardError(
            f"[prior] in {path} needs both run and hash; restore the file that szilard fit wrote"
        )
    return found


def _section(path: Path, name: str, kind: type, content: dict[str, Any]) -> Any:
    table = _table(path, name, content.get(name, {}))
    types = get_type_hints(kind)
    _refuse_unknown(path, f"[{name}] ", table, types)
    for key, value in table.items():
        allowed = _alternatives(types[key])
        if float in allowed and int not in allowed and type(value) is int and abs(value) < _TOO_LARGE:
            table[key] = float(value)
        elif list[str] in allowed:
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise SzilardError(
                    f"[{name}] {key} in {path} must be a list of strings, not {shortened(repr(value), 80)}"
                )
        elif type(value) not in allowed:
            words = " or ".join(t.__name__ for t in allowed if t is not type(None))
            raise SzilardError(f"[{name}] {key} in {path} must be {words}, not {shortened(repr(value), 80)}")
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
