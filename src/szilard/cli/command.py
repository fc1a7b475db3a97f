"""What all commands share: how their words are checked, and who writes on standard output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand

from szilard.cli import output, usage


def unwrapped(text: str) -> str:
    """Text whose paragraphs have one line each, because the help page breaks lines itself."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n"))


def without_needless_types(params: Sequence[Any]) -> list[Any]:
    """Arguments and options for the help page, which then shows no type of flags and arguments: ``<bool>``."""
    for param in params:
        if param.param_type_name == "argument" or getattr(param, "is_flag", False):
            param.display_type_rich = lambda ctx: None
    return list(params)


class Command(TyperCommand):
    """A command whose standard output holds what it prints itself.

    What the user's own network, or a library, prints goes to standard error, so that ``--json`` and CSV stay valid.
    """

    def __init__(self, *arguments: Any, help: str | None = None, **attributes: Any) -> None:
        super().__init__(*arguments, help=None if help is None else unwrapped(help), **attributes)

    def get_params(self, ctx: Any) -> list[Any]:
        return without_needless_types(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        typed = list(args)
        usage.refuse_missing_values(self, typed, ctx)
        usage.refuse_repeated(self, typed, ctx)
        try:
            return super().parse_args(ctx, args)
        except usage.UsageError as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                raise
            raise usage.refusal(error, ctx, typed) from error

    def invoke(self, ctx: Any) -> Any:
        with output.reserved_stdout():
            return super().invoke(ctx)
