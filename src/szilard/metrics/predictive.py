"""What a network believes of some inputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from szilard.errors import SzilardError


@dataclass(frozen=True)
class Predictive:
    """Answers of S draws of a network to N inputs; the one type for every way to predict.

    Classification holds ``probabilities [S, N, C]``; regression holds ``means [S, N]`` and ``variances
    [S, N]``, the latter of the observation noise, in the units of the targets. Uncertainty splits into
    what the data do not say (aleatoric) and what the network has not learned (epistemic): the mean entropy of
    the draws and the mutual information of draw and label (nats), or the mean of the variances and the
    variance of the means (Depeweg et al. 2018).
    """

    probabilities: Tensor | None = None
    means: Tensor | None = None
    variances: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("probabilities", "means", "variances"):
            value = getattr(self, name)
            if value is not None and not torch.isfinite(value).all():
                raise SzilardError(
                    f"the predictive {name} hold NaN or infinite values; the network has diverged"
                )

    @classmethod
    def from_logits(cls, logits: Tensor) -> Predictive:
        """From logits ``[S, N, C]``."""
        if logits.dim() != 3:
            raise SzilardError(f"logits must be [samples, inputs, classes], not {list(logits.shape)}")
        return cls(probabilities=logits.softmax(-1))

    @classmethod
    def from_gaussian(cls, means: Tensor, variances: Tensor) -> Predictive:
        """From means and noise variances, both ``[S, N]``."""
        if means.dim() != 2 or means.shape != variances.shape:
            raise SzilardError(
                f"means and variances must both be [samples, inputs], "
                f"not {list(means.shape)} and {list(variances.shape)}"
            )
        return cls(means=means, variances=variances)

    @property
    def task(self) -> str:
        return "regression" if self.probabilities is None else "classification"

    @property
    def samples(self) -> Tensor:
        """What each draw says: ``[S, N, C]`` probabilities or ``[S, N]`` means."""
        found = self.means if self.probabilities is None else self.probabilities
        if found is None:
            raise SzilardError("an empty Predictive: make one with from_logits or from_gaussian")
        return found

    @property
    def n_samples(self) -> int:
        return self.samples.shape[0]

    @property
    def mean(self) -> Tensor:
        """Averaged probabilities ``[N, C]``, or mean prediction ``[N]``."""
        return self.samples.mean(0)

    @property
    def variance(self) -> Tensor:
        """Total predictive variance ``[N]`` of a regression."""
        return self.aleatoric() + self.epistemic()

    @property
    def labels(self) -> Tensor:
        """Most probable class ``[N]``."""
        return self._classes().argmax(-1)

    def max_probability(self) -> Tensor:
        """Probability of the most probable class, ``[N]``."""
        return self._classes().amax(-1)

    def entropy(self) -> Tensor:
        """Entropy of the averaged probabilities, nats, ``[N]``."""
        return _entropy(self._classes())

    def aleatoric(self) -> Tensor:
        """Mean entropy of the draws (nats), or mean noise variance, ``[N]``."""
        if self.variances is not None:
            return self.variances.mean(0)
        return _entropy(self.samples).mean(0)

    def epistemic(self) -> Tensor:
        """Mutual information of draw and label (nats, at least 0), or variance of the means, ``[N]``."""
        if self.means is not None:
            return self.means.var(0, correction=0)
        return (self.entropy() - self.aleatoric()).clamp_min(0.0)

    def _classes(self) -> Tensor:
        if self.probabilities is None:
            raise SzilardError("a regression has no class probabilities; use mean and variance")
        return self.mean


def _entropy(p: Tensor) -> Tensor:
    return torch.special.entr(p).sum(-1)
