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

    Raises:
        SzilardError: values that are NaN or infinite, of the wrong shape, or no probabilities or variances.
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
        if self.probabilities is not None:
            _check_probabilities(self.probabilities)
        if (self.means is None) != (self.variances is None) or (
            self.probabilities is not None and self.means is not None
        ):
            raise SzilardError("a Predictive holds either probabilities or both means and variances")
        if self.means is not None and self.variances is not None:
            _check_gaussian(self.means, self.variances)

    @classmethod
    def from_logits(cls, logits: Tensor) -> Predictive:
        """From logits ``[S, N, C]``."""
        if logits.dim() != 3:
            raise SzilardError(f"logits must be [samples, inputs, classes], not {list(logits.shape)}")
        return cls(probabilities=logits.softmax(-1))

    @classmethod
    def from_gaussian(cls, means: Tensor, variances: Tensor) -> Predictive:
        """From means and noise variances, both ``[S, N]``."""
        return cls(means=means, variances=variances)

    def cpu(self) -> Predictive:
        """The same in host memory, where metrics can use double precision whatever the device knows."""
        held = (self.probabilities, self.means, self.variances)
        return Predictive(*(None if value is None else value.detach().cpu() for value in held))

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


def matching_targets(predictive: Predictive, y: Tensor) -> Tensor:
    """``y [N]`` in host memory, class indices int64 or targets float64, or a SzilardError that says why not.

    The shape is held to strictly: targets ``[N, 1]`` would broadcast against ``[N]`` into numbers without meaning.
    """
    n = predictive.samples.shape[1]
    if y.shape != (n,):
        raise SzilardError(
            f"{n} predictions cannot be held against targets {list(y.shape)}; they must be [{n}]"
        )
    y = y.detach().cpu()
    if predictive.task == "regression":
        if not torch.isfinite(y).all():
            raise SzilardError("the targets hold NaN or infinite values; leave those examples out")
        return y.double()
    return matching_labels(y, predictive.samples.shape[-1])


def matching_labels(y: Tensor, classes: int) -> Tensor:
    """Class indices ``y [N]`` as int64, or a SzilardError if they are none of ``classes``."""
    if y.is_floating_point() or y.is_complex():
        raise SzilardError(f"class labels must be integers, not {str(y.dtype).removeprefix('torch.')}")
    if len(y) and (int(y.min()) < 0 or int(y.max()) >= classes):
        raise SzilardError(
            f"labels lie in [{int(y.min())}, {int(y.max())}] but the network knows {classes} classes"
        )
    return y.long()


def _check_probabilities(p: Tensor) -> None:
    if p.dim() != 3:
        raise SzilardError(f"probabilities must be [samples, inputs, classes], not {list(p.shape)}")
    off = (p.sum(-1, dtype=torch.float32) - 1).abs()
    if p.numel() and (p.min() < 0 or off.max() > 0.02):  # half precision adds up no better
        raise SzilardError(
            "probabilities must be at least 0 and add up to 1; for raw outputs use from_logits"
        )


def _check_gaussian(means: Tensor, variances: Tensor) -> None:
    if means.dim() != 2 or means.shape != variances.shape:
        raise SzilardError(
            f"means and variances must both be [samples, inputs], "
            f"not {list(means.shape)} and {list(variances.shape)}"
        )
    if variances.numel() and variances.min() <= 0:
        raise SzilardError("the predictive variances must be positive; the observation noise has vanished")


def _entropy(p: Tensor) -> Tensor:
    return torch.special.entr(p).sum(-1)
