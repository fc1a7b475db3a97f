"""The choice of a likelihood: from the user's task, from labels, or from the outputs themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.likelihood import outputs, targets
from szilard.likelihood.bernoulli import Bernoulli
from szilard.likelihood.categorical import Categorical
from szilard.likelihood.embedding import Embedding
from szilard.likelihood.likelihood import Likelihood
from szilard.likelihood.noisy import NoisyGaussian

SURE = 0.5  # minimum mean confidence of class probabilities, on a scale from chance (0) to certainty (1)
VARIED = 0.1  # minimum difference between it and the fraction of the most frequent prediction
SHARED = 0.5  # maximum variation of the row mean, relative to that of independent columns


@dataclass(frozen=True)
class Choice:
    """A likelihood, whether labels are used to evaluate, and the reason, as part of a sentence."""

    likelihood: Likelihood
    labelled: bool
    reason: str

    def __str__(self) -> str:
        by = self.likelihood.score if self.labelled else self.likelihood.unlabelled
        return f"{self.likelihood.name}, judged by {by} ({self.reason})"


def for_training(task: str) -> Likelihood:
    """The likelihood with which a :class:`szilard.methods.Method` trains for a task.

    Raises:
        SzilardError: an unknown task.
    """
    return targets.of_data(task).trained()


def choose(
    output: Tensor, labels: Tensor | None = None, *, task: str | None = None, noisy: bool = False
) -> Choice:
    """The likelihood of outputs ``[N, ...]`` of a trained network.

    Args:
        output: outputs of the network for any of its examples.
        labels: ``[N, ...]``, or None.
        task: one of :data:`szilard.likelihood.TASKS`; None to detect it.
        noisy: the network is known to return a mean and a log noise deviation.

    Raises:
        SzilardError: an unknown task, or labels that do not fit the task or the outputs.
    """
    asked = None if task is None else targets.of_task(task)
    if not output.is_floating_point():
        raise SzilardError(
            f"the network returns {str(output.dtype).removeprefix('torch.')} values, which have no loss; let it return "
            "logits, quantities or vectors"
        )
    if labels is not None and (labels.dim() == 0 or len(labels) != len(output)):
        count = len(labels) if labels.dim() else 1
        raise SzilardError(f"there are {count} labels for {len(output)} outputs; give one for each example")
    if labels is not None and labels.is_complex():
        raise SzilardError("labels are complex numbers; give class numbers, or real quantities")
    if labels is not None and not bool(torch.isfinite(labels.double()).all()):
        raise SzilardError("labels have NaN or infinite values; remove those examples")
    if asked is not None and not asked.has_labels and labels is not None and labels.shape != output.shape:
        labels = None  # class numbers cannot evaluate vectors
    if noisy and (asked is None or asked.in_units):
        made: Likelihood = outputs.noisy(output, labels)
        reason = "the network returns mean and ln noise"
    elif asked is not None:
        made, reason = asked.likelihood_of(output, labels), "as task says"
    elif labels is not None:
        made, reason = _from_labels(output, labels)
    else:
        made, reason = _from_outputs(output)
    if labels is not None:
        _check(made, output, labels, chosen=asked is None)
        if isinstance(made, Bernoulli):
            reason += f"; above {0.5 if made.probabilities else 0} means 1"
    return Choice(made, labels is not None, reason)


def _check(made: Likelihood, output: Tensor, labels: Tensor, *, chosen: bool) -> None:
    """Check labels.

    Args:
        chosen: the labels chose the likelihood, and no task.

    Raises:
        SzilardError: they do not fit; it names the task for vectors if outputs could be vectors.
    """
    try:
        made.check(output, labels)
    except SzilardError as error:
        if not (chosen and isinstance(made, Categorical) and _are_vectors(output, labels)):
            raise
        raise SzilardError(
            f'{error}, or give task="embedding" if outputs are vectors, not classes'
        ) from error


def _are_vectors(output: Tensor, y: Tensor) -> bool:
    """Whether outputs ``[N, D]`` could be embeddings: of length 1, or for more classes than they have numbers."""
    if output.dim() != 2 or output.shape[1] <= 2:
        return False
    return outputs.of_length_one(output) or len(y.unique()) > output.shape[1]


def _from_labels(output: Tensor, y: Tensor) -> tuple[Likelihood, str]:
    whole = not y.is_floating_point()
    same = y.numel() == output.numel()
    if same and bool(((y == 0) | (y == 1)).all()):
        if output.dim() == 2 and output.shape[1] > 1 and bool((y.sum(1) == 1).all()):
            return Categorical(probabilities=outputs.sums_to_one(output, None)), "labels are one-hot"
        return Bernoulli(
            probabilities=outputs.between_zero_and_one(output)
        ), "labels are 0 or 1 for each output"
    if same and set(y.unique().tolist()) == {-1.0, 0.0, 1.0}:
        raise SzilardError(
            'labels are 0, 1 and -1; write -100 for an unknown label, or give task="regression" for quantities'
        )
    if same and not whole and output.dim() == 2 and output.shape[1] > 1 and outputs.sums_to_one(y, None):
        return Categorical(
            probabilities=outputs.sums_to_one(output, None)
        ), "labels are probabilities of classes"
    if same:
        return outputs.gaussian(output, y), "labels are quantities of the outputs' shape"
    if whole and output.dim() > 1:
        made = Categorical(last=outputs.classes_last(output, y), probabilities=outputs.sums_to_one(output, y))
        return made, "labels are class numbers"
    if outputs.has_noise(output, y):
        noisy = outputs.noisy(output, y)
        if not _explains(noisy, output, y):
            raise SzilardError(
                f"outputs {list(output.shape)} are not a mean and its ln noise for labels {list(y.shape)}: such a "
                "noise explains the labels worse than their variance; give a label for each output, or evaluate"
            )
        return noisy, "labels are quantities, and outputs a mean and ln noise"
    raise SzilardError(
        f"labels of shape {list(y.shape)} and type {str(y.dtype).removeprefix('torch.')} do not fit outputs of "
        f"shape {list(output.shape)}; give int64 class numbers, one 0 or 1 for each output, or quantities of the "
        "outputs' shape"
    )


def _from_outputs(output: Tensor) -> tuple[Likelihood, str]:
    if output.dim() == 2 and output.shape[1] > 1:
        if outputs.sums_to_one(output, None):
            return Categorical(probabilities=True), "no labels; outputs are probabilities of classes"
        if _looks_like_logits(output):
            return Categorical(), "no labels; outputs look like logits of classes"
    if output.dim() >= 2 and output.shape[-1] > 2 and outputs.of_length_one(output):
        return Embedding(), "no labels; outputs are vectors of length 1"
    return outputs.gaussian(output, None), "no labels; outputs are treated as quantities"


def _looks_like_logits(output: Tensor) -> bool:
    """Whether outputs ``[N, C]`` look like logits of a classifier.

    Three conditions must hold. The confidence of the softmax is clearly above chance. The predicted class varies: it
    does not if one of several quantities is larger than the others. And the mean of a row is nearly constant: the
    gradient of cross-entropy has no component along it, whereas quantities do not sum to a constant.
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


def _explains(made: NoisyGaussian, output: Tensor, y: Tensor) -> bool:
    """Whether the predicted mean and noise have a lower NLL than the mean and variance of the labels."""
    labels = y.double()
    variance = float((labels - labels.mean()).square().mean())
    constant = 0.5 * math.log(2 * math.pi * math.e * variance) if variance > 0 else math.inf
    return float(made.nll(output.double(), labels).mean()) <= constant
