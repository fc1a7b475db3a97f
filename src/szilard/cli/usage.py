"""What was typed otherwise than a command takes it, in one sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

import typer

from szilard.errors import SzilardError, printable

#: What Typer raises; its module depends on the version.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]
_WANTED = {"integer": "a whole number", "float": "a number", "number": "a number"}  # by words of messages
_COMMAND = re.compile("[Nn]o such command '([^']*)'")
_EXTRA = re.compile(r"unexpected extra arguments?(?:\(s\))? \((.*)\)")
_LETTERS = 60
_ONE_COLUMN = frozenset({"target", "group", "time"})


def refusal(error: Exception, ctx: Any, typed: Sequence[str] = ()) -> SzilardError:
    """The exception to raise in place of one of Typer's.

    Args:
        ctx: of the command.
        typed: its words.
    """
    return SzilardError(f"{_sentence(error, ctx, typed)}; see {ctx.command_path} --help")


def _sentence(error: Exception, ctx: Any, typed: Sequence[str]) -> str:
    kind = type(error).__name__
    if kind == "NoSuchOption":
        name = str(getattr(error, "option_name", ""))
        close = get_close_matches(name, _options(ctx.command), 1) or sorted(
            getattr(error, "possibilities", None) or []
        )
        hint = f", perhaps {close[0]}" if close else ""
        return f"there is no option {_shown(name)}{hint}"
    param = getattr(error, "param", None)
    if kind == "MissingParameter" and param is not None:
        return f"{ctx.command_path} needs {_called(param)}"
    if kind == "BadOptionUsage":
        return _of_value(error, ctx)
    text = str(getattr(error, "message", error))
    wanted = next((words for word, words in _WANTED.items() if word in text), None)
    if kind == "BadParameter" and param is not None and wanted is not None:
        value = _value_of(param, typed)
        said = "another value" if value is None else repr(_shown(value))
        return f"{_called(param)} must be {wanted}, not {said}"
    return _of_words(error, text, ctx)


def _of_words(error: Exception, text: str, ctx: Any) -> str:
    command = _COMMAND.search(text)
    if command is not None:
        close = get_close_matches(command[1], list(getattr(ctx.command, "commands", {})), 1)
        hint = f", perhaps {close[0]}" if close else ""
        return f"there is no command {_shown(command[1])!r}{hint}"
    extra = _EXTRA.search(text)
    if extra is not None:
        return f"{ctx.command_path} takes no more words, and {_shown(extra[1])!r} is one"
    shown = str(getattr(error, "format_message", lambda: error)()).strip().rstrip(".")
    return printable(shown[:1].lower() + shown[1:], 300)


def refuse_repeated(command: Any, typed: Sequence[str], ctx: Any) -> None:
    """Refuse an option for one column that is typed twice: others of its kind are repeated for more columns.

    Raises:
        SzilardError: there is one.
    """
    single = {
        name: param
        for param in command.params
        for name in param.opts
        if param.name in _ONE_COLUMN and not param.multiple
    }
    seen: set[str] = set()
    for word in typed:
        if word == "--":
            break
        param = single.get(word.partition("=")[0] if word.startswith("--") else word)
        if param is None:
            continue
        if param.name in seen:
            hint = "; name several columns with commas, a,b" if param.name == "target" else ""
            raise SzilardError(
                f"{param.opts[0]} is typed twice and takes one value{hint}; see {ctx.command_path} --help"
            )
        seen.add(param.name)


def refuse_swallowed(command: Any, typed: Sequence[str], ctx: Any) -> None:
    """Raise where an option that takes a value has another option in its place, as in ``--missing --out r``.

    Raises:
        SzilardError: it names both.
    """
    takes = {name for param in command.params for name in param.opts if _takes_a_value(param)}
    known = set(_options(command))
    for word, after in pairwise(typed):
        if word == "--":
            return
        if word in takes and after.partition("=")[0] in known:
            raise SzilardError(
                f"{word} has no value, for {after.partition('=')[0]}, which follows it, is an option; see "
                f"{ctx.command_path} --help"
            )


def _of_value(error: Exception, ctx: Any) -> str:
    name = str(getattr(error, "option_name", ""))
    if any(name in param.opts and _takes_a_value(param) for param in ctx.command.params):
        return f"{_shown(name)} has no value"
    return f"{_shown(name)} takes no value, and must stand alone"


def _takes_a_value(param: Any) -> bool:
    return param.param_type_name == "option" and not param.is_flag and not param.count


def _options(command: Any) -> list[str]:
    named = [name for param in command.params for name in (*param.opts, *param.secondary_opts)]
    return [name for name in named if name.startswith("-")] + ["--help", "-h"]


def _called(param: Any) -> str:
    """As a person types it."""
    if param.param_type_name == "argument":
        return str(param.metavar or param.name).strip("[]")
    return str(max(param.opts, key=len))


def _value_of(param: Any, typed: Sequence[str]) -> str | None:
    """The last word that was typed for an option."""
    found = None
    for i, word in enumerate(typed):
        name, equals, value = word.partition("=")
        if name in param.opts:
            found = value if equals else next(iter(typed[i + 1 : i + 2]), None)
    return found


def _shown(text: str) -> str:
    return printable(text, _LETTERS)
