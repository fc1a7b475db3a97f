"""Compression with data: labelled examples of the validation split decide how much quality is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from rich.console import Console
from torch import nn

from szilard import file
from szilard.cli.external import adapted_outputs
from szilard.cli.external.examples import Part
from szilard.cli.external.network_and_examples import NetworkAndExamples, batched
from szilard.cli.goal import Goal
from szilard.cli.option_names import for_command_line
from szilard.cli.request import Tell
from szilard.compression import Compressed
from szilard.compression import compress as search
from szilard.compression.judge import Scores
from szilard.compression.progress import Progress
from szilard.data import DataSet, Split
from szilard.errors import SzilardError
from szilard.likelihood import Bernoulli, Categorical, Gaussian
from szilard.likelihood.categorical import IGNORED
from szilard.likelihood.targets import Classes, DataTargets, Labels, Quantities
from szilard.metrics import Predictive
from szilard.model import saved_network
from szilard.model.evaluate import judge, lacks_noise, residual, with_noise
from szilard.model.saved_network import SavedNetwork
from szilard.networks.float_type import cast

SAMPLES = 8  # weight samples of a Bayesian network, each time it is evaluated
EXAMPLES = 512  # training examples for the compression


@dataclass(frozen=True)
class Shown:
    """Where progress and notices go.

    Attributes:
        console: for the progress bar; quiet for none.
        tell: prints a notice on standard error.
    """

    console: Console
    tell: Tell


def progress(shown: Shown) -> Progress:
    """The progress bar of a compression; its notices go through ``tell``."""

    def notice(line: str) -> None:
        if not line.endswith("judged by evaluate"):  # our own function evaluates, and that has been printed
            shown.tell(line)

    return Progress(notice, None if shown.console.quiet else shown.console, after=0.0)


def _search(
    network: nn.Module,
    calibration: Any,
    goal: Goal,
    evaluate: Callable[[nn.Module], Scores],
    task: str,
    seed: int,
    meta: dict[str, Any],
    bar: Progress,
) -> Compressed:
    return search(
        network,
        calibration,
        max_drop=None if goal.max_drop is None else goal.max_drop / 100,
        max_bytes=goal.max_bytes,
        lam=goal.lam,
        evaluate=evaluate,
        task=task,
        confidence=goal.confidence,
        seed=seed,
        meta=meta,
        progress=bar,
    )


def order_of(count: int, seed: int) -> torch.Tensor:
    """Some examples in random order, since files are often sorted by class."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:EXAMPLES]


def _reason(goal: Goal) -> str:
    return "as --task says" if goal.task is not None else "the data say so"


def scores_of(predictive: Predictive, y: torch.Tensor) -> Scores:
    """How good predictions are for targets ``y``, for the choice of a file.

    Raises:
        SzilardError: predictions of a kind that nothing here judges.
    """
    make = _SCORES.get(type(predictive.target_type))
    if make is None:
        raise SzilardError(f"nothing judges predictions of {predictive.task}; add a function to {__name__}")
    return make(predictive, y)


def _of_classes(predictive: Predictive, y: torch.Tensor) -> Scores:
    if y.dim() > 1:
        return _by_likelihood(Categorical(probabilities=True, ignore=IGNORED), predictive, y)
    right = (predictive.labels == y).double()
    given = predictive.mean.double().gather(1, y[:, None])[:, 0]
    return Scores(float(right.mean()), right, given, Categorical().guessing(y))


def _of_labels(predictive: Predictive, y: torch.Tensor) -> Scores:
    return _by_likelihood(Bernoulli(probabilities=True), predictive, y)


def _by_likelihood(likelihood: Categorical | Bernoulli, predictive: Predictive, y: torch.Tensor) -> Scores:
    right, given = (each(predictive.mean, y) for each in (likelihood.values, likelihood.label_probability))
    return Scores(float(right.mean()), right, given, likelihood.guessing(y))


def _of_quantities(predictive: Predictive, y: torch.Tensor) -> Scores:
    each = Gaussian.of(y).values(predictive.mean, y)
    return Scores(float(each.mean()), each, None, 0.0, relative=True)


_SCORES: dict[type[DataTargets], Callable[[Predictive, torch.Tensor], Scores]] = {
    Classes: _of_classes,
    Labels: _of_labels,
    Quantities: _of_quantities,
}


def with_data_set(
    found: SavedNetwork,
    data: DataSet,
    meta: dict[str, Any],
    goal: Goal,
    seed: int,
    shown: Shown,
) -> tuple[Compressed, dict[str, Any]]:
    """Compress a network with a data set; the second value is what is printed of it."""
    original = adapted_outputs.for_method(replace(found, noise=None))
    alone = lacks_noise(original, data)
    measure = data.target_type.score
    description = f"{data.task}, judged by {measure} on valid ({_reason(goal)})"

    def values(network: nn.Module, split: Split) -> Scores:
        network = adapted_outputs.for_method(replace(found, network=network, noise=None))
        network = with_noise(network, data) if alone else network
        predictive = judge(found.method, network, data, split, samples=SAMPLES, seed=seed, ood=False)[1]
        return scores_of(predictive, split.y)

    shown.tell(description)
    with progress(shown) as bar:
        made = _search(
            found.network,
            cast(found.network, data.train.x[order_of(len(data.train), seed)]),
            goal,
            lambda network: values(network, data.valid),
            data.task,
            seed,
            saved_network.to_meta(found) | meta,
            bar,
        )
        before, after = (values(network, data.test).score for network in (found.network, made.network))
    if alone and found.noise is not None:
        compressed = replace(found, network=made.network, noise=None)
        noise = residual(adapted_outputs.for_method(compressed), data)
        made = _with_meta(made, saved_network.to_meta(replace(compressed, noise=noise)), goal.max_bytes)
    return made, _described(description, made, goal, data.name, measure) | {
        "test_before": before,
        "test_after": after,
    }


def certificate(found: SavedNetwork, made: Compressed, data: DataSet, seed: int) -> str:
    """The bound on the error of a compressed network on unseen examples, with its assumptions."""
    network = adapted_outputs.for_method(replace(found, network=made.network))
    quality, _, _ = judge(found.method, network, data, data.train, samples=SAMPLES, seed=seed, ood=False)
    n = len(data.train)
    return str(made.certificate(round((1 - quality["accuracy"]) * n), n))


def _with_meta(made: Compressed, meta: dict[str, Any], max_bytes: int | None) -> Compressed:
    """The same tensors with other metadata; unchanged if the file would be too large."""
    document = file.loads(made.data)
    data, ledger = file.encode(file.Document(document.records, {**document.meta, **meta}))
    if ledger.content != made.ledger.content or (max_bytes is not None and len(data) > max_bytes):
        return made
    return replace(made, data=data, ledger=ledger)


def with_examples(
    labelled: NetworkAndExamples, goal: Goal, seed: int, shown: Shown
) -> tuple[Compressed, dict[str, Any]]:
    """Compress a network with examples as they are in a file; the second value is what is printed of it."""
    choice = labelled.valid.choice
    name = choice.likelihood.name
    if choice.labelled:
        description = f"{name}, judged by {labelled.by} on valid ({_reason(goal)})"
    else:
        description = for_command_line(str(choice))
    shown.tell(description)
    order = order_of(len(labelled.data.train), seed)
    train = Part(labelled.data.train.x[order], labelled.data.train.y[order])

    with progress(shown) as bar:
        made = _search(
            labelled.network,
            batched(train, choice.labelled, 64),
            goal,
            labelled.valid.scores,
            name,
            seed,
            labelled.record.to_meta() | labelled.meta,
            bar,
        )
        before, after = (labelled.test.scores(network).score for network in (labelled.network, made.network))
    measure = labelled.by if choice.labelled else "agreement"
    return made, _described(description, made, goal, labelled.data.name, measure) | {
        "test_before": before,
        "test_after": after,
    }


def _described(description: str, made: Compressed, goal: Goal, data: str, measure: str) -> dict[str, Any]:
    return {
        "task": description,
        "drop": made.drop,
        "drop_se": made.drop_se,
        "judged_on": made.judged_on,
        "confidence": goal.confidence,
        "data": data,
        "measure": measure,
        "valid_before": made.original_score,
        "valid_after": made.score,
    }
