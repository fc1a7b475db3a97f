"""The self-contained HTML page of a run."""

from __future__ import annotations

from functools import cache
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from szilard import atomic
from szilard.report import classes as by_class
from szilard.report import draw, prior_section, sections, summary, trust
from szilard.report.quality_table import rows
from szilard.run.read import MethodRun, Run, read
from szilard.run.result import is_number
from szilard.version import __version__

if TYPE_CHECKING:
    from jinja2 import Template


def write(run_folder: Path | str) -> Path:
    """Read a run folder and write ``report.html`` into it; the page notes everything that is missing or damaged.

    Returns:
        path of the page.

    Raises:
        SzilardError: the folder holds no run, or cannot be written to.
    """
    import numpy as np

    run = read(Path(run_folder))
    page = run.path / "report.html"
    with np.errstate(all="ignore"):  # do not warn about numbers that overflow; they are shown as they are
        html = render(run)
    atomic.write(page, html.encode())
    return page


def render(run: Run) -> str:
    """The page as HTML."""
    from markupsafe import Markup

    template, style = _template()
    found = rows(run)
    columns = next((row.cells for row in found if row.cells), ())
    spans = any(cell.interval for row in found for cell in row.cells)
    content = {  # drawn first, because plots that cannot be drawn add notes
        "predictions": [*sections.predictions(run), sections.one_pass(run)],
        "training": sections.training(run),
        "supports": sections.supports(run),
        "posteriors": sections.posteriors(run),
        "priors": prior_section.tables(run),
        "trusted": trust.trusted(run),
        "uncertain": sections.uncertain_by_method(run),
    }
    return template.render(
        style=Markup(style),  # a file of this package, not of the user
        name=run.title,
        title=summary.title(run),
        summary=summary.comparison(run),
        facts=summary.facts(run),
        notes=run.notes,
        rows=found,
        columns=columns,
        few=spans,
        few_of=summary.n_test(run),
        classes=by_class.classes(run),
        kinds=[(kind, len(list(group))) for kind, group in groupby(cell.source for cell in columns)],
        methods=[m for m in run.methods if m.finished or m.history],
        numbers={m.key: m.number for m in run.methods},
        states={m.key: _state(run, m) for m in run.methods},
        dashes=lambda number: " ".join(f"{d:g}" for d in draw.dashes(number)),
        n_colours=draw.N_COLOURS,
        settings=run.settings_text,
        version=__version__,
        **content,
    )


@cache
def _template() -> tuple[Template, str]:
    """The template of the page and its style; to compile the template takes longer than to fill it."""
    from jinja2 import Environment, StrictUndefined

    here = resources.files("szilard.report")
    source, style = (here.joinpath(name).read_text(encoding="utf-8") for name in ("page.html.j2", "page.css"))
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source), style


def _state(run: Run, m: MethodRun) -> str:
    """Progress of an unfinished method."""
    if m.finished:
        return ""
    if not m.history:
        return "not started" if not (run.path / m.key).is_dir() else "no epoch finished"
    epochs = run.asked("fit", "epochs")
    return f"unfinished, epoch {m.history[-1]['epoch']:g}" + (f" of {epochs:g}" if is_number(epochs) else "")
