"""``szilard fit``."""

from __future__ import annotations

import dataclasses
import shlex
import tomllib
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from szilard import atomic, methods, networks, report
from szilard.cli import figures, output, small_print
from szilard.cli.known_methods import MAIN, baselines
from szilard.cli.source import TABLES
from szilard.cli.told import once
from szilard.data import DataSet
from szilard.errors import SzilardError, printable
from szilard.model import trust
from szilard.run import settings as toml
from szilard.run.folder import RunFolder
from szilard.run.settings import DataSettings, Settings
from szilard.training.run import hold, run


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
    trusted: bool,
    quiet: bool,
    as_json: bool,
    wide: bool,
) -> None:
    """Train, write the report, print the table."""
    if resume and out is None and run_toml is not None and run_toml.name == "run.toml":
        out = run_toml.parent
    if resume and out is None:
        raise SzilardError("--resume goes on with the run in a folder; name it with --out")
    with ExitStack() as held:
        if out is not None:  # before anything in it is read
            held.enter_context(hold(out))
        settings = _settings(run_toml, given, out if resume else None, trusted)
        out = out or Path("runs") / Path(settings.data.name).stem
        held.enter_context(hold(out))
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
            progress=not (quiet or as_json),
            described=None if quiet or as_json else lambda data: _describe(data, settings.data),
        )
        if fabric.global_rank == 0:
            _show(out, quiet, as_json, wide)


def _describe(data: DataSet, asked: DataSettings) -> None:
    """One line on what a user's own file was taken for; nothing for a known set."""
    if Path(asked.name).suffix.lower() not in (*TABLES, ".npz"):
        return
    sizes = [len(part) for part in (data.train, data.valid, data.test)]
    parts = f"{sizes[0]:,} train, {sizes[1]:,} valid, {sizes[2]:,} test"
    by = f", divided by {asked.group or asked.time}" if asked.group or asked.time else ""
    what: str = data.task
    if data.classes:
        what += f" with {len(data.classes):,} classes"
        numbers = len(data.classes) > 2 and all(name.lstrip("-").isdecimal() for name in data.classes)
        what += " (--task regression takes them for a quantity)" if numbers and data.feature_names else ""
    inputs = (
        f"{len(data.feature_names):,} feature{'s' * (len(data.feature_names) > 1)}"
        if data.feature_names
        else f"inputs {list(data.input_shape)}"
    )
    once()(printable(f"{data.name}: {sum(sizes):,} examples ({parts}{by}), {inputs}; {what}", 400))


def _show(out: Path, quiet: bool, as_json: bool, wide: bool) -> None:
    try:
        written = report.write(out)
        if as_json:
            rows, title = figures.of_runs([out])
            output.as_json({"run": str(out), "report": str(written), "judged": title, "networks": rows})
            return
        if not quiet:
            small_print.print_below(figures.show([out], wide=wide), wide=wide, elsewhere=figures.ELSEWHERE)
        output.say(printable(str(written)))
    except KeyboardInterrupt as stop:
        folder = RunFolder(out)
        stop.args = (folder.how_to_go_on(folder.command()),)
        raise
    except atomic.NotWritten as error:
        raise error.advised(f"write it with {shlex.join(['szilard', 'report', str(out)])}") from error


def _settings(run_toml: Path | None, given: Given, resumed: Path | None, trusted: bool) -> Settings:
    """What is to be done: what was typed, over a file, which is by default that of the run to go on with."""
    started = None if resumed is None else RunFolder(resumed).settings
    if run_toml is None and started is not None and started.is_file():
        run_toml = started
    base = Settings() if run_toml is None else toml.read(run_toml)
    if run_toml is not None:
        _check_trust(run_toml, base, given, trusted)
    return merge(base, given)


def _check_trust(path: Path, settings: Settings, given: Given, trusted: bool) -> None:
    """Follow paths in a ``run.toml`` only if this user's own run wrote them, or the user says so.

    Raises:
        SzilardError: it names code or data that was neither typed nor signed.
    """
    if trust.knows_settings(settings):
        return
    spec = settings.network.spec if given.network.get("spec") is None else "mlp"
    if networks.is_code(spec):
        if not trusted:
            raise SzilardError(
                f"{path} wants to run {printable(spec)}, and this user's own szilard has not written that; "
                "add --trust if you trust it, or name your own code with --network"
            )
        once()(f"running {printable(spec.rpartition(':')[0])}, named by {path}")
    stored = dataclasses.asdict(settings.data)
    foreign = [name for key, name in trust.data_paths(stored).items() if given.data.get(key) is None]
    if foreign and not trusted:
        raise SzilardError(
            f"{path} names {printable(foreign[0])} as its data, and this user's own szilard has not written that; "
            "add --trust if you trust it, or name the data with --data and their folder with --data-root"
        )


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
    """Options by method. Density and others go to the methods asked for, T also to the baselines that have one."""
    if given.methods or not base:
        asked = list(dict.fromkeys(given.methods or [MAIN]))
        beside = [name for name in baselines() if name not in asked and given.baselines is not False]
        chosen = {name: dict(base.get(name, {})) for name in [*asked, *beside]}
    else:
        asked = list(base)[:1]
        chosen = {name: dict(options) for name, options in base.items()}
        if given.baselines is False:
            chosen = {name: chosen[name] for name in asked}
        elif given.baselines:
            chosen |= {name: {} for name in baselines() if name not in chosen}
    typed = dict(_option(text) for text in given.options)
    if given.density is not None:
        typed["density"] = given.density
    for key, value in typed.items():
        _put(chosen, asked, key, value)
    if given.temperature is not None:
        beside = [name for name in baselines() if name in chosen and methods.uses(name, "temperature")]
        _put(chosen, [*asked, *beside], "temperature", given.temperature)
    return chosen


def _put(chosen: dict[str, dict[str, Any]], names: list[str], key: str, value: Any) -> None:
    able = [name for name in names if methods.uses(name, key)]
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
