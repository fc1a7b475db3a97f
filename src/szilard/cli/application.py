"""The ``szilard`` command. It imports nothing that takes long: each command does so when it runs."""

from __future__ import annotations

import io
import os
import sys
import warnings
from typing import Annotated

import typer

from szilard import interrupts
from szilard.cli.group import CommandGroup
from szilard.cli.messages import format_warning
from szilard.errors import SzilardError
from szilard.version import __version__

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train sparse PyTorch networks that predict with uncertainty, measure quality and cost of networks, and "
    "compress trained networks into one small file.",
    epilog="Start with [bold]szilard fit --data digits[/bold]: it needs no download and takes about a minute.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from szilard.kernels import dispatch

        try:
            kernels = dispatch.describe()
        except SzilardError as error:
            kernels = f"none; {error}"
        print(f"szilard {__version__} (kernels: {kernels})")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and the kernels in use."
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """The ``szilard`` command."""
    interrupts.install()
    # Threads that wait for each other in a loop make small networks several times slower on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support|Sparse invariant checks")
    warnings.formatwarning = format_warning
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")  # a terminal without some character is no reason to stop
    if os.environ.get("NO_COLOR"):
        os.environ["TERM"] = "dumb"  # turns off colours and other control characters of Rich and Typer
    app()


if __name__ == "__main__":
    main()
