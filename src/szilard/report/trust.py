"""The section on posteriors of draws: whether they can be trusted, in words, and the figures behind it."""

from __future__ import annotations

from dataclasses import dataclass

from szilard.run.read import MethodRun, Run
from szilard.run.verdict import AGREE, verdict


@dataclass(frozen=True)
class Trust:
    """What the chains of one method say.

    Attributes:
        figures: pairs of a name and a value.
    """

    name: str
    number: int
    say: str
    figures: list[tuple[str, str]]


def trusted(run: Run) -> list[Trust]:
    """A verdict on each method of a run that keeps draws of chains."""
    return [_of(m) for m in run.finished if m.result.get("chains")]


def _of(m: MethodRun) -> Trust:
    found = m.result["chains"]
    figures = [("chains", str(found["chains"])), ("draws of each", str(found["draws"]))]
    if found["rhat"] is not None:
        figures.append(
            ("largest R̂", f"{found['rhat']:.3f}" + (f" ({found['worst']})" if found["worst"] else ""))
        )
    if found["rhat"] is not None and found["rhat"] <= AGREE:  # of chains that disagree it means nothing
        figures.append(("effective draws, means", f"{found['ess_bulk']:.0f}"))
        figures.append(("effective draws, quantiles", f"{found['ess_tail']:.0f}"))
        if found["gradients"]:
            per_thousand = 1000 * found["ess_bulk"] / found["gradients"]
            figures.append(("effective draws for 1,000 gradients", f"{per_thousand:.3g}"))
        seconds = m.cost("seconds")
        if seconds:
            figures.append(("effective draws for one second", f"{found['ess_bulk'] / seconds:.3g}"))
    if found["diverged"]:
        figures.append(("chains that diverged and went back", str(found["diverged"])))
    return Trust(m.name, m.number, verdict(found), figures)
