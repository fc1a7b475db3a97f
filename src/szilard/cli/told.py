"""Mistakes that a person can mend are told in one sentence."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup

from szilard import interrupts
from szilard.cli import output, usage
from szilard.cli.words import cli
from szilard.errors import OwnCodeError, SzilardError, SzilardWarning, printable


class Told(TyperGroup):
    """Commands that end in ``error: one sentence`` on standard error and exit code 2, never in a traceback.

    Only an error of szilard itself, which no user can mend, keeps its traceback.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except usage.UsageError as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                raise
            raise _exit(str(usage.refusal(error, ctx))) from None

    def invoke(self, ctx: Any) -> Any:
        try:
            with interrupts.command():
                value = super().invoke(ctx)
                sys.stdout.flush()
                return value
        except OwnCodeError as error:  # in words of that code
            raise _exit(str(error)) from None
        except SzilardError as error:
            raise _exit(cli(str(error))) from None
        except usage.UsageError as error:  # an unknown command
            raise _exit(str(usage.refusal(error, ctx))) from None
        except KeyboardInterrupt as stop:
            number = stop.number if isinstance(stop, interrupts.Interrupted) else signal.SIGINT
            what = stop.args[0] if stop.args else "no file was written"
            raise _exit(f"{interrupts.called(number)}; {what}", 128 + number) from None
        except BrokenPipeError:  # whoever read our output has gone
            _drop_output()
            raise typer.Exit(1) from None
        except OSError as error:
            _drop_output()
            where = f"{error.filename}: " if error.filename else ""
            raise _exit(f"{where}{error.strerror or error}; check the path and the disk") from None
        except (MemoryError, RuntimeError) as error:
            if (
                isinstance(error, MemoryError)
                or "out of memory" in str(error)
                or "allocate memory" in str(error)
            ):
                raise _exit(
                    "there is not enough memory; try a smaller --batch-size or a smaller network"
                ) from None
            raise


def _drop_output() -> None:
    """What could not be written to standard output is not tried again when Python ends."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


_plain = warnings.formatwarning
_warned: set[str] = set()  # that standard error has shown


def format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """For :data:`warnings.formatwarning`: ours without the place in the source, the others as they are."""
    if issubclass(category, SzilardWarning):
        _warned.add(cli(str(message)))
        said = f"warning: {cli(str(message))}"
        return "\n".join(output.wrapped(said, output.columns(sys.stderr))) + "\n"
    return _plain(message, category, filename, lineno, line)


def warned(sentence: str) -> bool:
    """Whether a warning has said this, in words of the command line."""
    return sentence in _warned


def once() -> Callable[[str], None]:
    """A way to tell a line on standard error, each line once."""
    told: set[str] = set()

    def tell(line: str) -> None:
        if line not in told and not int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0):
            output.tell(line)
        told.add(line)

    return tell


def _exit(sentence: str, code: int = 2) -> typer.Exit:
    if not int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0):  # several processes, one voice
        with contextlib.suppress(OSError):  # the terminal may have gone
            output.tell(f"error: {printable(sentence)}")
    return typer.Exit(code)
