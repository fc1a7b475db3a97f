"""Which likelihood an output has: from what the user says, from labels, or from the outputs themselves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.likelihood.bernoulli import Bernoulli
from szilard.likelihood.categorical import IGNORED, Categorical
from szilard.likelihood.embedding import Embedding
from szilard.likelihood.gaussian import Gaussian
from szilard.likelihood.likelihood import Likelihood
from szilard.likelihood.noisy import NoisyGaussian

TASKS = ("classification", "multilabel", "regression", "embedding")
"""What a network can be asked to do, by the names that ``task=`` and ``--task`` take."""

SURE = 0.5  # of the way from chance to certainty, that beliefs must have gone
VARIED = 0.1  # by which they must exceed the share of the most frequent answer
SHARED = 0.5  # of what independent columns have in common; class scores have less


@dataclass(frozen=True)
class Choice:
    """A likelihood, whether labels judge, and why, as part of a sentence."""

    likelihood: Likelihood
    labelled: bool
    reason: str

    def __str__(self) -> str:
        by = self.likelihood.score if self.labelled else _UNLABELLED[type(self.likelihood)]
        return f"{self.likelihood.name}, judged by {by} ({self.reason})"


_UNLABELLED: dict[type[Likelihood], str] = {
    Categorical: "the original's probability of the class that is answered",
    Bernoulli: "the original's probability of the labels that are answered",
    Gaussian: "agreement with the original's outputs, 1 - squared error / variance",
    NoisyGaussian: "agreement with the original's mean and noise",
    Embedding: "cosine with the original's outputs",
}
_TRAINED: dict[str, Callable[[], Likelihood]] = {
    "classification": lambda: Categorical(ignore=IGNORED),
    "multilabel": Bernoulli,
    "regression": NoisyGaussian,
}


def for_training(task: str) -> Likelihood:
    """What a :class:`szilard.methods.Method` trains under.

    Raises:
        SzilardError: no such task.
    """
    if task not in _TRAINED:
        raise SzilardError(
            f"task is {task!r}; take one of {', '.join(_TRAINED)}, or a likelihood of szilard.likelihood"
        )
    return _TRAINED[task]()


def choose(
    output: Tensor, labels: Tensor | None = None, *, task: str | None = None, noisy: bool = False
) -> Choice:
    """The likelihood of outputs ``[N, ...]`` of a trained network.

    Args:
        output: of the network, on any of its examples.
        labels: ``[N, ...]``, or None.
        task: one of :data:`TASKS`; None to find out.
        noisy: the network is known to answer a mean and a log noise deviation.

    Raises:
        SzilardError: no such task, or labels that do not go with it or with the outputs.
    """
    if task is not None and task not in TASKS:
        raise SzilardError(f"task is {task!r}; take one of {', '.join(TASKS)}")
    if not output.is_floating_point():
        raise SzilardError(
            f"the network answers {str(output.dtype).removeprefix('torch.')} values, which tell no loss; let it answer "
            "logits, quantities or vectors"
        )
    if labels is not None and (labels.dim() == 0 or len(labels) != len(output)):
        count = len(labels) if labels.dim() else 1
        raise SzilardError(f"there are {count} labels for {len(output)} outputs; give one for each example")
    if labels is not None and labels.is_complex():
        raise SzilardError("labels are complex numbers; give class numbers, or real quantities")
    if labels is not None and not bool(torch.isfinite(labels.double()).all()):
        raise SzilardError("labels have NaN or infinite values; remove those examples")
    if task == "embedding" and labels is not None and labels.shape != output.shape:
        labels = None  # class numbers say nothing of directions
    if noisy and task in (None, "regression"):
        made: Likelihood = _noisy(output, labels)
        reason = "the network answers mean and ln noise"
    elif task is not None:
        made, reason = _told(task, output, labels), "as task says"
    elif labels is not None:
        made, reason = _from_labels(output, labels)
    else:
        made, reason = _from_outputs(output)
    if labels is not None:
        made.check(output, labels)
        if isinstance(made, Bernoulli):
            reason += f"; above {0.5 if made.probabilities else 0} says 1"
    return Choice(made, labels is not None, reason)


def _told(task: str, output: Tensor, labels: Tensor | None) -> Likelihood:
    if task == "classification":
        if output.dim() < 2 or output.shape[1] == 1:
            return Bernoulli(probabilities=_within(output))  # two classes, one logit
        return Categorical(
            last=labels is not None and _last(output, labels), probabilities=_softmaxed(output, labels)
        )
    if task == "multilabel":
        return Bernoulli(probabilities=_within(output))
    if task == "embedding":
        if output.dim() < 2 or output.shape[-1] < 2:
            raise SzilardError(
                f"outputs {list(output.shape)} are no vectors; take another task than embedding"
            )
        return Embedding()
    if labels is not None and _answers_noise(output, labels):
        return _noisy(output, labels)
    return _gaussian(output, labels)


def _from_labels(output: Tensor, y: Tensor) -> tuple[Likelihood, str]:
    whole = not y.is_floating_point()
    same = y.numel() == output.numel()
    if same and bool(((y == 0) | (y == 1)).all()):
        if output.dim() == 2 and output.shape[1] > 1 and bool((y.sum(1) == 1).all()):
            return Categorical(probabilities=_softmaxed(output, None)), "labels are one-hot"
        return Bernoulli(probabilities=_within(output)), "labels are 0 or 1 for each output"
    if same and set(y.unique().tolist()) == {-1.0, 0.0, 1.0}:
        raise SzilardError(
            'labels are 0, 1 and -1; write -100 where a label is not known, or give task="regression" for quantities'
        )
    if same and not whole and output.dim() == 2 and output.shape[1] > 1 and _softmaxed(y, None):
        return Categorical(probabilities=_softmaxed(output, None)), "labels are probabilities of classes"
    if same:
        return _gaussian(output, y), "labels are quantities of the outputs' shape"
    if whole and output.dim() > 1:
        made = Categorical(last=_last(output, y), probabilities=_softmaxed(output, y))
        return made, "labels are class numbers"
    if _answers_noise(output, y):
        noisy = _noisy(output, y)
        if not _explains(noisy, output, y):
            raise SzilardError(
                f"outputs {list(output.shape)} are no mean and ln of its noise for labels {list(y.shape)}: such a "
                "noise explains the labels worse than their variance; give a label for each output, or evaluate"
            )
        return noisy, "labels are quantities, and outputs a mean and ln noise"
    raise SzilardError(
        f"labels of shape {list(y.shape)} and type {str(y.dtype).removeprefix('torch.')} do not go with outputs of "
        f"shape {list(output.shape)}; give int64 class numbers, one 0 or 1 for each output, or quantities of the "
        "outputs' shape"
    )


def _from_outputs(output: Tensor) -> tuple[Likelihood, str]:
    if output.dim() == 2 and output.shape[1] > 1:
        if _softmaxed(output, None):
            return Categorical(probabilities=True), "no labels; outputs are probabilities of classes"
        if looks_like_beliefs(output):
            return Categorical(), "no labels; outputs look like logits of classes"
    if output.dim() >= 2 and output.shape[-1] > 2 and _unit(output):
        return Embedding(), "no labels; outputs are vectors of length 1"
    return _gaussian(output, None), "no labels; outputs are taken for quantities"


def looks_like_beliefs(output: Tensor) -> bool:
    """Whether outputs ``[N, C]`` look like logits of a network that was trained to tell classes apart.

    Three things must hold. The softmax is sure of itself, clearly above chance. It is not sure of the same class all
    the time, as it is where one of several quantities lies on a higher level. And the mean of a row hardly moves:
    the gradient of cross-entropy has no part along it, whereas quantities have no reason to sum to a constant.
    """
    z = output.detach().double()
    classes = z.shape[1]
    p = z.softmax(1)
    sure = float(p.amax(1).mean())
    common = float(torch.bincount(p.argmax(1), minlength=classes).max()) / len(z)
    centred = z - z.mean(0)
    spread = float(centred.square().mean())
    shared = classes * float(centred.mean(1).square().mean()) / spread if spread > 0 else 1.0
    return sure >= 1 / classes + SURE * (1 - 1 / classes) and sure >= common + VARIED and shared <= SHARED


def _gaussian(output: Tensor, labels: Tensor | None) -> Gaussian:
    if labels is not None and labels.numel() == output.numel():
        return Gaussian.of(labels.reshape(output.shape))
    return Gaussian.of(output, answered=True)


def _noisy(output: Tensor, labels: Tensor | None) -> NoisyGaussian:
    k = max(1, output.shape[1] // 2) if output.dim() == 2 else 1
    if labels is not None:
        return NoisyGaussian.of(labels)
    return NoisyGaussian.of(output[:, 0] if k == 1 else output[:, :k])


def _explains(made: NoisyGaussian, output: Tensor, y: Tensor) -> bool:
    """Whether a network that says its own noise knows more than the mean and variance of the labels."""
    labels = y.double()
    variance = float((labels - labels.mean()).square().mean())
    constant = 0.5 * math.log(2 * math.pi * math.e * variance) if variance > 0 else math.inf
    return float(made.nll(output.double(), labels).mean()) <= constant


def _answers_noise(output: Tensor, y: Tensor) -> bool:
    several = y.dim() == 2 and y.shape[1] > 1 and y.is_floating_point()
    return (
        output.dim() == 2
        and output.shape[1] == 2 * (y.shape[1] if several else 1)
        and 2 * y.numel() == output.numel()
    )


def _last(output: Tensor, y: Tensor) -> bool:
    first = (output.shape[0], *output.shape[2:])
    return output.dim() > 2 and y.shape != first and y.shape == output.shape[:-1]


def _within(output: Tensor) -> bool:
    return bool(((output >= 0) & (output <= 1)).all())


def _softmaxed(output: Tensor, labels: Tensor | None) -> bool:
    axis = -1 if labels is not None and _last(output, labels) else 1
    return _within(output) and bool(((output.float().sum(axis) - 1).abs() < 1e-2).all())


def _unit(output: Tensor) -> bool:
    return bool(((output.float().norm(dim=-1) - 1).abs() < 1e-2).all())
