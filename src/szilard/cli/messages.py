"""Warnings and notices on standard error."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable

from szilard.cli import output
from szilard.cli.option_names import for_command_line
from szilard.errors import SzilardWarning, printable

_default_format = warnings.formatwarning
_shown: set[str] = set()  # warnings that standard error has shown


def format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """For :data:`warnings.formatwarning`: warnings of szilard without the place in the source, others as usual."""
    if issubclass(category, SzilardWarning):
        sentence = for_command_line(str(message))
        _shown.add(sentence)
        return "\n".join(output.wrapped(f"warning: {sentence}", output.columns(sys.stderr))) + "\n"
    return _default_format(message, category, filename, lineno, line)


def was_warned(sentence: str) -> bool:
    """Whether a warning has shown this sentence, as :func:`szilard.cli.option_names.for_command_line` gives it."""
    return sentence in _shown


def notifier() -> Callable[[str], None]:
    """A function that prints a line on standard error, each different line once, and in the first process only."""
    printed: set[str] = set()

    def notify(line: str) -> None:
        if line not in printed and is_first_process():
            output.tell(line)
        printed.add(line)

    return notify


def library_notifier(*, quiet: bool) -> Callable[[str], None]:
    """:func:`notifier` for sentences of the library, made fit to print and with the names of options.

    Args:
        quiet: print nothing.
    """
    notify = notifier()
    return lambda line: None if quiet else notify(for_command_line(printable(str(line))))


def is_first_process() -> bool:
    """Whether this process is the one that prints, where torchrun has started several."""
    return not int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0)
