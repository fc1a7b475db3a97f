"""Mistakes that a person can mend are told in one sentence."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup

from szilard.errors import SzilardError, SzilardWarning


class Told(TyperGroup):
    """Commands that end in ``error: one sentence`` on standard error and exit code 2, never in a traceback.

    Only an error of szilard itself, which no user can mend, keeps its traceback.
    """

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SzilardError as error:
            raise _exit(str(error)) from None
        except KeyboardInterrupt:
            raise _exit(
                "interrupted; what is on the disk is whole, and szilard fit goes on with --resume", 130
            ) from None
        except BrokenPipeError:  # whoever read our output has gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except OSError as error:
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


_plain = warnings.formatwarning


def format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """For :data:`warnings.formatwarning`: ours without the place in the source, the others as they are."""
    if issubclass(category, SzilardWarning):
        return f"warning: {message}\n"
    return _plain(message, category, filename, lineno, line)


def once() -> Callable[[str], None]:
    """A way to tell a line on standard error, each line once."""
    told: set[str] = set()

    def tell(line: str) -> None:
        if line not in told and not int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0):
            print(line, file=sys.stderr)
        told.add(line)

    return tell


def _exit(sentence: str, code: int = 2) -> typer.Exit:
    if not int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0):  # several processes, one voice
        print(f"error: {sentence}", file=sys.stderr)
    return typer.Exit(code)
