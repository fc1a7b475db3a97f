"""``szilard measure``."""

from __future__ import annotations

import json
from typing import Any

from szilard import methods
from szilard.cli import built, figures, output, small_print, source, suited, target
from szilard.cli.case import OfExamples, Request, Tell, opened
from szilard.cli.figures import Row
from szilard.cli.told import once
from szilard.cli.words import cli
from szilard.cost import Cost
from szilard.data import DataSet
from szilard.errors import SzilardError, printable
from szilard.model import saved_network
from szilard.model.evaluate import measure as evaluate
from szilard.run.folder import to_json


def measure(request: Request, *, samples: int, seed: int, as_json: bool, wide: bool) -> None:
    """Print quality and cost of every network behind a path."""
    if samples < 1:
        raise SzilardError(f"--samples must be at least 1, not {samples}")
    path = request.path
    if path.is_file() and not saved_network.is_finished(path):
        say = once()
        tell: Tell = (lambda line: None) if as_json else lambda line: say(cli(printable(str(line))))
        rows, name, elsewhere = _plain(request, samples, seed, tell)
    else:
        rows, data = _finished(request, samples, seed)
        name, elsewhere = data.name, data.ood_name if data.task == "classification" else None
    if as_json:
        output.as_json(json.loads(to_json({"data": name, "ood": elsewhere, "networks": rows})))
    else:
        title = f"{name}, test set" + (f"; OOD: {elsewhere}" if elsewhere else "")
        figures.print_rows(rows, title, wide=wide)
        small_print.print_below(rows, wide=wide)


def _finished(request: Request, samples: int, seed: int) -> tuple[list[Row], DataSet]:
    tell = once()
    path = request.path
    files = [path] if path.is_file() else [folder.network for folder in target.finished(path)]
    rows = []
    data: DataSet | None = None
    for file in files:
        found = saved_network.load(file, request.spec, trusted=request.trusted, tell=tell)
        if request.task not in (None, found.task):
            raise SzilardError(f"--task is {request.task}, and {file} is for {found.task}; leave --task out")
        data = source.for_network(found, request.given, str(file), data)
        beside: dict[str, Any] = {}
        quality, cost = evaluate(
            suited.asked(found), data, method=found.method, samples=samples, seed=seed, beside=beside
        )
        name = methods.label(found.method, found.network)
        rows.append(_row(name, found.method.name, quality, cost, beside, data.task))
    if data is None:
        raise SzilardError(f"{path} holds no finished network; name a run folder or a network")
    return rows, data


def _plain(request: Request, samples: int, seed: int, tell: Tell) -> tuple[list[Row], str, str | None]:
    if request.spec is None and not built.says(request.path):
        raise SzilardError(
            f"{request.path} holds weights and does not say of which network; add --network, for instance "
            "file.py:function"
        )
    case = opened(request, tell)
    if case.other_units:
        tell(case.other_units)
    name = request.path.name
    if isinstance(case, OfExamples):
        quality, cost = case.quality(case.network), case.cost(case.network)
        return [_row(name, "none", quality, cost, {})], case.data.name, None
    beside: dict[str, Any] = {}
    quality, cost = evaluate(case.asked(), case.data, samples=samples, seed=seed, beside=beside)
    elsewhere = case.data.ood_name if case.data.task == "classification" else None
    return [_row(name, "none", quality, cost, beside, case.data.task)], case.data.name, elsewhere


def _row(
    name: str, method: str, quality: dict[str, float], cost: Cost, beside: dict[str, Any], task: str = ""
) -> Row:
    if "intervals" in beside:
        beside = beside | {"intervals": figures.named(beside["intervals"], task)}
    named = figures.named(quality, task)
    return {"name": name, "method": method, "quality": named, "cost": cost.to_dict()} | beside
