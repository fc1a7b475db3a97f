"""``szilard methods``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from szilard import catalogue
from szilard.catalogue import METHODS, PASSES, Entry
from szilard.cli.options import output as o

GROUP = "Look"
EXAMPLES = ("szilard methods", "szilard methods ssvi", "szilard methods quantise --json")

Name = Annotated[
    str | None, typer.Argument(metavar="NAME", help="Show the options of this method or compression pass.")
]


def methods(name: Name = None, json: o.Json = False, wide: o.Wide = False) -> None:
    """List the training methods and the compression passes, or show one of them with its options.

    szilard fit trains with the methods that --method names; --option sets their options. Passes are for
    szilard.compress(network, passes=[...]) in Python; szilard compress chooses among them itself.
    """
    if name is None:
        _show_all(as_json=json, wide=wide)
    else:
        _show_one(name, as_json=json)


def _show_all(*, as_json: bool, wide: bool) -> None:
    from szilard.cli import output
    from szilard.cli.table import Column, Table, say_wrapped, show

    lists = {"methods": catalogue.entries(METHODS), "passes": catalogue.entries(PASSES)}
    if as_json:
        output.as_json({key: [_record(entry) for entry in entries] for key, entries in lists.items()})
        return
    titles = {
        "methods": "Training methods (szilard fit --method)",
        "passes": "Compression passes (szilard.compress)",
    }
    for key, entries in lists.items():
        columns = [
            Column(["name"], [entry.name for entry in entries], right=False),
            Column(["what it does"], [entry.summary for entry in entries], right=False),
        ]
        show(Table(columns, title=titles[key]), wide=wide)
        output.say("")
    say_wrapped("szilard methods NAME shows the options of one.")


def _show_one(name: str, *, as_json: bool) -> None:
    from szilard import signatures
    from szilard.cli import output
    from szilard.cli.table import say_wrapped

    entry = _find(name)
    options = _options(entry)
    if as_json:
        output.as_json({**_record(entry), "options": [_option(one) for one in options]})
        return
    record = _record(entry)
    say_wrapped(f"{entry.name}: {entry.summary}", bold=True)
    if entry.source:
        say_wrapped(f"Source: {entry.source}")
    say_wrapped(f"In Python: {record['class']}")
    if options:
        output.say("")
    width = output.columns(output.stream())
    for one in options:
        required = one.default is signatures.REQUIRED
        say_wrapped(f"{one.name} (required)" if required else f"{one.name} = {_shown(one.default)}")
        for line in output.wrapped(one.meaning, None if width is None else width - 4):
            output.say(f"    {line}")


def _find(name: str) -> Entry:
    """The method or pass of a name.

    Raises:
        SzilardError: there is none.
    """
    import difflib

    from szilard.errors import SzilardError, printable

    known = {entry.name: entry for package in (PASSES, METHODS) for entry in catalogue.entries(package)}
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name[:40], known, 1)
    hint = f", perhaps {close[0]}" if close else ""
    raise SzilardError(f"there is no method or pass '{printable(name, 40)}'{hint}; szilard methods lists all")


def _record(entry: Entry) -> dict[str, Any]:
    """What is known of a method or a pass without importing it."""
    package = entry.module.rpartition(".")[0].removesuffix(".passes")
    return {
        "name": entry.name,
        "summary": entry.summary,
        "source": entry.source or None,
        "class": f"{package}.{entry.class_name}",
    }


def _options(entry: Entry) -> list[Any]:
    """Options of the class; of a method those that change something in it, and not the number of examples."""
    from szilard import signatures

    if entry in catalogue.entries(METHODS):
        from szilard import methods as package

        return package.describe(entry.name)
    return signatures.options(entry.load())


def _option(one: Any) -> dict[str, Any]:
    from szilard import signatures

    required = one.default is signatures.REQUIRED
    default = one.default
    if required or not isinstance(default, bool | int | float | str | list | tuple | None):
        default = None
    return {
        "name": one.name,
        "default": default,
        "required": required,
        "type": one.type,
        "meaning": one.meaning,
    }


def _shown(default: Any) -> str:
    """A default as ``run.toml`` and ``--option`` write it; without one, what is done is in the meaning."""
    if default is None:
        return "(not set)"
    if isinstance(default, bool):
        return str(default).lower()
    return ", ".join(map(str, default)) if isinstance(default, list | tuple) else str(default)
