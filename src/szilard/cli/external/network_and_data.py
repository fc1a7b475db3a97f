"""An external network with the data to evaluate it on, in the units that it was trained in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from szilard import networks
from szilard.cli import network_data
from szilard.cli.external import (
    adapted_outputs,
    build_record,
    channel_order,
    examples,
    several_inputs,
    weights,
)
from szilard.cli.external.adapted_outputs import AdaptedOutputs
from szilard.cli.external.examples import Examples
from szilard.cli.external.network_and_examples import NetworkAndExamples
from szilard.cli.external.unit_scores import refusal, scored
from szilard.cli.request import Request, Tell
from szilard.data import DataSet
from szilard.errors import SzilardError, first_line
from szilard.model import units
from szilard.model.unit_choice import Candidate, Choice, choose


@dataclass(frozen=True, eq=False)
class NetworkAndDataSet:
    """A network and a data set of szilard.

    Attributes:
        network: as built, with its weights.
        kind: of its outputs (:mod:`szilard.cli.external.adapted_outputs`).
        data: in the network's units.
        meta: further metadata for the file of the compressed network.
        score: on the validation split.
        other_units: a sentence if the outputs follow the targets in units that were not tried; else empty.
        misjudged: the units are so wrong that the score cannot measure a drop.
    """

    network: nn.Module
    kind: str
    data: DataSet
    spec: str | None
    meta: dict[str, Any]
    score: float = 1.0
    other_units: str = ""
    misjudged: bool = False

    def for_method(self) -> nn.Module:
        """The network with the outputs that methods expect."""
        return AdaptedOutputs(self.network, self.kind)


def open_network_and_data(request: Request, tell: Tell) -> NetworkAndDataSet | NetworkAndExamples:
    """The network of a file of weights, and the data of ``--data``.

    Raises:
        SzilardError: the network is unknown, or weights, inputs or labels do not fit it.
    """
    record = build_record.read(request.path, request.spec, trusted=request.trusted)
    spec = request.spec if record is None else record.spec
    if request.data_options.get("name") is None:
        raise SzilardError(f"{request.path} does not say which data it is for; add --data")
    if examples.are_needed(request.data_options, request.task):
        return _with_examples(request, spec, tell)
    order = ""
    if examples.are_ambiguous(request.data_options):
        read = examples.read(request.data_options)
        takes = _takes_as_data_set(request, spec, read)
        if not takes or _takes_other_order(request, spec, read):
            lines: list[str] = []
            found = _with_examples(request, spec, lines.append)
            if not takes or found.data.channels_last:
                for line in lines:
                    tell(line)
                return found
        order = channel_order.describe(read)
    task = request.task
    data = network_data.load({}, {**request.data_options, "task": task}, str(request.path))
    data = request.normalisation.of(data)
    network, meta = _network(request, spec, data.input_shape, data.n_outputs, tell)
    network.eval()
    several_inputs.refuse(network, request.data_options)
    adapted = AdaptedOutputs(network, adapted_outputs.output_kind(network, data))
    networks.check_fits(adapted, data, own=network)
    target = request.data_options.get("target") or "y"
    chosen = units.best_units(adapted, data, given=request.normalisation.typed, target=target)
    kind = adapted_outputs.output_kind(network, chosen.what)  # in these units, outputs may be of another kind
    tell(f"{order}{chosen.text}")
    return NetworkAndDataSet(
        network, kind, chosen.what, spec, meta, chosen.score, chosen.other_units, chosen.misjudged
    )


def _takes_as_data_set(request: Request, spec: str | None, read: Examples) -> bool:
    """Whether the network takes inputs in the form that a data set of szilard would give them."""
    try:
        network, _ = _network(request, spec, *_sizes(read), tell=lambda line: None)
    except SzilardError:
        if read.in_other_order() is None:
            raise
        return False  # it may be built for images with channels last
    return any(refusal(network, x) is None for x in _as_features(read))


def _takes_other_order(request: Request, spec: str | None, read: Examples) -> bool:
    """Whether the network also takes images with channels last, so that the labels decide."""
    other = read.in_other_order()
    if other is None or not other.channels_last or 1 in (read.input_shape[0], other.input_shape[0]):
        return False  # with a single channel, both orders have the same memory layout
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
    """A few inputs as a data set would give them: images for three dimensions, else standardised columns."""
    x = read.train.x.double()
    if x.dim() == 3:
        yield x[:3].unsqueeze(1).float()
    else:
        yield ((x - x.mean(0)) / x.std(0).clamp_min(1e-12))[:3].float()


def _with_examples(request: Request, spec: str | None, tell: Tell) -> NetworkAndExamples:
    read = examples.read(request.data_options)
    other = read.in_other_order()
    found: list[Candidate[NetworkAndExamples]] = []
    errors: list[Exception] = []
    notices: dict[int, list[str]] = {}
    for data in (read,) if other is None else (read, other):
        lines: list[str] = []
        try:
            network, meta = _network(request, spec, *_sizes(data), tell=lines.append)
        except SzilardError as error:
            errors.append(error)
            continue
        network.eval()
        several_inputs.refuse(network, request.data_options)
        for one in scored(network, data, request, spec, meta, errors):
            found.append(one)
            notices[id(one.what)] = lines
    if not found:
        if isinstance(errors[0], SzilardError):
            raise errors[0]
        raise SzilardError(f"{channel_order.refusal(read, other)}: {first_line(errors[0])}") from errors[0]
    first = found[0].what
    if not first.valid.choice.labelled:
        chosen = Choice(first, found[0].score, f"{found[0].where}{found[0].text}")
    else:
        chosen = choose(found, first.by, guessing=first.valid.guessing)
    for line in notices[id(chosen.what)]:
        tell(line)
    tell(chosen.text)
    return replace(
        chosen.what, score=chosen.score, other_units=chosen.other_units, misjudged=chosen.misjudged
    )
