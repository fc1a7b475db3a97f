"""The ``szilard`` command: it lists the commands, runs one, and turns errors into a sentence and an exit code."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from szilard import interrupts
from szilard.cli import command_files, messages, output, usage
from szilard.cli.command import without_needless_types
from szilard.cli.option_names import for_command_line
from szilard.errors import OwnCodeError, SzilardError, printable


class CommandGroup(TyperGroup):
    """All commands, found in ``cli/commands/`` and imported when they run.

    An error that the user can fix ends a command with ``error: one sentence`` on standard error and exit code 2,
    without a traceback. Errors of szilard itself, which no user can fix, keep their traceback.
    """

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands.update(command_files.find())

    def get_params(self, ctx: Any) -> list[Any]:
        return without_needless_types(super().get_params(ctx))

    def list_commands(self, ctx: Any) -> list[str]:
        """Names by group of the help page, then by alphabet."""
        return command_files.by_group(self.commands)

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
        except OwnCodeError as error:  # it quotes the user's code, whose names stay as they are
            raise _exit(str(error)) from None
        except SzilardError as error:
            raise _exit(for_command_line(str(error))) from None
        except usage.UsageError as error:  # an unknown command
            raise _exit(str(usage.refusal(error, ctx))) from None
        except KeyboardInterrupt as stop:
            number = stop.number if isinstance(stop, interrupts.Interrupted) else signal.SIGINT
            what = stop.args[0] if stop.args else "no file was written"
            raise _exit(f"{interrupts.called(number)}; {what}", 128 + number) from None
        except BrokenPipeError:  # the reader of our output has ended
            _drop_output()
            raise typer.Exit(1) from None
        except OSError as error:
            _drop_output()
            where = f"{error.filename}: " if error.filename else ""
            raise _exit(f"{where}{error.strerror or error}; check the path and the disk") from None
        except (MemoryError, RuntimeError) as error:
            if _is_out_of_memory(error):
                raise _exit(
                    "there is not enough memory; try a smaller --batch-size or a smaller network"
                ) from None
            raise


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    return "out of memory" in str(error) or "allocate memory" in str(error)


def _drop_output() -> None:
    """Discard what standard output could not take, so that Python does not try again when it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _exit(sentence: str, code: int = 2) -> typer.Exit:
    if messages.is_first_process():
        with contextlib.suppress(OSError):  # the terminal may be closed
            output.tell(f"error: {printable(sentence)}")
    return typer.Exit(code)
