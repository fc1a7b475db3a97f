"""What training one network of the zoo needs: examples, the meaning of the outputs, an independent loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from szilard.likelihood import Categorical, Gaussian, Likelihood, NoisyGaussian
from zoo.case import Case, Data, part, rows

LEARN, JUDGE = (
    129,
    96,
)  # numbers of examples for training and for prediction; the last batch of an epoch has one
BATCH = 32
STEPS = 20
IGNORED = -100  # label that the loss ignores
LAST = "classes last"  # what ``means`` may say
SOFTMAXED = "probabilities"


@dataclass(frozen=True, eq=False)
class Lesson:
    """A network and its training task.

    Attributes:
        case: how it is built, with its data.
        means: meaning of the outputs if the data do not show it: :data:`LAST` or :data:`SOFTMAXED`; otherwise "".
        refusal: whether the loss must be refused.
        cut: changes the targets of a batch.
    """

    case: Case
    means: str = ""
    refusal: bool = False
    cut: Callable[[Tensor], Tensor] = lambda y: y

    @property
    def name(self) -> str:
        return self.case.name

    def network(self, seed: int = 0) -> nn.Module:
        """A network in training mode; the seed determines its weights."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return self.case.finish(self.case.build().eval()).train()

    def given_task(self, data: Data) -> str | Likelihood:
        """The ``task`` argument of ``prepare``."""
        if data.kind == "class":
            if self.means:
                return Categorical(last=self.means == LAST, probabilities=self.means == SOFTMAXED)
            return "classification"
        if data.kind in ("multilabel", "noisy"):
            return "multilabel" if data.kind == "multilabel" else "regression"
        if data.kind == "embedding" or not data.given:
            return Gaussian()
        targets = data.y.shape[1] if data.y.dim() == 2 else 1
        return "regression" if targets == 1 or self.refusal else NoisyGaussian(outputs=targets)


def learning(data: Data) -> Data:
    return part(data, 0, LEARN)


def judging(data: Data) -> Data:
    return part(data, LEARN, LEARN + JUDGE)


def schedule(data: Data, steps: int = STEPS) -> Iterator[tuple[int, Any, Tensor]]:
    """(step, x, y), shuffled in each epoch; a last batch of one example is merged with the batch before."""
    step = 0
    generator = torch.Generator().manual_seed(1)
    while True:
        order = torch.randperm(len(data.y), generator=generator).split(BATCH)
        if len(order[-1]) == 1:
            order = (*order[:-2], torch.cat(order[-2:]))
        for picked in order:
            if step == steps:
                return
            yield step, rows(data.x, picked), data.y[picked]
            step += 1


def energy(lesson: Lesson, data: Data, output: Tensor, y: Tensor) -> float:
    """Mean over examples of -ln p(y | output), nats, summed over the labels, pixels, tokens or targets of each."""
    terms, counted = _terms(lesson, data, output.detach().double(), y)
    whole = terms.reshape(len(terms), -1).sum(1)
    examples = counted.reshape(len(counted), -1).any(1).sum() if counted is not None else len(whole)
    return float(whole.sum() / examples)


def _terms(lesson: Lesson, data: Data, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor | None]:
    """-ln p of every label, ``[B, ...]``, 0 if the label is ignored; and which labels are not ignored."""
    if data.kind == "class":
        z = z.movedim(1, -1) if lesson.means != LAST and z.dim() > 2 else z
        if z.dim() == 1 or z.shape[-1] == 1:  # one logit of two classes
            z = torch.stack((torch.zeros(len(z)).double(), z.reshape(len(z))), 1)
        logs = z.clamp_min(1e-300).log() if lesson.means == SOFTMAXED else z.log_softmax(-1)
        if y.is_floating_point():
            return -(logs * y.double()).sum(-1), None
        counted = y != IGNORED
        y = torch.where(counted, y.long(), 0).reshape(logs.shape[:-1])
        return -logs.gather(-1, y[..., None])[..., 0] * counted.reshape(y.shape), counted.reshape(y.shape)
    if data.kind == "multilabel":
        return F.binary_cross_entropy_with_logits(z, y.reshape(z.shape).double(), reduction="none"), None
    if data.kind == "embedding" or not data.given:
        return 0.5 * (z - y.reshape(z.shape).double()).square() + 0.5 * math.log(2 * math.pi), None
    mean, log_noise = z.chunk(2, 1)
    error = (y.reshape(mean.shape).double() - mean) / log_noise.exp()
    return 0.5 * error.square() + log_noise + 0.5 * math.log(2 * math.pi), None


def probabilities(lesson: Lesson, data: Data, z: Tensor) -> Tensor:
    """Probabilities of classes ``[N, C, ...]`` or of labels ``[N, L]``, from the outputs of a deterministic network."""
    z = z.double()
    if data.kind == "multilabel":
        return z.sigmoid()
    z = z.movedim(-1, 1) if lesson.means == LAST else z
    if z.dim() == 1 or z.shape[1] == 1:
        z = torch.stack((torch.zeros(len(z)).double(), z.reshape(len(z))), 1)
    return z if lesson.means == SOFTMAXED else z.softmax(1)
