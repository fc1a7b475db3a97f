"""The settings of a run: those of a ``run.toml`` with the options of the command line put over them."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from szilard import methods, networks
from szilard.cli.known_methods import MAIN, baselines
from szilard.cli.messages import notifier
from szilard.errors import SzilardError, printable
from szilard.model import trust
from szilard.run import settings as toml
from szilard.run.folder import RunFolder
from szilard.run.settings import Settings


@dataclass(frozen=True)
class FitOptions:
    """Options of ``szilard fit`` by section of ``run.toml``; None, or empty, where nothing was typed."""

    data: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)
    fit: dict[str, Any] = field(default_factory=dict)
    methods: list[str] = field(default_factory=list)
    density: float | None = None
    temperature: float | None = None
    options: list[str] = field(default_factory=list)
    baselines: bool | None = None
    prior: str | None = None


def read(run_toml: Path | None, options: FitOptions, resumed: Path | None, *, trusted: bool) -> Settings:
    """The settings of a run.

    Args:
        run_toml: file whose settings are the base; by default that of the resumed run, if there is one.
        resumed: run folder to continue.
        trusted: whether code and data that only the file names may be used.

    Raises:
        SzilardError: the file cannot be read or trusted, or an option cannot be read.
    """
    started = None if resumed is None else RunFolder(resumed).settings
    if run_toml is None and started is not None and started.is_file():
        run_toml = started
    base = Settings() if run_toml is None else toml.read(run_toml)
    if run_toml is not None:
        _check_trust(run_toml, base, options, trusted)
    return merge(base, options)


def _check_trust(path: Path, settings: Settings, options: FitOptions, trusted: bool) -> None:
    """Follow paths in a ``run.toml`` only if this user's own run wrote them, or the user says so.

    Raises:
        SzilardError: it names code or data that was neither typed nor signed.
    """
    if trust.knows_settings(settings):
        return
    spec = settings.network.spec if options.network.get("spec") is None else "mlp"
    if networks.is_code(spec):
        if not trusted:
            raise SzilardError(
                f"{path} needs to run {printable(spec)}, and your own szilard did not write that name; "
                "add --trust if you trust it, or name your own code with --network"
            )
        notifier()(f"running {printable(spec.rpartition(':')[0])}, named by {path}")
    stored = dataclasses.asdict(settings.data)
    foreign = [name for key, name in trust.data_paths(stored).items() if options.data.get(key) is None]
    if foreign and not trusted:
        raise SzilardError(
            f"{path} names {printable(foreign[0])} as its data, and your own szilard did not write that name; "
            "add --trust if you trust it, or name the data with --data and their folder with --data-root"
        )


def merge(base: Settings, options: FitOptions) -> Settings:
    """The settings of a file with the options put over them."""

    def over(section: Any, typed: dict[str, Any]) -> Any:
        return replace(section, **{key: value for key, value in typed.items() if value is not None})

    return Settings(
        data=over(base.data, options.data),
        network=over(base.network, options.network),
        fit=over(base.fit, options.fit),
        methods=_methods(base.methods, options),
        prior=base.prior,
    )


def _methods(base: dict[str, dict[str, Any]], options: FitOptions) -> dict[str, dict[str, Any]]:
    """Options by method. Density and other options go to the named methods, T also to the baselines that have one."""
    if options.prior is not None and options.baselines is None:  # controls with and without it run instead
        options = replace(options, baselines=False)
    if options.methods or not base:
        named = options.methods or [MAIN]
        twice = next((name for name in named if named.count(name) > 1), None)
        if twice is not None:
            raise SzilardError(
                f"--method {twice} is given twice; name each method once, in a run of its own for other options"
            )
        beside = [name for name in baselines() if name not in named and options.baselines is not False]
        chosen = {name: dict(base.get(name, {})) for name in [*named, *beside]}
    else:
        named = list(base)[:1]
        chosen = {name: dict(own) for name, own in base.items()}
        if options.baselines is False:
            chosen = {name: chosen[name] for name in named}
        elif options.baselines:
            chosen |= {name: {} for name in baselines() if name not in chosen}
    typed = dict(_key_and_value(text) for text in options.options)
    if options.density is not None:
        typed["density"] = options.density
    for key, value in typed.items():
        _put(chosen, named, key, value)
    if options.temperature is not None:
        beside = [name for name in baselines() if name in chosen and methods.uses(name, "temperature")]
        _put(chosen, [*named, *beside], "temperature", options.temperature)
    return chosen


def _put(chosen: dict[str, dict[str, Any]], names: list[str], key: str, value: Any) -> None:
    able = [name for name in names if methods.uses(name, key)]
    for name in able or names[:1]:  # where no method has the option, building the first one raises the error
        chosen[name][key] = methods.as_words(name, key, value)


def _key_and_value(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise SzilardError(f"--option needs KEY=VALUE, for instance every=50, not {text!r}")
    try:
        return key, tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        return key, value
