"""The self-contained HTML page of a compression policy: layers, sensitivity, and every policy that was tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from szilard.report import galen_plots
from szilard.report.draw import Plot
from szilard.report.figure_names import nats as shown_nats
from szilard.report.galen_plots import Curve, Points
from szilard.version import __version__

if TYPE_CHECKING:
    from jinja2 import Template

FLOAT = 32  # bits


@dataclass(frozen=True)
class LayerBar:
    """A layer and what a policy keeps of it.

    Attributes:
        name: of the layer.
        kept, channels: output channels that stay, and all of them.
        weight_bits, input_bits: of weights and inputs; 32 is float32.
        whole: why all channels stay, as half a sentence; empty if the policy could choose.
    """

    name: str
    kept: int
    channels: int
    weight_bits: int = FLOAT
    input_bits: int = FLOAT
    whole: str = ""


@dataclass(frozen=True)
class Alone:
    """KL if one decision alone is changed, nats per example.

    Attributes:
        name: of the pool of channels, or of the layer.
        half: with about half of its channels; None: not measured.
        eight: with 8 bits; None: not measured.
    """

    name: str
    half: float | None = None
    eight: float | None = None


@dataclass(frozen=True)
class GalenView:
    """What the page shows; parts that are empty are left out.

    Attributes:
        title, name, summary: heading, name of the file or folder, sentences below the heading.
        facts: names and values.
        notes: sentences in a box.
        layers: bars of the policy.
        alone: sensitivity by name.
        channels, bits: curves of sensitivity by decision, of channels and of the bits of weights.
        points: policies that were tried.
        target: largest cost, as a share of the original's; None: none.
        final: measured cost, as a share, and KL of the finished network; None: none.
        cost: what the cost is, such as "latency".
        policy: content of the policy file.
        examples: number of inputs that sensitivity was measured on.
    """

    title: str
    name: str
    summary: str = ""
    facts: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    layers: Sequence[LayerBar] = ()
    alone: Sequence[Alone] = ()
    channels: Sequence[Curve] = ()
    bits: Sequence[Curve] = ()
    points: Points = field(default_factory=Points)
    target: float | None = None
    final: tuple[float, float] | None = None
    cost: str = "cost"
    policy: str = ""
    examples: int = 0


@dataclass(frozen=True)
class _Row:
    """A row of the table of layers, in shares of the widest bar."""

    layer: LayerBar
    all: float
    kept: float


@dataclass(frozen=True)
class _Nats:
    """A row of the table of sensitivity: KL with half of the channels, and with few bits."""

    name: str
    cells: Sequence[tuple[str, float]]


def render(view: GalenView) -> str:
    """The page as HTML."""
    from markupsafe import Markup

    template, style = _template()
    widest = max((layer.channels for layer in view.layers), default=1)
    curves = [galen_plots.sensitivity(view.channels, "channels"), galen_plots.sensitivity(view.bits, "bits")]
    tried = [
        galen_plots.frontier(view.points, view.target, view.final, view.cost),
        galen_plots.best_so_far(view.points, view.target),
    ]
    return template.render(
        view=view,
        style=Markup(style),  # files of this package, not of the user
        rows=[_Row(one, one.channels / widest, one.kept / widest) for one in view.layers],
        quantised=any(min(one.weight_bits, one.input_bits) < FLOAT for one in view.layers),
        heads=list(_columns(view)),
        table=_table(view),
        curves=_there(curves),
        tried=_there(tried),
        version=__version__,
    )


def _there(plots: Sequence[Plot | None]) -> list[Plot]:
    return [plot for plot in plots if plot is not None]


def _columns(view: GalenView) -> dict[str, list[float | None]]:
    """Columns of the table of sensitivity that have a number, by heading."""
    columns = {
        "half of the channels": [one.half for one in view.alone],
        "8 bits": [one.eight for one in view.alone],
    }
    return {head: values for head, values in columns.items() if any(value is not None for value in values)}


def _table(view: GalenView) -> list[_Nats]:
    """Rows of the table of sensitivity, with bars as shares of the largest value of a column."""
    columns = []
    for values in _columns(view).values():
        most = max((value for value in values if value is not None and value < math.inf), default=0.0) or 1.0
        columns.append([_cell(value, most) for value in values])
    return [_Nats(one.name, cells) for one, *cells in zip(view.alone, *columns, strict=True)]


def _cell(value: float | None, most: float) -> tuple[str, float]:
    return ("–", 0.0) if value is None else (shown_nats(value), min(max(0.0, value) / most, 1.0))


@cache
def _template() -> tuple[Template, str]:
    from jinja2 import Environment, StrictUndefined

    here = resources.files("szilard.report")
    source, *styles = (
        here.joinpath(name).read_text(encoding="utf-8") for name in ("galen.html.j2", "page.css", "galen.css")
    )
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source), "\n".join(styles)
