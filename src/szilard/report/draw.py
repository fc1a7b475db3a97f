"""Matplotlib plots as SVG with the colours of the page, for light and dark mode."""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: Placeholders that no real colour uses; the page's style sheet says what they are in light and dark.
INK, SOFT, LINE = "#010200", "#010201", "#010202"
_VARIABLES = {INK: "var(--ink)", SOFT: "var(--soft)", LINE: "var(--line)"}
N_COLOURS = 6
THIRD, QUARTER = 372.0, 276.0  # CSS pixels: widths of plots, three or four in a row
_DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.5, 1.5), (6, 2, 1.5, 2), (3, 1.5), (8, 2))

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "szilard",
    "text.parse_math": False,  # show dollar signs in users' names as they are
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.labelsize": 11,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "xtick.minor.size": 0,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "lines.linewidth": 1.7,
    "lines.dash_capstyle": "butt",
}


@dataclass(frozen=True)
class Plot:
    """A plot with title and caption; ``number`` is that of its method, or None."""

    title: str
    svg: str
    caption: str = ""
    number: int | None = None


def colour(number: int) -> str:
    """The colour of a method in all plots of a page."""
    return f"#0103{number % N_COLOURS:02x}"


def dashes(number: int) -> tuple[float, ...]:
    """The dash pattern of a method's lines, for readers who cannot distinguish the colours."""
    return _DASHES[number % N_COLOURS]


def log_scale(axes: Any) -> None:
    """A logarithmic y axis with plain numbers as tick labels."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    few = high < 30 * low  # decades alone would be one tick or none
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,), numticks=6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def line(axes: Any, number: int, x: Any, y: Any) -> None:
    """A method's curve; a single point is drawn as a dot."""
    axes.plot(
        x, y, color=colour(number), dashes=dashes(number) or (None, None), marker="o" if len(x) == 1 else ""
    )


def svg(
    name: str,
    label: str,
    paint: Callable[..., None],
    *,
    width: float = THIRD,
    height: float = 236,
    left: float = 44,
    rows: tuple[float, ...] = (1.0,),
) -> str:
    """Draw a plot and return it as inline SVG.

    Args:
        name: prefix of its ids, which must be unique on the page.
        label: text for screen readers.
        paint: called with one axes for each of ``rows``, which are relative heights, top to bottom.
        width, height, left: width and height of the plot, and its left margin, in CSS pixels.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # letters missing in a font, numbers too large: the user cannot fix them
        figure = Figure(figsize=(width / 72, height / 72))  # a point in matplotlib's SVG is a CSS pixel
        FigureCanvasSVG(figure)
        grid = figure.add_gridspec(
            len(rows), 1, height_ratios=rows, left=left / width, right=1 - 12 / width,
            bottom=40 / height, top=1 - 8 / height, hspace=0.14,
        )  # fmt: skip
        paint(*(figure.add_subplot(grid[place, 0]) for place in range(len(rows))))
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inline(buffer.getvalue(), name, label, width)


def _inline(text: str, name: str, label: str, width: float) -> str:
    """An SVG file converted for inclusion in a page: without global ids, styles and metadata."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r"<style.*?</style>", "", text, flags=re.S)
    for placeholder, variable in _VARIABLES.items():
        text = text.replace(placeholder, variable)
    text = re.sub(r"#0103(0[0-9])", lambda found: f"var(--m{int(found[1])})", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r'\bstyle="[^"]*"', lambda style: _without_family(style[0]), text)
    text = re.sub(r'\bd="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), text)
    opening = text[: text.index(">")]
    box = re.search(r'viewBox="[^"]*"', opening)
    start = f'<svg {box[0] if box else ""} style="max-width: {1.15 * width:.0f}px"'
    start += f' role="img" aria-label="{html.escape(label)}" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return start + text[len(opening) :]


def _without_family(style: str) -> str:
    """Remove the font family, which the page sets; keep the size."""
    style = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", style)
    return re.sub(r"font-family: [^;\"]*;? ?", "", style)
