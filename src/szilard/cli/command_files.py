"""Commands by the names of the files in ``cli/commands/``. A new command is a new file there.

A file ``commands/NAME.py`` holds ``GROUP`` (one of :data:`GROUPS`), ``EXAMPLES`` (lines for the help page) and the
function ``NAME``, whose parameters are the options and whose docstring is the help text. ``szilard --help`` takes group
and text from the source of the file, without importing it. The file is imported when its command is typed. It imports
slow modules, such as torch, inside its functions, so that ``szilard NAME --help`` is quick, too.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand
from typer.main import get_command

from szilard.cli.command import Command

GROUPS = ("Train", "Compress", "Run", "Look")  #: panels of ``szilard --help``, in this order
_FOLDER = Path(__file__).parent / "commands"


class CommandFile(TyperCommand):
    """A command whose module has not been imported.

    Args:
        path: its file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(name=path.stem.replace("_", "-"), callback=None)
        self.path = path

    def read_header(self) -> None:
        """Read group and first paragraph of the help text from the source.

        Raises:
            ValueError: the file has none.
        """
        for node in ast.parse(self.path.read_bytes()).body:
            if isinstance(node, ast.FunctionDef) and node.name == self.path.stem:
                self.help = (ast.get_docstring(node) or "").split("\n\n")[0]
            elif isinstance(node, ast.Assign) and [ast.unparse(one) for one in node.targets] == ["GROUP"]:
                self.rich_help_panel = ast.literal_eval(node.value)
        if self.rich_help_panel not in GROUPS or not self.help:
            raise ValueError(
                f"{self.path} needs GROUP, one of {', '.join(GROUPS)}, and a function {self.path.stem} with a docstring"
            )

    def load(self) -> Any:
        """The command with its options; this imports its module."""
        return _load(self.path.stem, self.name)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the command with its options."""
        return self.load().make_context(info_name, args, parent, **extra)


@cache
def _load(stem: str, name: str | None) -> Any:
    module = importlib.import_module(f"szilard.cli.commands.{stem}")
    single = typer.Typer(add_completion=False, rich_markup_mode="rich")
    epilog = "\n\n".join(["[bold]Examples[/bold]", *module.EXAMPLES])
    single.command(name, cls=Command, epilog=epilog, rich_help_panel=module.GROUP)(getattr(module, stem))
    return get_command(single)


def find() -> dict[str, Any]:
    """Every command by its name."""
    found = [CommandFile(path) for path in sorted(_FOLDER.glob("[!_]*.py"))]
    return {str(command.name): command for command in found}


def by_group(commands: Mapping[str, Any]) -> list[str]:
    """Names of commands, sorted by group and then by name; headers are read on the way."""
    for command in commands.values():
        command.read_header()
    return sorted(commands, key=lambda name: (GROUPS.index(commands[name].rich_help_panel), name))
