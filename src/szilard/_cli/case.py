"""Somebody's network together with the data that judge it, in the units that it was trained in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from szilard import cost, metrics, networks
from szilard._cli import built, examples, source, suited, weights
from szilard._cli.built import Built
from szilard._cli.candidates import Units, candidates, changed
from szilard._cli.channels import Normalisation
from szilard._cli.examples import Examples, Part
from szilard.compress.calibration import MOST_JUDGES, Calibration
from szilard.compress.judge import Judge, judge
from szilard.cost import Cost
from szilard.data import DataSet
from szilard.errors import SzilardError, first_line
from szilard.likelihood import Bernoulli, Categorical, Embedding, Gaussian
from szilard.metrics import Predictive
from szilard.networks.evaluating import evaluating
from szilard.training import units

Tell = Callable[[str], object]


@dataclass(frozen=True)
class Request:
    """What was typed.

    Attributes:
        path: of the weights.
        given: of the data.
        spec: of ``--network``; None: what the file says, if it does.
        task: of ``--task``, or None.
    """

    path: Path
    given: dict[str, Any]
    spec: str | None
    key: str | None = None
    trusted: bool = False
    task: str | None = None
    normalisation: Normalisation = field(default_factory=Normalisation)


@dataclass(frozen=True, eq=False)
class OfDataSet:
    """A network that a data set of ours is for.

    Attributes:
        network: as it is.
        kind: of its answers (:mod:`szilard._cli.suited`).
        data: in the network's units.
        meta: what a compressed file is to say beside.
    """

    network: nn.Module
    kind: str
    data: DataSet
    spec: str | None
    meta: dict[str, Any]

    def asked(self, network: nn.Module | None = None) -> nn.Module:
        """A network of this kind as methods ask it."""
        return suited.suited(self.network if network is None else network, self.kind)


@dataclass(frozen=True, eq=False)
class OfExamples:
    """A network that is judged by examples as they lie in a file.

    Attributes:
        data: in the network's units.
        valid, test: judges.
        built: what a compressed file is to say.
        target: shift and scale of quantities, or None where they are as in the file.
    """

    network: nn.Module
    data: Examples
    valid: Judge
    test: Judge
    built: Built
    meta: dict[str, Any]
    target: tuple[Tensor, Tensor] | None = None

    @property
    def by(self) -> str:
        """What the score is."""
        return self.valid.choice.likelihood.score

    @torch.no_grad()
    def quality(self, network: nn.Module) -> dict[str, float]:
        """Figures of the test part, as :mod:`szilard._cli.figures` names them."""
        judged, told = self.test, self.test.choice.likelihood
        if not judged.choice.labelled:
            return {}
        outputs = [judged.forward(network, x) for x in judged.inputs]
        plain = all(one is None for one in judged.positions)
        if isinstance(told, Categorical) and plain and outputs[0].dim() == 2 and not told.last:
            labels = torch.cat(judged.wanted)
            if labels.dim() == 1 and not labels.is_floating_point():
                logits = torch.cat([told.logits(output) for output in outputs])
                return metrics.evaluate(Predictive.from_logits(logits[None].cpu()), labels.cpu())
        score = judged.scores(network).score
        found = {_NAMES[next(kind for kind in _NAMES if isinstance(told, kind))]: score}
        if plain:
            losses = [told.nll(output, y).double() for output, y in zip(outputs, judged.wanted, strict=True)]
            found["nll"] = float(torch.cat(losses).mean())
        return found

    def cost(self, network: nn.Module) -> Cost:
        """Of one inference of one example."""
        whole = not self.data.train.x.is_floating_point()
        return cost.count(_Whole(network) if whole else network, self.data.input_shape)


_NAMES: dict[type, str] = {
    Categorical: "accuracy",
    Bernoulli: "accuracy_by_label",
    Gaussian: "r2",
    Embedding: "cosine",
    object: "r2",
}


class _Whole(nn.Module):
    """Takes numbers for the whole numbers that an embedding wants."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Any:
        return self.network(x.long())


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
    if examples.doubtful(request.given):
        network, _ = _network(request, spec, *_sizes(examples.read(request.given)), tell=lambda line: None)
        if not any(_takes(network, x) for x in _as_features(request.given)):
            return _of_examples(request, spec, said, tell)
    task = request.task
    data = source.load({}, {**request.given, "task": task}, str(request.path))
    data = request.normalisation.of(data)
    network, meta = _network(request, spec, data.input_shape, data.n_outputs, tell)
    network.eval()
    kind = suited.kind_of(network, data)
    asked = suited.suited(network, kind)
    networks.check_fits(asked, data)
    data, told = units.fitted(asked, data, told=request.normalisation.typed)
    kind = suited.kind_of(network, data)  # in these units, answers may look otherwise
    if told is not None:
        tell(told)
    return OfDataSet(network, kind, data, spec, meta)


def _network(
    request: Request, spec: str | None, shape: tuple[int, ...], n_outputs: int, tell: Tell
) -> tuple[nn.Module, dict[str, Any]]:
    return weights.network_of(
        request.path, spec, request.key, request.trusted,
        lambda named: networks.build(named, shape, n_outputs), tell,
    )  # fmt: skip


def _sizes(data: Examples) -> tuple[tuple[int, ...], int]:
    return data.input_shape, data.n_outputs


def _as_features(given: dict[str, Any]) -> Iterator[Tensor]:
    """A few inputs as a data set would give them: pictures for three dimensions, else standardised columns."""
    x = examples.read(given).train.x.double()
    if x.dim() == 3:
        yield x[:3].unsqueeze(1).float()
    else:
        yield ((x - x.mean(0)) / x.std(0).clamp_min(1e-12))[:3].float()


@torch.no_grad()
def _takes(network: nn.Module, x: Tensor) -> bool:
    """Whether a network answers an input of this shape and type."""
    return _refusal(network, x) is None


@torch.no_grad()
def _refusal(network: nn.Module, x: Tensor) -> Exception | None:
    parameter = next(network.parameters(), None)
    try:
        with evaluating(network):
            network(x if parameter is None else x.to(parameter.device))
    except Exception as error:  # whatever a network does with what it was not made for
        return error
    return None


def _of_examples(request: Request, spec: str | None, said: Built | None, tell: Tell) -> OfExamples:
    data = examples.read(request.given)
    network, meta = _network(request, spec, *_sizes(data), tell=tell)
    network.eval()
    found: list[tuple[float, OfExamples, str]] = []
    refusal: Exception | None = None
    for x_units, y_units, text in candidates(
        data, request.normalisation, labelled=request.task != "embedding"
    ):
        units_of = changed(data, x_units, y_units)
        error = _refusal(network, units_of.train.x[:3])
        if error is not None:
            refusal = refusal or error
            continue
        one = _judged(network, units_of, request, spec, x_units, meta)
        if y_units is not None:
            remembered = replace(one.built, target_shift=y_units[0], target_scale=y_units[1])
            one = replace(one, target=y_units, built=remembered)
        found.append((one.valid(network), one, text))
        if not one.valid.choice.labelled:
            break  # nothing tells which units are better
    if not found:
        raise SzilardError(
            f"the network cannot take inputs of {data.name}, {list(data.input_shape)} each: "
            f"{first_line(refusal) if refusal else 'it takes none'}"
        ) from refusal
    usual = found[0][0]
    score, best, text = max(found, key=lambda each: each[0])
    if not score > usual + units.CLEARLY:
        score, best, text = found[0]
    by = f" ({best.by} on valid is {score:.3f})" if best.valid.choice.labelled else ""
    tell(f"{text}{by}")
    return best


def _judged(
    network: nn.Module,
    data: Examples,
    request: Request,
    spec: str | None,
    x_units: Units | str,
    meta: dict[str, Any],
) -> OfExamples:
    labelled = request.task != "embedding"
    valid, test = (_judge(network, part, request.task, labelled) for part in (data.valid, data.test))
    name = request.task or valid.choice.likelihood.name
    shift, scale = x_units if isinstance(x_units, tuple) else (None, None)
    remembered = Built(
        spec or "",
        data.input_shape,
        data.n_outputs,
        name,
        shift,
        scale,
        data.outputs,
        data.columns,
        judged=labelled,
    )
    return OfExamples(network, data, valid, test, remembered, meta)


def _judge(network: nn.Module, part: Part, task: str | None, labelled: bool) -> Judge:
    """A judge of all examples of a part; a calibration holds :data:`MOST_JUDGES` at most."""
    found = []
    for start in range(0, len(part), MOST_JUDGES):
        some = Part(part.x[start : start + MOST_JUDGES], part.y[start : start + MOST_JUDGES])
        data = Calibration.of(batched(some, labelled), network, examples=0)
        found.append(judge(network, data, task=task))
    first = found[0]
    return replace(
        first,
        inputs=[x for one in found for x in one.inputs],
        wanted=[y for one in found for y in one.wanted],
        positions=[where for one in found for where in one.positions],
    )


def batched(part: Part, labelled: bool, size: int = 256) -> list[Any]:
    """Batches for :func:`szilard.compress`."""
    if not labelled:
        return list(part.x.split(size))
    return list(zip(part.x.split(size), part.y.split(size), strict=True))
