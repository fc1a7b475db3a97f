"""The section on a prior from another run: what folds chose, and the controls beside the run."""

from __future__ import annotations

from dataclasses import dataclass

from szilard.errors import SzilardError
from szilard.run.folder import RunFolder
from szilard.run.read import MethodRun, Run
from szilard.run.result import is_number, text

_MOST = 100  # ways in a table


@dataclass(frozen=True)
class Way:
    """A row: one way to train.

    Attributes:
        held_out: NLL on what the folds held out, nats, as text.
        use: "run", "control" or empty.
        test: NLL of the test set, as text; empty if it was not trained on all labels.
    """

    name: str
    held_out: str
    use: str
    test: str


@dataclass(frozen=True)
class Chosen:
    """The table of one method.

    Attributes:
        say: a sentence about the source and the folds.
    """

    name: str
    number: int
    say: str
    rows: list[Way]


def tables(run: Run) -> list[Chosen]:
    """A table for each method of a run that has a prior from another run."""
    return [_table(run, m) for m in run.finished if m.result.get("prior")]


def _table(run: Run, m: MethodRun) -> Chosen:
    told = m.result["prior"]
    tests = {
        told["chosen"]: _shown(m.test.get("nll")),
        told["without"]: _of_control(run, RunFolder.FAN_IN, m.key),
        told["fine_tuning"]: _of_control(run, RunFolder.FINE_TUNING, "deterministic"),
    }
    use = {told["fine_tuning"]: "control", told["without"]: "control", told["chosen"]: "run"}
    ranked = sorted(told["nll"].items(), key=lambda pair: pair[1])[:_MOST]
    rows = [Way(name, _shown(nll), use.get(name, ""), tests.get(name, "")) for name, nll in ranked]
    return Chosen(
        m.name,
        m.number,
        f"The prior is {told['source']}. {told['folds']} folds of the training labels chose the way to train by the "
        "negative log likelihood of what they held out: with the prior if its lowest is more than one standard error "
        "below no transfer, and then the first, from the source's σ upwards, within one standard error of the lowest. "
        "The chosen ways were then trained on all labels.",
        rows,
    )


def _of_control(run: Run, folder: str, method: str) -> str:
    """NLL on the test set of a control, or nothing."""
    found = RunFolder(run.path / folder).method(method)
    try:
        return _shown(found.read_result().get("test", {}).get("nll")) if found.finished else ""
    except SzilardError:
        run.notes.append(f"{folder}/{text(method)}/result.json is not a result; its figure is left out.")
        return ""


def _shown(value: object) -> str:
    return f"{value:.3f}" if is_number(value) else ""
