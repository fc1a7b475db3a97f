"""Somebody's network together with the data that judge it, in the units that it was trained in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from szilard import networks
from szilard.cli import built, examples, orders, several, source, suited, weights
from szilard.cli.built import Built
from szilard.cli.examined import OfExamples, batched
from szilard.cli.examples import Examples
from szilard.cli.readings import readings, refusal
from szilard.cli.request import Request, Tell
from szilard.data import DataSet
from szilard.errors import SzilardError, first_line
from szilard.model import units
from szilard.model.tried import Chosen, Tried, choose

__all__ = ["OfDataSet", "OfExamples", "Request", "Tell", "batched", "opened"]


@dataclass(frozen=True, eq=False)
class OfDataSet:
    """A network that a data set of ours is for.

    Attributes:
        network: as it is.
        kind: of its answers (:mod:`szilard.cli.suited`).
        data: in the network's units.
        meta: what a compressed file is to say beside.
        score: on valid.
        other_units: a sentence if its outputs follow the targets in units that nobody tried; else empty.
    """

    network: nn.Module
    kind: str
    data: DataSet
    spec: str | None
    meta: dict[str, Any]

    score: float = 1.0
    other_units: str = ""

    def asked(self, network: nn.Module | None = None) -> nn.Module:
        """A network of this kind as methods ask it."""
        return suited.suited(self.network if network is None else network, self.kind)


def opened(request: Request, tell: Tell) -> OfDataSet | OfExamples:
    """The network of a file of weights, and the data that were typed for it.

    Raises:
        SzilardError: nobody says how it is built, weights or data do not fit it, or labels its answers.
    """
    said = built.of(request.path, request.spec, trusted=request.trusted)
    spec = request.spec if said is None else said.spec
    if request.given.get("name") is None:
        raise SzilardError(f"{request.path} does not say which data it is for; add --data")
    if examples.needed(request.given, request.task):
        return _of_examples(request, spec, said, tell)
    turned = ""
    if examples.doubtful(request.given):
        read = examples.read(request.given)
        takes = _takes_as_data_set(request, spec, read)
        if not takes or _takes_turned(request, spec, read):
            lines: list[str] = []
            found = _of_examples(request, spec, said, lines.append)
            if not takes or found.data.channels_last:
                for line in lines:
                    tell(line)
                return found
        turned = orders.said(read)
    task = request.task
    data = source.load({}, {**request.given, "task": task}, str(request.path))
    data = request.normalisation.of(data)
    network, meta = _network(request, spec, data.input_shape, data.n_outputs, tell)
    network.eval()
    several.check(network, request.given)
    kind = suited.kind_of(network, data)
    asked = suited.suited(network, kind)
    networks.check_fits(asked, data, own=network)
    target = request.given.get("target") or "y"
    chosen = units.fitted(asked, data, told=request.normalisation.typed, target=target)
    kind = suited.kind_of(network, chosen.what)  # in these units, answers may look otherwise
    tell(f"{turned}{chosen.says}")
    return OfDataSet(network, kind, chosen.what, spec, meta, chosen.score, chosen.other_units)


def _takes_as_data_set(request: Request, spec: str | None, read: Examples) -> bool:
    """Whether the network takes inputs as a data set of ours would give them."""
    try:
        network, _ = _network(request, spec, *_sizes(read), tell=lambda line: None)
    except SzilardError:
        if read.turned() is None:
            raise
        return False  # it may be built for pictures with channels last
    return any(refusal(network, x) is None for x in _as_features(read))


def _takes_turned(request: Request, spec: str | None, read: Examples) -> bool:
    """Whether the network takes pictures with channels last, too: then labels choose."""
    other = read.turned()
    if other is None or not other.channels_last or 1 in (read.input_shape[0], other.input_shape[0]):
        return False  # a single channel lies in memory alike
    try:
        network, _ = _network(request, spec, *_sizes(other), tell=lambda line: None)
    except SzilardError:
        return False
    return refusal(network, other.train.x[:3].float()) is None


def _network(
    request: Request, spec: str | None, shape: tuple[int, ...], n_outputs: int, tell: Tell
) -> tuple[nn.Module, dict[str, Any]]:
    return weights.network_of(
        request.path, spec, request.key, request.trusted,
        lambda named: networks.build(named, shape, n_outputs), tell,
    )  # fmt: skip


def _sizes(data: Examples) -> tuple[tuple[int, ...], int]:
    return data.input_shape, data.n_outputs


def _as_features(read: Examples) -> Iterator[Tensor]:
    """A few inputs as a data set would give them: pictures for three dimensions, else standardised columns."""
    x = read.train.x.double()
    if x.dim() == 3:
        yield x[:3].unsqueeze(1).float()
    else:
        yield ((x - x.mean(0)) / x.std(0).clamp_min(1e-12))[:3].float()


def _of_examples(request: Request, spec: str | None, said: Built | None, tell: Tell) -> OfExamples:
    read = examples.read(request.given)
    other = read.turned()
    found: list[Tried[OfExamples]] = []
    trouble: list[Exception] = []
    told: dict[int, list[str]] = {}
    for data in (read,) if other is None else (read, other):
        lines: list[str] = []
        try:
            network, meta = _network(request, spec, *_sizes(data), tell=lines.append)
        except SzilardError as error:
            trouble.append(error)
            continue
        network.eval()
        several.check(network, request.given)
        for one in readings(network, data, request, spec, meta, trouble):
            found.append(one)
            told[id(one.what)] = lines
    if not found:
        if isinstance(trouble[0], SzilardError):
            raise trouble[0]
        raise SzilardError(f"{orders.refused(read, other)}: {first_line(trouble[0])}") from trouble[0]
    first = found[0].what
    if not first.valid.choice.labelled:
        chosen = Chosen(first, found[0].score, f"{found[0].where}{found[0].says}")
    else:
        chosen = choose(found, first.by, guessing=first.valid.guessing)
    for line in told[id(chosen.what)]:
        tell(line)
    tell(chosen.says)
    return replace(chosen.what, score=chosen.score, other_units=chosen.other_units)
