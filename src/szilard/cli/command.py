"""What all commands share: how their words are checked, and who writes on standard output."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from szilard.cli import output, usage


class Command(TyperCommand):
    """A command whose standard output holds what it prints itself.

    What the user's own network, or a library, prints goes to standard error, so that ``--json`` and CSV stay valid.
    """

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
