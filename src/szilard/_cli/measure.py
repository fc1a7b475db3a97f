"""``szilard measure``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from szilard import methods, networks
from szilard._cli import small_print, source, table, target, weights
from szilard._cli.told import once
from szilard.cost import Cost
from szilard.data import DataSet
from szilard.errors import SzilardError
from szilard.training import finished as networks_on_disk
from szilard.training import units
from szilard.training.evaluate import measure as evaluate
from szilard.training.folder import to_json


def measure(
    path: Path,
    given: dict[str, Any],
    network: str | None,
    *,
    key: str | None,
    trusted: bool,
    samples: int,
    seed: int,
    as_json: bool,
) -> None:
    """Print quality and cost of every network behind a path."""
    if samples < 1:
        raise SzilardError(f"--samples must be at least 1, not {samples}")
    if path.is_file() and not networks_on_disk.is_finished(path):
        tell = (lambda line: None) if as_json else once()
        rows, data = _plain(path, given, network, key, samples, seed, tell)
    else:
        rows, data = _finished(path, given, network, trusted, samples, seed)
    if as_json:
        print(to_json({"data": data.name, "ood": data.ood_name, "networks": rows}, indent=2))
    else:
        table.print_rows(
            rows, f"{data.name}, test set" + (f"; OOD: {data.ood_name}" if data.ood_name else "")
        )
        for line in small_print.lines(rows):
            print(line)


def _finished(
    path: Path, given: dict[str, Any], network: str | None, trusted: bool, samples: int, seed: int
) -> tuple[list[table.Row], DataSet]:
    tell = once()
    files = [path] if path.is_file() else [folder.network for folder in target.finished(path)]
    rows = []
    data: DataSet | None = None
    for file in files:
        found = networks_on_disk.load(file, network, trusted=trusted, tell=tell)
        data = source.for_network(found, given, str(file), data)
        beside: dict[str, Any] = {}
        quality, cost = evaluate(
            found.network, data, method=found.method, samples=samples, seed=seed, beside=beside
        )
        rows.append(_row(methods.label(found.method), found.method.name, quality, cost) | beside)
    assert data is not None
    return rows, data


def _plain(
    path: Path,
    given: dict[str, Any],
    network: str | None,
    key: str | None,
    samples: int,
    seed: int,
    tell: weights.Tell,
) -> tuple[list[table.Row], DataSet]:
    if network is None:
        raise SzilardError(
            f"{path} holds weights and does not say of which network; add --network, for instance file.py:function"
        )
    data = source.load({}, given, str(path))
    built = networks.build(network, data.input_shape, data.n_outputs)
    weights.load(path, built, key, tell)
    built.eval()
    networks.check_fits(built, data)
    data, said = units.fitted(built, data)
    if said is not None:
        tell(said)
    beside: dict[str, Any] = {}
    quality, cost = evaluate(built.eval(), data, samples=samples, seed=seed, beside=beside)
    return [_row(path.name, "none", quality, cost) | beside], data


def _row(name: str, method: str, quality: dict[str, float], cost: Cost) -> table.Row:
    return {"name": name, "method": method, "quality": quality, "cost": cost.to_dict()}
