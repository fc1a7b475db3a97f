"""Helpers that run commands in the tests of the command line."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass

from typer.testing import CliRunner

from szilard.cli import app

#: A run of two epochs on 100 digits: under a second.
TINY = (
    "--data",
    "digits",
    "--n-train",
    "100",
    "--network",
    "mlp:8",
    "--epochs",
    "2",
    "--samples",
    "4",
    "--accelerator",
    "cpu",
)


@dataclass(frozen=True)
class Typed:
    code: int
    output: str  # standard output and error together
    stdout: str = ""

    def refused(self, sentence: str, behind: str | None = None) -> None:
        """Check for exit code 2 and exactly one line: ``error:`` and a message that matches ``sentence``.

        Args:
            behind: start of a line that must precede the error.
        """
        lines = [line for line in self.output.splitlines() if line.strip()]
        assert self.code == 2, self.output
        if behind is not None:
            assert lines.pop(0).startswith(behind), self.output
        assert len(lines) == 1, self.output
        assert lines[0].startswith("error: "), self.output
        assert re.search(sentence, lines[0]), f"{sentence!r} is not in {lines[0]!r}"


def szilard(*arguments: object) -> Typed:
    """Run a command in this process; an exception that the command does not handle is raised again."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Typed(result.exit_code, result.output, result.stdout)


def environment() -> dict[str, str]:
    """Environment variables for a subprocess."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
