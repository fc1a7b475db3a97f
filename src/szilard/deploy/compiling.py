"""Compile a network for a runtime."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from szilard.data.image_range import Range
from szilard.deploy import arguments, backends, checking
from szilard.deploy.backends import Backend, Job, Run
from szilard.deploy.compiled import Compiled
from szilard.deploy.description import Description
from szilard.deploy.graph import (
    Graph,
    MomentsEnsembleGraph,
    MomentsGraph,
    PointGraph,
    StackedGraph,
    sampled,
)
from szilard.deploy.lowered import as_point
from szilard.deploy.rules import rule_of
from szilard.deploy.uncertainty import Rule
from szilard.deploy.units import Standardise, Units, check_steps
from szilard.errors import SzilardError, first_line
from szilard.likelihood import Likelihood
from szilard.likelihood.targets import TaskName

DEFAULT = "auto"
DRAWS = 32  # of mode "samples"
#: A decision in one pass without a factor of its variance.
NOT_COMPARED = (
    "epistemic uncertainty was not compared with that of draws; szilard.deploy.compare_with_draws does this"
)
_ORDER = ("native", "onnx", "eager")  # of the default backend


def compile(
    network: nn.Module | Sequence[nn.Module],
    example: Tensor,
    *,
    backend: str = DEFAULT,
    mode: str | None = None,
    task: TaskName | Likelihood = "classification",
    calibration: float = 1.0,
    inputs: Units | None = None,
    targets: Units | None = None,
    variance_factor: float | Sequence[float] = 1.0,
    samples: int | None = None,
    seed: int = 0,
    batch: int | None = None,
    threads: int = 1,
    path: Path | str | None = None,
    labels: Sequence[str] = (),
    image_range: Range | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Compiled:
    """Compile a network into a function that returns an answer, its aleatoric and its epistemic uncertainty.

    Args:
        network: Bayesian or not, in eval mode; it is not changed. A list of networks for mode ``"ensemble"``.
        example: inputs ``[B, *shape]`` in the user's units, for shapes, the type, and a comparison with PyTorch.
        backend: ``"native"`` (this package's kernels, batches up to 8), ``"onnx"``, ``"inductor"``, ``"tvm"``,
            ``"executorch"`` or ``"eager"``. By default the first of native, onnx and eager that takes the network.
        mode: ``"point"`` (mean weights), ``"moments"`` (mean and variance in one pass), ``"samples"`` (all draws in one
            batched graph) or ``"ensemble"`` (of Bayesian networks: the mixture of their moments). By default moments
            for a Bayesian network, ensemble for several networks, else point.
        task: of the outputs, or their likelihood.
        calibration: divides logits (``method.calibration``); positive.
        inputs: units of inputs, which become part of the function: ``Units(shift, scale)`` of the training data. By
            default inputs are as the network takes them.
        targets: units of the targets of a regression; answers are then in these, variances in their squares.
        variance_factor: multiplies the variance of the outputs in mode ``"moments"``, and in an ensemble of Bayesian
            networks that of each, by one number or one for each (:func:`szilard.deploy.compare_with_draws`).
        samples: number of draws of mode ``"samples"``, by default 32; a number chooses that mode.
        seed: of the draws.
        batch: compile for this batch size only; by default for any that the backend allows.
        threads: of the runtime.
        path: file to write, for backends that write one. It is written only if all is well.
        labels: names of classes or targets.
        image_range: lowest and highest value of the training images, in the units of the inputs. The function refuses
            images in other units, as for a run; a file records the range, which other runtimes do not check.
        metadata: text that goes into the file, by name; ``inputs`` says what it takes, by default from the example.

    Returns:
        a function of inputs ``[B, *shape]``. Its outputs for the example have been compared with those of PyTorch.

    Raises:
        SzilardError: a network in training mode, an operation without a rule or that the backend does not know, a
            backend that is not installed, inputs whose values float32 cannot tell apart, or outputs that differ from
            those of PyTorch by more than 0.001 of their size.
    """
    members = arguments.members_of(network)
    mode = arguments.mode_for(members, mode, samples)
    arguments.check_numbers(samples=samples, batch=batch, threads=threads)
    arguments.warn_of_one_draw(samples)
    arguments.check_units(inputs=inputs, targets=targets)
    check_steps(inputs, targets)
    factors = arguments.factors_of(variance_factor, members, mode)
    arguments.check_example(members[0], example)
    names = _names(backend, path)
    with arguments.naming_type(members[0], example):
        rule = rule_of(members[0], example, task, calibration, inputs, targets)
        graph = _graph(members, rule, mode, samples or DRAWS, seed, factors).eval()
        if inputs is not None and not inputs.trivial:
            graph.inputs = Standardise(inputs)
        size = batch if batch is not None or graph.dynamic else len(example)
        shown = checking.some(example, size)
        wanted = _outputs(graph, shown)
    shape, names_of_labels = tuple(example.shape[1:]), arguments.check_labels(labels, wanted[0])
    description = Description(
        mode,
        shape,
        size,
        example.dtype,
        graph.outputs,
        rule.name,
        names_of_labels,
        {"inputs": _inputs(example, inputs)} | arguments.check_metadata(metadata),
        factors,
        arguments.check_image_range(image_range, example),
    ).entries()
    kind = backends.kind(names[0])
    file = arguments.path_of(path, kind.suffix, kind.name)
    job = Job(graph, shown, size is None, threads, file, description)
    chosen, run, worst, decisions = _first(names, job, wanted)
    if graph.in_one_pass and all(factor == 1 for factor in factors):
        decisions += (NOT_COMPARED,)
    return Compiled(
        run,
        chosen.name,
        mode,
        shape,
        graph.outputs,
        size,
        example.dtype,
        names_of_labels,
        decisions,
        checks_inputs=chosen.checks_inputs,
        metadata=description,
        difference=worst,
        image_range=image_range,
    )


def _inputs(example: Tensor, units: Units | None) -> str:
    """What the file takes, for its metadata."""
    kind, shape = str(example.dtype).removeprefix("torch."), ", ".join(map(str, ("B", *example.shape[1:])))
    which = (
        "as the network takes them"
        if units is None
        else "in the units of the data; the file standardises them"
    )
    return f"{kind} [{shape}], {which}"


def _names(backend: str, path: Path | str | None) -> list[str]:
    """Names of the backends to try, in order; the suffix of a file says which one writes it."""
    if backend == DEFAULT and path is not None:
        suffix = Path(path).suffix.lower()
        if suffix not in backends.SUFFIXES:
            raise SzilardError(
                f"{path} has no suffix of a compiled file; give one that ends in {', '.join(backends.SUFFIXES)}"
            )
        backend = backends.SUFFIXES[suffix]
    if backend != DEFAULT:
        return [backends.backend(backend).name]
    usable = backends.installed()
    return [name for name in _ORDER if name in usable]


def _first(
    names: Sequence[str], job: Job, wanted: tuple[Tensor, ...]
) -> tuple[Backend, Run, float, tuple[str, ...]]:
    """The first backend that compiles the graph with the outputs ``wanted`` for the job's example.

    Returns:
        the backend, the compiled function, its largest relative difference to ``wanted``, and what was decided.

    Raises:
        SzilardError: as the last backend.
    """
    decisions: list[str] = []
    count, rule = len(job.example), job.graph.rule
    for number, name in enumerate(names):
        chosen, made = backends.backend(name), dataclasses.replace(job, decisions=[])
        try:
            arguments.check_float_type(job.graph.source, chosen)
            with checking.replacing(job.path) as file:
                run = chosen.compile(dataclasses.replace(made, path=file))
                worst = checking.check(
                    name, run(job.example), wanted, job.graph.outputs, in_nats=rule.in_nats
                )
        except SzilardError as error:
            _check_deterministic(job, wanted)
            if number == len(names) - 1:
                raise
            decisions.append(f"backend {name} was not used: {error}")
            continue
        decisions += [
            f"backend {name}, mode {job.graph.mode}",
            f"outputs differ from those of PyTorch by at most {worst:.1e} of their size, on {count} "
            f"{'input' if count == 1 else 'inputs'}",
            *made.decisions,
        ]
        return chosen, run, worst, tuple(decisions)
    raise SzilardError("no backend can be used")


@torch.no_grad()
def _check_deterministic(job: Job, wanted: tuple[Tensor, ...]) -> None:
    """Check that the graph gives the same outputs again.

    Raises:
        SzilardError: it does not.
    """
    again = _outputs(job.graph, job.example)
    pairs = (dict(zip(job.graph.outputs, outputs, strict=True)) for outputs in (again, wanted))
    worst, _ = checking.difference(*pairs, in_nats=job.graph.rule.in_nats)
    if worst > checking.TOLERANCE:
        raise SzilardError(
            "the network draws random numbers in eval mode, so that two calls with the same inputs differ (as "
            "F.dropout with training=True does); write F.dropout(x, p, self.training)"
        )


@torch.no_grad()
def _outputs(graph: Graph, x: Tensor) -> tuple[Tensor, ...]:
    try:
        found: tuple[Tensor, ...] = graph(x)
    except SzilardError:
        raise
    except Exception as error:  # the user's code, or an operation without a batched form
        raise SzilardError(
            f"the network does not run in mode {graph.mode}: {first_line(error)}; choose another mode"
        ) from error
    for name, value in zip(graph.outputs, found, strict=True):
        if not bool(torch.isfinite(value).all()):
            raise SzilardError(
                f"the network returns NaN or infinite values in {name} for the example; give inputs in the units "
                "that it takes"
            )
    return found


@torch.no_grad()
def _graph(
    members: Sequence[nn.Module], rule: Rule, mode: str, samples: int, seed: int, factors: Sequence[float]
) -> Graph:
    if mode == "ensemble":
        if any(arguments.is_bayesian(member) for member in members):
            return MomentsEnsembleGraph(members, rule, factors)
        return StackedGraph([as_point(member) for member in members], rule, "ensemble")
    if mode == "samples":
        return sampled(members[0], rule, samples, seed)
    return MomentsGraph(members[0], rule, factors[0]) if mode == "moments" else PointGraph(members[0], rule)
