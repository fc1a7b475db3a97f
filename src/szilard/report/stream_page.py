"""The self-contained HTML page of a stream: figures beside the controls, and how they changed with time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from szilard.report import draw, stream_plots
from szilard.report.stream_plots import StreamTrace
from szilard.version import __version__

if TYPE_CHECKING:
    from jinja2 import Template


@dataclass(frozen=True)
class StreamView:
    """What the page shows, as text and arrays.

    Attributes:
        title, name, summary: heading, name of the folder, sentences below the heading.
        facts: names and values.
        notes: sentences in a box.
        heads: headings of the table, after the name.
        rows: a name and cells of each predictor, the method first.
        bold: for each row, which cells are the best of their column.
        trace: data of the plots.
        settings: content of ``stream.toml``.
    """

    title: str
    name: str
    summary: str
    facts: list[tuple[str, str]]
    notes: list[str]
    heads: list[str]
    rows: list[tuple[str, list[str]]]
    bold: list[list[bool]]
    trace: StreamTrace
    settings: str


def render(view: StreamView) -> str:
    """The page as HTML."""
    from markupsafe import Markup

    template, style = _template()
    with np.errstate(all="ignore"):
        wide, small = stream_plots.plots(view.trace)
    return template.render(
        view=view,
        style=Markup(style),  # a file of this package, not of the user
        wide=wide,
        small=small,
        dashes=lambda number: " ".join(f"{d:g}" for d in draw.dashes(number)),
        n_colours=draw.N_COLOURS,
        version=__version__,
    )


@cache
def _template() -> tuple[Template, str]:
    from jinja2 import Environment, StrictUndefined

    here = resources.files("szilard.report")
    source, style = (
        here.joinpath(name).read_text(encoding="utf-8") for name in ("stream.html.j2", "page.css")
    )
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source), style
