"""One self-contained page for a run."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from itertools import groupby
from pathlib import Path

from szilard import __version__, atomic
from szilard.report import charts, words
from szilard.report.read import Run, read
from szilard.report.table import columns
from szilard.report.uncertain import tiles


@dataclass(frozen=True)
class Chart:
    svg: str
    wide: bool = False


@dataclass(frozen=True)
class Section:
    title: str
    say: str
    charts: list[Chart]

    @property
    def pair(self) -> bool:
        """Whether two narrow charts stand side by side, and may share the whole width."""
        return sum(not chart.wide for chart in self.charts) == 2


def write(run_folder: Path | str) -> Path:
    """Read a run folder and write ``report.html`` into it; what is missing is left out and said.

    Returns:
        the page.

    Raises:
        SzilardError: the folder holds no run, or cannot be written to.
    """
    run = read(Path(run_folder))
    page = run.path / "report.html"
    atomic.write(page, render(run).encode())
    return page


def render(run: Run) -> str:
    """The page as HTML."""
    from jinja2 import Environment, StrictUndefined

    source = resources.files("szilard.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(source)
    found = columns(run)
    pictured = next(((m, t) for m in run.finished if (t := tiles(run, m))), None)
    settings = run.path / "run.toml"
    return template.render(
        title=run.path.name,
        kicker=_kicker(run),
        headline=words.headline(run),
        notes=run.notes,
        columns=found,
        kinds=[(kind, len(list(group))) for kind, group in groupby(c.source for c in found)],
        rows=[
            {"name": m.name, "colour": charts.colour(run, m), "index": index}
            for index, m in enumerate(run.finished)
        ],
        sections=[section for section in _sections(run) if section.charts],
        tiles=pictured[1] if pictured else [],
        tiles_of=pictured[0].name if pictured else "",
        settings=settings.read_text(encoding="utf-8", errors="replace") if settings.is_file() else "",
        version=__version__,
    )


def _kicker(run: Run) -> str:
    first = run.finished[0].result if run.finished else {}
    parts = [
        run.path.name,
        str(run.first("data") or run.settings.get("data", {}).get("name", "")),
        str(run.first("network") or run.settings.get("network", {}).get("spec", "")),
    ]
    for key, word in (
        ("n_train", "training examples"),
        ("epochs", "epochs"),
        ("samples", "draws"),
        ("seed", ""),
    ):
        if key in first:
            parts.append(f"{first[key]:,} {word}".strip() if word else f"seed {first[key]}")
    return " · ".join(part for part in parts if part)


def _sections(run: Run) -> list[Section]:
    gaussian = [(m, picture) for m in run.finished if (picture := charts.posterior(run, m))]
    moved = [(m.name, value) for m, _ in gaussian if (value := charts.moved(m)) is not None]
    say = "; ".join(f"{name}: ln σ ended {value:.2f} from where it began (median)" for name, value in moved)
    return [
        Section(
            "Are the probabilities true, and does the network know what it does not know?",
            "",
            _charts(charts.reliability(run), charts.predicted(run), charts.risk_coverage(run))
            + _charts(charts.elsewhere(run), wide=True),
        ),
        Section(
            "Training",
            "Free energy is what training minimises: expected loss, plus temperature over N times the divergence.",
            _charts(charts.training(run), charts.validation(run), charts.validation_quality(run)),
        ),
        Section(
            "What exists, and what is known of it",
            say + "." if say else "",
            _charts(charts.density(run)) + _charts(*(p for _, p in gaussian), wide=True),
        ),
    ]


def _charts(*pictures: str | None, wide: bool = False) -> list[Chart]:
    return [Chart(picture, wide) for picture in pictures if picture]
