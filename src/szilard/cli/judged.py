"""A compression that labelled data judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from rich.console import Console
from torch import nn

from szilard import file
from szilard.cli import suited
from szilard.cli.case import OfExamples, Tell, batched
from szilard.cli.examples import Part
from szilard.cli.wish import Wish
from szilard.cli.words import cli
from szilard.compression import Compressed
from szilard.compression import compress as search
from szilard.compression.judge import Judge, Scores
from szilard.compression.progress import Progress
from szilard.data import DataSet, Split
from szilard.likelihood import Bernoulli, Categorical, Gaussian
from szilard.likelihood.categorical import IGNORED
from szilard.model import saved_network
from szilard.model.evaluate import judge, residual, tells_mean_alone, with_noise
from szilard.model.saved_network import SavedNetwork
from szilard.networks.float_type import cast

SAMPLES = 8  # draws of a Bayesian network, every time it is judged
EXAMPLES = 512  # to compress with


def progress(console: Console, tell: Tell) -> Progress:
    """The line that a person sees; what was found goes through ``tell``, in words of the command line."""

    def found(line: str) -> None:
        if not line.endswith("judged by evaluate"):  # that is us, and it has been said
            tell(line)

    return Progress(found, None if console.quiet else console, after=0.0)


def _search(
    network: nn.Module,
    calibration: Any,
    wish: Wish,
    evaluate: Callable[[nn.Module], Scores],
    task: str,
    seed: int,
    meta: dict[str, Any],
    shown: Progress,
) -> Compressed:
    return search(
        network,
        calibration,
        max_drop=None if wish.max_drop is None else wish.max_drop / 100,
        max_bytes=wish.max_bytes,
        lam=wish.lam,
        evaluate=evaluate,
        task=task,
        confidence=wish.confidence,
        seed=seed,
        meta=meta,
        progress=shown,
    )


def _order(count: int, seed: int) -> torch.Tensor:
    """Any order of the examples will do, but not one by class."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:EXAMPLES]


def _reason(wish: Wish) -> str:
    return "as --task says" if wish.task is not None else "the data say so"


def by_data_set(
    found: SavedNetwork,
    data: DataSet,
    meta: dict[str, Any],
    wish: Wish,
    seed: int,
    console: Console,
    tell: Tell,
) -> tuple[Compressed, dict[str, Any]]:
    """Compress a network that a data set is for; and what is to be printed of it."""
    original = suited.asked(replace(found, noise=None))
    alone = data.task == "regression" and tells_mean_alone(original, data)
    measure = {"classification": "accuracy", "multilabel": Bernoulli.score}.get(data.task, "R²")
    told = f"{data.task}, judged by {measure} on valid ({_reason(wish)})"

    def values(network: nn.Module, split: Split) -> Scores:
        network = suited.asked(replace(found, network=network, noise=None))
        network = with_noise(network, data) if alone else network
        believed = judge(found.method, network, data, split, samples=SAMPLES, seed=seed, ood=False)[1]
        if data.is_dense:
            by_pixel = Categorical(probabilities=True, ignore=IGNORED)
            right, given = (each(believed.mean, split.y) for each in (by_pixel.values, by_pixel.sureness))
            return Scores(float(right.mean()), right, given, by_pixel.guessing(split.y))
        if data.task == "classification":
            right = (believed.labels == split.y).double()
            given = believed.mean.double().gather(1, split.y[:, None])[:, 0]
            guessing = Categorical().guessing(split.y)
            return Scores(float(right.mean()), right, given, guessing)
        if data.task == "multilabel":
            by_label = Bernoulli(probabilities=True)
            right, given = (each(believed.mean, split.y) for each in (by_label.values, by_label.sureness))
            return Scores(float(right.mean()), right, given, by_label.guessing(split.y))
        each = Gaussian.of(split.y).values(believed.mean, split.y)
        return Scores(float(each.mean()), each, None, 0.0, relative=True)

    tell(told)
    with progress(console, tell) as shown:
        made = _search(
            found.network,
            cast(found.network, data.train.x[_order(len(data.train), seed)]),
            wish,
            lambda network: values(network, data.valid),
            data.task,
            seed,
            saved_network.to_meta(found) | meta,
            shown,
        )
        before, after = (values(network, data.test).score for network in (found.network, made.network))
    if alone and found.noise is not None:
        compressed = replace(found, network=made.network, noise=None)
        noise = residual(suited.asked(compressed), data)
        made = _with_meta(made, saved_network.to_meta(replace(compressed, noise=noise)), wish.max_bytes)
    return made, _described(told, made, wish, data.name, measure) | {
        "test_before": before,
        "test_after": after,
    }


def _with_meta(made: Compressed, meta: dict[str, Any], max_bytes: int | None) -> Compressed:
    """The same tensors with other metadata; as it was where that would be too large."""
    document = file.loads(made.data)
    data, ledger = file.encode(file.Document(document.records, {**document.meta, **meta}))
    if ledger.content != made.ledger.content or (max_bytes is not None and len(data) > max_bytes):
        return made
    return replace(made, data=data, ledger=ledger)


def by_examples(
    case: OfExamples, wish: Wish, seed: int, console: Console, tell: Tell
) -> tuple[Compressed, dict[str, Any]]:
    """Compress a network that is judged by examples as they lie in a file; and what is to be printed of it."""
    choice = case.valid.choice
    name = choice.likelihood.name
    told = f"{name}, judged by {case.by} on valid ({_reason(wish)})" if choice.labelled else cli(str(choice))
    tell(told)
    order = _order(len(case.data.train), seed)
    train = Part(case.data.train.x[order], case.data.train.y[order])

    def score(judged: Judge, network: nn.Module) -> Scores:
        return judged.scores(network)

    with progress(console, tell) as shown:
        made = _search(
            case.network,
            batched(train, choice.labelled, 64),
            wish,
            lambda network: score(case.valid, network),
            name,
            seed,
            case.built.to_meta() | case.meta,
            shown,
        )
        before, after = (score(case.test, network).score for network in (case.network, made.network))
    measure = case.by if choice.labelled else "agreement"
    return made, _described(told, made, wish, case.data.name, measure) | {
        "test_before": before,
        "test_after": after,
    }


def _described(told: str, made: Compressed, wish: Wish, data: str, measure: str) -> dict[str, Any]:
    return {
        "task": told,
        "drop": made.drop,
        "drop_se": made.drop_se,
        "judged_on": made.judged_on,
        "confidence": wish.confidence,
        "data": data,
        "measure": measure,
        "valid_before": made.original_score,
        "valid_after": made.score,
    }
