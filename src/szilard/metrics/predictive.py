"""The predictions of a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from szilard import _moved
from szilard.errors import SzilardError
from szilard.likelihood.targets import CLASSES, LABELS, QUANTITIES, DataTargets
from szilard.metrics.normal_points import normal_quantiles

_QUANTILES = 64  # samples that stand for a Gaussian


@dataclass(frozen=True)
class Predictive:
    """Predictions of S draws of a network for N inputs.

    Classification: ``probabilities [S, N, C]``, or ``[S, N, C, ...]`` with a class for each position (the pixels
    of an image). Multi-label classification: those of each label, ``[S, N, k]``, which need not add up to 1.
    Regression: ``means`` and ``variances`` of the observation noise, both ``[S, N]`` or ``[S, N, k]``, in the units of
    the targets. If an example has several targets, every uncertainty has their shape. The uncertainty is the sum of the
    noise in the data (aleatoric) and the uncertainty of the network (epistemic): the mean entropy of
    the draws and the mutual information of draw and label (nats), or the mean of the variances and the
    variance of the means (Depeweg et al. 2018).

    Attributes:
        weights: of the draws in every average, float64 ``[S]`` with sum 1; None if they are equal.

    Raises:
        SzilardError: values that are NaN or infinite, of the wrong shape, or not probabilities, variances or weights.
    """

    probabilities: Tensor | None = None
    means: Tensor | None = None
    variances: Tensor | None = None
    multilabel: bool = False
    weights: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("probabilities", "means", "variances"):
            value = getattr(self, name)
            if value is not None and not torch.isfinite(value).all():
                raise SzilardError(
                    f"the predictive {name} hold NaN or infinite values; the network has diverged"
                )
        if self.probabilities is not None:
            _check_probabilities(self.probabilities, self.multilabel)
        if (self.means is None) != (self.variances is None) or (
            self.probabilities is not None and self.means is not None
        ):
            raise SzilardError("a Predictive takes either probabilities or both means and variances")
        if self.means is not None and self.variances is not None:
            _check_gaussian(self.means, self.variances)
        if self.weights is not None:
            _check_weights(self.weights, self.n_samples)

    @classmethod
    def from_logits(cls, logits: Tensor) -> Predictive:
        """From logits ``[S, N, C]``, or ``[S, N, C, ...]`` at several positions."""
        if logits.dim() < 3:
            raise SzilardError(f"logits must be [samples, inputs, classes], not {list(logits.shape)}")
        return cls(probabilities=_precise(logits).softmax(2))

    @classmethod
    def from_binary_logits(cls, logits: Tensor) -> Predictive:
        """From one logit for each label, ``[S, N, ...]``, of independent binary labels."""
        return cls(probabilities=_precise(logits).sigmoid(), multilabel=True)

    @classmethod
    def from_gaussian(cls, means: Tensor, variances: Tensor) -> Predictive:
        """From means and noise variances, both ``[S, N]``, or ``[S, N, ...]`` for several targets."""
        return cls(means=means, variances=variances)

    @classmethod
    def from_moments(cls, mean: Tensor, variance: Tensor, noise: Tensor) -> Predictive:
        """From a Gaussian of the mean, and the mean noise variance; all ``[N]``, or ``[N, ...]`` for several targets.

        The samples are quantiles of the Gaussian, scaled so that mean, aleatoric and epistemic variance are exactly
        those given.

        Args:
            mean: of the prediction.
            variance: of the mean, the epistemic uncertainty; at least zero.
            noise: of the data, the aleatoric uncertainty; above zero.
        """
        points = normal_quantiles(_QUANTILES).to(mean).view(-1, *[1] * mean.dim())
        means = mean.unsqueeze(0) + variance.sqrt().unsqueeze(0) * points
        return cls(means=means, variances=noise.unsqueeze(0).expand(means.shape))

    def cpu(self) -> Predictive:
        """A copy in host memory, where metrics can use double precision."""
        return self._each(lambda value: value.detach().cpu())

    def of_draws(self, chosen: Tensor) -> Predictive:
        """The predictions of some of the draws, by index ``[S']``."""
        weights = None if self.weights is None else self.weights[chosen]
        chosen_ones = replace(self, weights=None)._each(lambda value: value[chosen])
        return chosen_ones if weights is None else chosen_ones.weighted(weights)

    def weighted(self, weights: Tensor | None) -> Predictive:
        """The same predictions with other weights of the draws.

        Args:
            weights: ``[S]``, at least 0, of any positive sum; None: equal ones.
        """
        return replace(
            self, weights=None if weights is None else weights.double().cpu() / weights.double().sum().cpu()
        )

    def of_inputs(self, count: int) -> Predictive:
        """The predictions for the first inputs."""
        return self._each(lambda value: value[:, :count])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Predictive:
        """With every tensor changed in the same way."""
        p, means, variances = (
            None if value is None else change(value)
            for value in (self.probabilities, self.means, self.variances)
        )
        return Predictive(p, means, variances, self.multilabel, self.weights)

    def averaged(self, values: Tensor) -> Tensor:
        """The mean over the draws, with their weights.

        Args:
            values: ``[S, ...]``.
        """
        if self.weights is None:
            return values.mean(0)
        return torch.tensordot(self.weights.to(values), values, 1)

    @property
    def target_type(self) -> DataTargets:
        """What is predicted."""
        if self.probabilities is None:
            return QUANTITIES
        return LABELS if self.multilabel else CLASSES

    @property
    def task(self) -> str:
        """Its name, as users write it."""
        return self.target_type.name

    @property
    def shape(self) -> torch.Size:
        """Shape of the targets: ``[N]``, or ``[N, ...]`` if an example has several."""
        shape = self.samples.shape[1:]
        return shape[:1] + shape[2:] if self.target_type.has_classes else shape

    @property
    def samples(self) -> Tensor:
        """The prediction of each draw: probabilities ``[S, N, C, ...]`` or means ``[S, N, ...]``."""
        found = self.means if self.probabilities is None else self.probabilities
        if found is None:
            raise SzilardError("the Predictive is empty; create one with from_logits or from_gaussian")
        return found

    @property
    def n_samples(self) -> int:
        return self.samples.shape[0]

    @property
    def mean(self) -> Tensor:
        """Averaged probabilities ``[N, C, ...]``, or mean prediction ``[N, ...]``."""
        return self.averaged(self.samples)

    @property
    def variance(self) -> Tensor:
        """Total predictive variance ``[N, ...]`` of a regression."""
        return self.aleatoric() + self.epistemic()

    @property
    def labels(self) -> Tensor:
        """Most probable class ``[N, ...]``; 0 or 1 for each of several labels."""
        p = self._classes()
        return (p > 0.5).long() if self.multilabel else p.argmax(1)

    def max_probability(self) -> Tensor:
        """Probability of the most probable class, or of the predicted value of each label, ``[N, ...]``."""
        p = self._classes()
        return torch.maximum(p, 1 - p) if self.multilabel else p.amax(1)

    def entropy(self) -> Tensor:
        """Entropy of the averaged probabilities, nats, ``[N, ...]``."""
        return self._entropy(self._classes(), 1)

    def aleatoric(self) -> Tensor:
        """Mean entropy of the draws (nats), or mean noise variance, ``[N, ...]``."""
        if self.variances is not None:
            return self.averaged(self.variances)
        return self.averaged(self._entropy(self.samples, 2))

    def epistemic(self) -> Tensor:
        """Mutual information of draw and label (nats, at least 0), or variance of the means, ``[N, ...]``."""
        if self.means is not None:
            if self.weights is None:
                return self.means.var(0, correction=0)
            return self.averaged((self.means - self.mean).square())
        return (self.entropy() - self.aleatoric()).clamp_min(0.0)

    def _classes(self) -> Tensor:
        if self.probabilities is None:
            raise SzilardError("a regression has no class probabilities; use mean and variance")
        return self.mean

    def _entropy(self, p: Tensor, axis: int) -> Tensor:
        if self.multilabel:
            return torch.special.entr(p) + torch.special.entr(1 - p)
        return torch.special.entr(p).sum(axis)


def matching_targets(predictive: Predictive, y: Tensor, ignore_index: int | None = None) -> Tensor:
    """``y`` in host memory, as class indices int64 or targets float64, after checks.

    The shape, ``[N]`` or ``[N, ...]`` for several targets, must match exactly: targets ``[N, 1]`` would broadcast
    against ``[N]`` and give wrong results.
    """
    n = predictive.samples.shape[1]
    if y.shape != predictive.shape:
        raise SzilardError(
            f"{n} predictions cannot be compared with targets {list(y.shape)}; they must be {list(predictive.shape)}"
        )
    n_outputs = predictive.samples.shape[2] if predictive.samples.dim() > 2 else 1
    return predictive.target_type.checked(y.detach().cpu(), n_outputs, ignore_index)


def flat(predictive: Predictive, y: Tensor, ignore_index: int | None = None) -> tuple[Predictive, Tensor]:
    """Predictions and targets with every position, label or quantity as a separate example, without those ignored.

    Binary labels become two classes. In host memory, with the checks of :func:`matching_targets`.

    Returns:
        predictions of M targets, and the targets ``[M]``.
    """
    predictive, y = predictive.cpu(), matching_targets(predictive, y, ignore_index)
    if predictive.target_type.in_units:
        if y.dim() == 1:
            return predictive, y
        means, variances = predictive.samples, predictive.variances
        flattened = variances if variances is None else variances.flatten(1)
        made = Predictive(means=means.flatten(1), variances=flattened, weights=predictive.weights)
        return made, y.flatten()
    p = predictive.samples
    if predictive.multilabel:
        p = p.flatten(1)
        p, y = torch.stack((1 - p, p), 2), y.flatten()
    elif p.dim() > 3:
        p, y = p.movedim(2, -1).flatten(1, -2), y.flatten()
    if ignore_index is not None:
        counted = y != ignore_index
        p, y = (p, y) if bool(counted.all()) else (p[:, counted], y[counted])
    if p is predictive.samples:
        return predictive, y
    return Predictive(probabilities=p, weights=predictive.weights), y


def matching_probabilities(probabilities: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities ``[N, C]`` and labels ``[N]`` in host memory, after checks.

    Raises:
        SzilardError: fewer than two classes, no example, NaN, raw logits, or labels of another shape, type or range.
    """
    if probabilities.dim() != 2 or not probabilities.is_floating_point():
        raise SzilardError(
            f"probabilities must be [inputs, classes] of a floating type, not {list(probabilities.shape)} "
            f"{str(probabilities.dtype).removeprefix('torch.')}"
        )
    n, classes = probabilities.shape
    if classes < 2:
        raise SzilardError(
            f"probabilities of {classes} class cannot be calibrated; give those of both classes, [N, 2]"
        )
    if not n:
        raise SzilardError("there is nothing to evaluate: no examples")
    if y.shape != (n,):
        raise SzilardError(
            f"{n} predictions cannot be compared with targets {list(y.shape)}; they must be [{n}]"
        )
    probabilities = probabilities.detach().cpu()
    if not bool(torch.isfinite(probabilities).all()):
        raise SzilardError("the probabilities hold NaN or infinite values; the network has diverged")
    _check_probabilities(probabilities.unsqueeze(0), multilabel=False)
    return probabilities, CLASSES.checked(y.detach().cpu(), classes)


def _check_probabilities(p: Tensor, multilabel: bool) -> None:
    if multilabel:
        if p.dim() < 2:
            raise SzilardError(
                f"probabilities of labels must be [samples, inputs, labels], not {list(p.shape)}"
            )
        if p.numel() and (p.min() < 0 or p.max() > 1):
            raise SzilardError("probabilities must be in [0, 1]; for raw outputs use from_binary_logits")
        return
    if p.dim() < 3:
        raise SzilardError(f"probabilities must be [samples, inputs, classes], not {list(p.shape)}")
    off = (p.sum(2, dtype=torch.float32) - 1).abs()
    if p.numel() and (p.min() < 0 or off.max() > 0.02):  # the sum is less exact in half precision
        raise SzilardError(
            "probabilities must be at least 0 and add up to 1; for raw outputs use from_logits"
        )


def _check_gaussian(means: Tensor, variances: Tensor) -> None:
    if means.dim() < 2 or means.shape != variances.shape:
        raise SzilardError(
            f"means and variances must both be [samples, inputs], "
            f"not {list(means.shape)} and {list(variances.shape)}"
        )
    if variances.numel() and variances.min() <= 0:
        raise SzilardError("the predictive variances must be positive; the observation noise has vanished")


def _check_weights(weights: Tensor, count: int) -> None:
    if weights.shape != (count,):
        raise SzilardError(f"{count} draws need as many weights, not {list(weights.shape)}")
    if not bool(weights.isfinite().all()) or float(weights.min()) < 0 or abs(float(weights.sum()) - 1) > 1e-6:
        raise SzilardError(
            "the weights of draws must be at least 0 and add up to 1; use weighted(), which divides"
        )


def _precise(values: Tensor) -> Tensor:
    """At least float32: averages and exponentials are inaccurate in half precision."""
    return values if values.dtype is torch.float64 else values.float()


def __getattr__(name: str) -> Any:
    return _moved.name_of(__name__, name)
