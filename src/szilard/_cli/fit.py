"""``szilard fit``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from szilard import methods, report
from szilard._cli import table
from szilard.errors import SzilardError, printable
from szilard.training import settings as toml
from szilard.training.run import run
from szilard.training.settings import Settings

MAIN = "ssvi"
BASELINES = ("deterministic", "mean-field")


@dataclass(frozen=True)
class Given:
    """What was typed; None, or empty, where nothing was."""

    data: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)
    fit: dict[str, Any] = field(default_factory=dict)
    methods: list[str] = field(default_factory=list)
    density: float | None = None
    temperature: float | None = None
    options: list[str] = field(default_factory=list)
    baselines: bool | None = None


def fit(
    run_toml: Path | None,
    given: Given,
    out: Path | None,
    *,
    resume: bool,
    overwrite: bool,
    download: bool,
    tensorboard: bool,
    accelerator: str,
    devices: str,
    strategy: str,
    quiet: bool,
) -> None:
    """Train, write the report, print the table."""
    if resume and out is None and run_toml is not None and run_toml.name == "run.toml":
        out = run_toml.parent
    if resume and out is None:
        raise SzilardError("--resume goes on with the run in a folder; name it with --out")
    started = out / "run.toml" if resume and out is not None else None
    if run_toml is None and started is not None and started.is_file():
        run_toml = started
    settings = merge(Settings() if run_toml is None else toml.read(run_toml), given)
    out = out or Path("runs") / Path(settings.data.name).stem
    fabric = run(
        settings,
        out,
        resume=resume,
        overwrite=overwrite,
        accelerator=accelerator,
        devices=devices,
        strategy=strategy,
        download=download,
        tensorboard=tensorboard,
        progress=not quiet,
    )
    if fabric.global_rank:
        return
    written = report.write(out)
    if not quiet:
        table.show([out])
    print(printable(str(written)))


def merge(base: Settings, given: Given) -> Settings:
    """The settings of a file with what was typed put over them."""

    def over(section: Any, typed: dict[str, Any]) -> Any:
        return replace(section, **{key: value for key, value in typed.items() if value is not None})

    return Settings(
        data=over(base.data, given.data),
        network=over(base.network, given.network),
        fit=over(base.fit, given.fit),
        methods=_methods(base.methods, given),
    )


def _methods(base: dict[str, dict[str, Any]], given: Given) -> dict[str, dict[str, Any]]:
    """Options by method. Density and other options go to the methods asked for, T also to the dense baseline."""
    if given.methods or not base:
        asked = list(dict.fromkeys(given.methods or [MAIN]))
        beside = [name for name in BASELINES if name not in asked and given.baselines is not False]
        chosen = {name: dict(base.get(name, {})) for name in [*asked, *beside]}
    else:
        asked = list(base)[:1]
        chosen = {name: dict(options) for name, options in base.items()}
        if given.baselines is False:
            chosen = {name: chosen[name] for name in asked}
        elif given.baselines:
            chosen |= {name: {} for name in BASELINES if name not in chosen}
    typed = dict(_option(text) for text in given.options)
    if given.density is not None:
        typed["density"] = given.density
    for key, value in typed.items():
        _put(chosen, asked, key, value)
    if given.temperature is not None:
        _put(
            chosen,
            [*asked, *(name for name in ("mean-field",) if name in chosen)],
            "temperature",
            given.temperature,
        )
    return chosen


def _put(chosen: dict[str, dict[str, Any]], names: list[str], key: str, value: Any) -> None:
    able = [name for name in names if key in methods.options(name)]
    for name in able or names[:1]:  # where none knows the option, the first one says so when it is made
        chosen[name][key] = value


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise SzilardError(f"--option wants KEY=VALUE, for instance every=50, not {text!r}")
    try:
        return key, tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        return key, value
