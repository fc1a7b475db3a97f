"""Errors of usage, such as an unknown option, in one sentence."""

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
_EXPECTED = {
    "integer": "a whole number",
    "float": "a number",
    "number": "a number",
}  # by words of Typer's messages
_COMMAND = re.compile("[Nn]o such command '([^']*)'")
_EXTRA = re.compile(r"unexpected extra arguments?(?:\(s\))? \((.*)\)")
_LETTERS = 60
_ONE_COLUMN = frozenset({"target", "group", "time"})


def refusal(error: Exception, ctx: Any, typed: Sequence[str] = ()) -> SzilardError:
    """The exception to raise instead of Typer's.

    Args:
        ctx: of the command.
        typed: the arguments of the command.
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
    expected = next((words for word, words in _EXPECTED.items() if word in text), None)
    if kind == "BadParameter" and param is not None and expected is not None:
        value = _value_of(param, typed)
        said = "another value" if value is None else repr(_shown(value))
        return f"{_called(param)} must be {expected}, not {said}"
    return _of_message(error, text, ctx)


def _of_message(error: Exception, text: str, ctx: Any) -> str:
    command = _COMMAND.search(text)
    if command is not None:
        close = get_close_matches(command[1], list(getattr(ctx.command, "commands", {})), 1)
        hint = f", perhaps {close[0]}" if close else ""
        return f"there is no command {_shown(command[1])!r}{hint}"
    extra = _EXTRA.search(text)
    if extra is not None:
        return f"{ctx.command_path} takes no further argument, and {_shown(extra[1])!r} is one"
    shown = str(getattr(error, "format_message", lambda: error)()).strip().rstrip(".")
    return printable(shown[:1].lower() + shown[1:], 300)


def refuse_repeated(command: Any, typed: Sequence[str], ctx: Any) -> None:
    """Refuse an option for one column that is typed twice, as options for several columns may be.

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


def refuse_missing_values(command: Any, typed: Sequence[str], ctx: Any) -> None:
    """Refuse an option that is followed by another option instead of its value, as in ``--missing --out r``.

    Raises:
        SzilardError: there is one; the sentence names both.
    """
    takes = {name for param in command.params for name in param.opts if _takes_a_value(param)}
    known = set(_options(command))
    for word, after in pairwise(typed):
        if word == "--":
            return
        if word in takes and after.partition("=")[0] in known:
            raise SzilardError(
                f"{word} needs a value, and the next argument, {after.partition('=')[0]}, is an option; see "
                f"{ctx.command_path} --help"
            )


def _of_value(error: Exception, ctx: Any) -> str:
    name = str(getattr(error, "option_name", ""))
    if any(name in param.opts and _takes_a_value(param) for param in ctx.command.params):
        return f"{_shown(name)} needs a value"
    return f"{_shown(name)} takes no value"


def _takes_a_value(param: Any) -> bool:
    return param.param_type_name == "option" and not param.is_flag and not param.count


def _options(command: Any) -> list[str]:
    named = [name for param in command.params for name in (*param.opts, *param.secondary_opts)]
    return [name for name in named if name.startswith("-")] + ["--help", "-h"]


def _called(param: Any) -> str:
    """The name of an option or argument as it is typed."""
    if param.param_type_name == "argument":
        return str(param.metavar or param.name).strip("[]")
    return str(max(param.opts, key=len))


def _value_of(param: Any, typed: Sequence[str]) -> str | None:
    """The last value that was typed for an option."""
    found = None
    for i, word in enumerate(typed):
        name, equals, value = word.partition("=")
        if name in param.opts:
            found = value if equals else next(iter(typed[i + 1 : i + 2]), None)
    return found


def _shown(text: str) -> str:
    return printable(text, _LETTERS)
