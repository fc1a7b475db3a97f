"""The networks whose predictions are compared: what they are, how they are trained, and where they are kept."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common.harness import progress
from files import pretrained
from szilard import atomic, data, methods, networks
from szilard.data import DataSet, Split
from szilard.methods.method import Method

BATCH = 128
CALIBRATION = 32  # training images
VALIDATION = 64  # validation images


@dataclass(frozen=True)
class Case:
    """A network to train.

    Attributes:
        name: in tables.
        spec: of :func:`szilard.networks.build`.
        data, ood: names of :func:`szilard.data.load`; an empty ``data`` means noise, for latency only.
        method, options: of :func:`szilard.methods.make`.
        steps, quick_steps: optimiser steps of a full and of a quick run.
        images, quick_images: the most test images, and the most images out of distribution.
        checkpoint: start at the pretrained ResNet-20, with its normalisation.
        shape: of one input, if there is no data set.
    """

    name: str
    spec: str
    data: str = ""
    ood: str = ""
    method: str = "mean-field"
    options: dict[str, Any] = field(default_factory=dict)
    steps: int = 0
    quick_steps: int = 0
    images: int = 10_000
    quick_images: int = 1000
    checkpoint: bool = False
    shape: tuple[int, ...] = ()


MLP, LENET, LARGE = "mlp:100,100", "lenet5", "mlp:1024,1024"
#: 391 steps are an epoch of the MNIST sets.
CASES = (
    Case("MNIST MLP", MLP, "mnist", "fashion-mnist", steps=7820, quick_steps=1173),
    Case("Fashion MLP", MLP, "fashion-mnist", "mnist", steps=7820, quick_steps=1173),
    Case("Fashion MLP, SSVI 80 %", MLP, "fashion-mnist", "mnist", "ssvi", {"density": 0.2, "lr": 3e-3}, 7820, 1173),
    Case("MNIST LeNet-5", LENET, "mnist", "fashion-mnist", steps=3910, quick_steps=500),
    Case("Fashion LeNet-5", LENET, "fashion-mnist", "mnist", steps=3910, quick_steps=500),
    Case(
        "CIFAR-10 ResNet-20", "resnet20", "cifar10", "photographs",
        options={"pretrained": True, "lr": 1e-4}, steps=700, quick_steps=60, images=2000, quick_images=200,
        checkpoint=True,
    ),
)  # fmt: skip
#: For latency only: random weights, because times do not depend on them.
SPARSE = Case("MLP 1024, SSVI 95 %", LARGE, method="ssvi", options={"density": 0.05}, shape=(784,))


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network in eval mode, its method, test images, and images to fit factors to.

    Attributes:
        calibration: training images, for a factor of each layer.
        validation: images that were not trained on, for one factor of the outputs.
    """

    case: Case
    network: nn.Module
    method: Method
    test: Split
    ood: Tensor
    calibration: Tensor
    validation: Tensor


def dataset(case: Case, root: str | Path) -> DataSet:
    """The data set of a case; images of ResNet-20 have the normalisation that it was trained with."""
    part = data.load(case.data, root, ood=case.ood, seed=0)
    if not case.checkpoint:
        return part
    source = pretrained.cifar10(Path(root))
    shift, scale = (torch.tensor(values).view(3, 1, 1) for values in (source.mean, source.std))
    return part.renormalised(shift, scale)


def trained(case: Case, part: DataSet, cache: Path | None, quick: bool, root: str | Path = "") -> Trained:
    """Train a network, or read it from the cache.

    Args:
        case: what to train.
        part: its data, from :func:`dataset` or any other.
        cache: folder for trained weights; None trains anew.
        quick: fewer steps and fewer images.
        root: folder of ``pretrained/``, if the case needs it.
    """
    steps = case.quick_steps if quick else case.steps
    method = methods.make(case.method, len(part.train), seed=0, total_steps=max(steps, 1), **case.options)
    if case.checkpoint:
        start = pretrained.resnet20(Path(root)).network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    else:
        start = networks.build(case.spec, part.input_shape, part.n_outputs, seed=0)
    network = method.prepare(start, part.task).train()
    path = None if cache is None else cache / f"{_key(case, steps)}.pt"
    if path is not None and path.exists():
        network.load_state_dict(torch.load(path, weights_only=True))
    else:
        _train(case, method, network, part, steps)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            content = io.BytesIO()
            torch.save(network.state_dict(), content)
            atomic.write(path, content.getvalue())
    most = case.quick_images if quick else case.images
    assert part.ood is not None, "a case names images out of distribution"
    test = Split(part.test.x[:most], part.test.y[:most])
    calibration, validation = part.train.x[:CALIBRATION], part.valid.x[:VALIDATION]
    return Trained(case, network.eval(), method, test, part.ood.x[:most], calibration, validation)


def _train(case: Case, method: Method, network: nn.Module, part: DataSet, steps: int) -> None:
    """The plain loop of the documentation."""
    optimizer = method.optimizer(network)
    for number, (x, y) in enumerate(islice(_batches(part), steps), 1):
        method.anneal(optimizer)
        loss = method.loss(network, x, y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(network, optimizer)
        if number % max(1, steps // 4) == 0:
            progress(f"{case.name}: step {number} of {steps}, loss {float(loss.detach()):.3f}")
    method.finish(network, islice(_batches(part), 20), part.valid)


def _batches(part: DataSet) -> Iterator[tuple[Tensor, Tensor]]:
    for epoch in count():
        yield from data.batches(part.train, BATCH, seed=0, epoch=epoch)


def _key(case: Case, steps: int) -> str:
    """A file name that changes with everything that the weights depend on."""
    text = json.dumps(
        [case.spec, case.data, case.method, case.options, steps, case.checkpoint, BATCH], sort_keys=True
    )
    return f"{case.spec.replace(':', '-').replace(',', '-')}-{case.data}-{sha256(text.encode()).hexdigest()[:12]}"


def untrained(case: Case) -> nn.Module:
    """The network of a case without data, in eval mode."""
    return (
        methods.make(case.method, 50_000, seed=0, **case.options)
        .prepare(networks.build(case.spec, case.shape, 10, seed=0))
        .eval()
    )
