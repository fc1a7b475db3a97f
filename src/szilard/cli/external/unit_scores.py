"""The score of a network in each of the units that it may have been trained in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from szilard.cli.external import channel_order
from szilard.cli.external.build_record import BuildRecord
from szilard.cli.external.candidate_units import Units, candidates, converted, in_type
from szilard.cli.external.examples import Examples, Part
from szilard.cli.external.network_and_examples import NetworkAndExamples, batched
from szilard.cli.request import Request
from szilard.compression.calibration import MOST_JUDGES, Calibration
from szilard.compression.judge import Judge, judge
from szilard.likelihood import Gaussian
from szilard.model.unit_choice import Candidate
from szilard.model.unit_relation import UnitRelation, relation_of
from szilard.networks.evaluating import evaluating
from szilard.networks.float_type import cast, float_type


@torch.no_grad()
def refusal(network: nn.Module, x: Tensor) -> Exception | None:
    """The exception that a network raises for inputs of this shape and type; None where it takes them."""
    try:
        with evaluating(network):
            network(cast(network, x))
    except Exception as error:  # inputs of a wrong shape may raise anything
        return error
    return None


def scored(
    network: nn.Module,
    data: Examples,
    request: Request,
    spec: str | None,
    meta: dict[str, Any],
    errors: list[Exception],
) -> Iterator[Candidate[NetworkAndExamples]]:
    """The network's score in each of the units that it takes; the exceptions of the others go to ``errors``."""
    where = channel_order.describe(data)
    for x_units, y_units, text in candidates(data, request.normalisation, labelled=request.has_labels):
        units_of = converted(data, x_units, y_units)
        error = refusal(network, units_of.train.x[:3])
        if error is not None:
            errors.append(error)
            continue
        one = _judged(network, in_type(units_of, float_type(network)), request, spec, x_units, meta)
        if y_units is not None:
            record = replace(one.record, target_shift=y_units[0], target_scale=y_units[1])
            one = replace(one, target=y_units, record=record)
        labelled = one.valid.choice.labelled
        link = _link(one, network, data) if labelled else None
        yield Candidate(one.valid(network), one, text, link, where)
        if not labelled:
            break  # without labels, no units are better than others


@torch.no_grad()
def _link(one: NetworkAndExamples, network: nn.Module, raw: Examples) -> UnitRelation | None:
    """How the value with the largest error follows its target; None for outputs other than values."""
    likelihood = one.valid.choice.likelihood
    if not isinstance(likelihood, Gaussian) or any(where is not None for where in one.valid.positions):
        return None
    output = torch.cat([one.valid.forward(network, x) for x in one.valid.inputs]).flatten(1)
    y, own = raw.valid.y.flatten(1) if raw.valid.y.dim() > 1 else raw.valid.y[:, None], one.data.valid.y
    own = own.flatten(1) if own.dim() > 1 else own[:, None]
    if output.shape != y.shape:
        return None
    worst = int((output - own).square().mean(0).div(own.var(0).clamp_min(1e-30)).argmax())
    name = raw.outputs[worst] if len(raw.outputs) == y.shape[1] else f"y{worst}" if y.shape[1] > 1 else "y"
    return relation_of(output[:, worst], y[:, worst], name)


def _judged(
    network: nn.Module,
    data: Examples,
    request: Request,
    spec: str | None,
    x_units: Units | str,
    meta: dict[str, Any],
) -> NetworkAndExamples:
    labelled = request.has_labels
    valid, test = (_judge(network, part, request.task, labelled) for part in (data.valid, data.test))
    name = request.task or valid.choice.likelihood.name
    shift, scale = x_units if isinstance(x_units, tuple) else (None, None)
    record = BuildRecord(
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
    return NetworkAndExamples(network, data, valid, test, record, meta)


def _judge(network: nn.Module, part: Part, task: str | None, labelled: bool) -> Judge:
    """A judge with all examples of a split, joined from calibrations of at most :data:`MOST_JUDGES` examples."""
    found = []
    for start in range(0, len(part), MOST_JUDGES):
        some = Part(part.x[start : start + MOST_JUDGES], part.y[start : start + MOST_JUDGES])
        data = Calibration.of(batched(some, labelled), network, examples=0)
        found.append(judge(network, data, task=task, forward=_in_float32(network, data)))
    first = found[0]
    return replace(
        first,
        inputs=[x for one in found for x in one.inputs],
        wanted=[y for one in found for y in one.wanted],
        positions=[where for one in found for where in one.positions],
    )


def _in_float32(network: nn.Module, data: Calibration) -> Callable[[nn.Module, Any], Tensor] | None:
    """Calls a network of another floating type, so that its score is computed in float32; None for float32."""
    if float_type(network) is torch.float32:
        return None
    return lambda network, x: data.adapter.call(network, x).float()
