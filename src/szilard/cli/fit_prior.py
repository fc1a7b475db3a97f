"""The prior of ``szilard fit --prior``: of the run that was typed, or the one that a repeated run has kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from szilard.cli.fit_settings import FitOptions
from szilard.errors import SzilardError, printable
from szilard.run.folder import RunFolder
from szilard.run.settings import PriorSettings, Settings

if TYPE_CHECKING:
    from szilard.model.prior import Source


def read(
    settings: Settings, options: FitOptions, run_toml: Path | None, resumed: Path | None, *, trusted: bool
) -> tuple[Settings, Source | None]:
    """The settings with the path and hash of the prior and with its network, and the prior; None if there is none.

    Args:
        settings: those of a ``run.toml`` with the options over them.
        options: as typed.
        run_toml, resumed: as for :func:`szilard.cli.fit_settings.read`.
        trusted: run the Python file that the source names, whoever wrote that name.

    Raises:
        SzilardError: the prior cannot be read, or is of another network.
    """
    from szilard.model import prior as priors

    typed = options.prior
    name = None if typed is None else str(Path(typed).expanduser().resolve())
    base = _base(run_toml, resumed)
    if base is not None and settings.prior.run is not None and name in (None, settings.prior.run):
        return settings, priors.load(RunFolder(base.parent).prior, settings.prior.hash)
    if typed is None or name is None:
        if settings.prior.run is not None:
            raise SzilardError(
                "a run.toml with a prior needs prior.pt beside it; name the run.toml in its run folder"
            )
        return settings, None
    found = priors.read(typed, trusted=trusted)
    spec = found.about.network_spec
    if options.network.get("spec") is None and spec is not None:
        settings = replace(settings, network=replace(settings.network, spec=spec))
    elif spec is None:
        raise SzilardError(
            f"the prior {printable(str(typed))} does not state how its network is built; name one that szilard fit "
            "has trained"
        )
    return replace(settings, prior=PriorSettings(name, found.hash)), found


def _base(run_toml: Path | None, resumed: Path | None) -> Path | None:
    """The file that the settings come from."""
    if run_toml is None and resumed is not None and RunFolder(resumed).settings.is_file():
        return RunFolder(resumed).settings
    return run_toml
