"""From the outputs of a network to an answer and its two uncertainties, inside the compiled graph.

A rule is a module without parameters, so that it is compiled with the network. It has one method for each way to
predict: a point, mean and variance, and draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from szilard.deploy.units import Units, checked_targets
from szilard.errors import SzilardError
from szilard.likelihood import Bernoulli, Categorical, Gaussian, Likelihood, NoisyGaussian
from szilard.metrics.normal_points import normal_points, normal_trapezoid

POINTS = 128  # of the Gaussian of the logits
_NODES = 257  # of the quadrature of one logit: within 0.001 nats up to a deviation of 50
_LEAST = 1e-30  # probability


class Answer(NamedTuple):
    """What a network says of each input.

    Attributes:
        answer: class probabilities ``[B, C, ...]``; probabilities of labels ``[B, k]``; means ``[B]`` or ``[B, k]``.
        aleatoric: uncertainty from noise in the data: mean entropy (nats) ``[B, ...]``, or noise variance.
        epistemic: uncertainty of the network: mutual information (nats), or variance of the mean.
    """

    answer: Tensor
    aleatoric: Tensor
    epistemic: Tensor


class Rule(nn.Module):
    """Base class of the rules."""

    #: Its name in the metadata of exported files.
    name = ""
    #: Whether uncertainties are entropies in nats; else variances.
    in_nats = True

    def of_moments(self, mean: Tensor, variance: Tensor) -> Answer:
        """From the mean and variance of the outputs, ``[B, ...]``."""
        raise NotImplementedError

    def of_draws(self, outputs: Tensor) -> Answer:
        """From outputs of several draws, ``[S, B, ...]``."""
        raise NotImplementedError

    def of_point(self, output: Tensor) -> Answer:
        """From the outputs of one network, ``[B, ...]``; the epistemic uncertainty is exactly zero."""
        found = self.of_draws(output.unsqueeze(0))
        return Answer(found.answer, found.aleatoric, torch.zeros_like(found.epistemic))

    def of_several(self, answers: Sequence[Answer]) -> Answer:
        """Of an ensemble whose members have uncertainties of their own: the answer of their mixture.

        The aleatoric uncertainty is the members' mean, the epistemic one what is left of the mixture's entropy.
        """
        answer = torch.stack([one.answer for one in answers]).mean(0)
        aleatoric = torch.stack([one.aleatoric for one in answers]).mean(0)
        return Answer(answer, aleatoric, (self._entropy(answer) - aleatoric).clamp_min(0))

    def _entropy(self, answer: Tensor) -> Tensor:
        """Entropy of probabilities, nats."""
        raise NotImplementedError


class OfClasses(Rule):
    """Class probabilities: the mean softmax over points of the Gaussian of the logits.

    The entropy of the mean is the total uncertainty, the mean entropy the aleatoric part, and the mutual information,
    their difference, the epistemic part. The mean variance of the logits is no measure of it: a network that is
    confident and far from its data has large logits with a large variance.

    Args:
        classes: C; one logit for two classes counts as two.
        calibration: divides the logits.
        last: classes are the last axis of the outputs, not the second.
        points: number of points, quasi-random, in pairs of opposite sign.
    """

    name = "mutual information over draws of the logits"
    noise: Tensor

    def __init__(
        self, classes: int, calibration: float = 1.0, *, last: bool = False, points: int = POINTS
    ) -> None:
        super().__init__()
        self.calibration, self.last, self.single = calibration, last, classes == 1
        self.register_buffer("noise", normal_points(points, classes))

    def of_moments(self, mean: Tensor, variance: Tensor) -> Answer:
        mean, std = self._second(mean), self._second(variance).sqrt()
        noise = self.noise.to(mean).view(len(self.noise), 1, -1, *[1] * (mean.dim() - 2))
        return self._of_logits(mean.unsqueeze(0) + std.unsqueeze(0) * noise)

    def of_draws(self, outputs: Tensor) -> Answer:
        count = len(outputs)
        flat = self._second(outputs.flatten(0, 1))
        return self._of_logits(flat.unflatten(0, (count, flat.shape[0] // count)))

    def _second(self, output: Tensor) -> Tensor:
        """With the classes as second axis."""
        if output.dim() == 1:
            return output.unsqueeze(1)
        return output.movedim(-1, 1) if self.last else output

    def _of_logits(self, logits: Tensor) -> Answer:
        logits = logits * (1 / self.calibration)
        if self.single:
            logits = torch.cat((torch.zeros_like(logits), logits), 2)
        logs = logits.log_softmax(2)
        p = logs.exp()
        average = p.mean(0)
        aleatoric = -(p * logs).sum(2).mean(0)
        return Answer(average, aleatoric, (self._entropy(average) - aleatoric).clamp_min(0))

    def _entropy(self, answer: Tensor) -> Tensor:
        return -(answer * answer.clamp_min(_LEAST).log()).sum(1)


class OfLabels(Rule):
    """Probabilities of independent binary labels, by quadrature over each logit."""

    name = "mutual information over the logit of each label"
    nodes: Tensor
    weights: Tensor

    def __init__(self, calibration: float = 1.0) -> None:
        super().__init__()
        self.calibration = calibration
        nodes, weights = normal_trapezoid(_NODES)
        self.register_buffer("nodes", nodes.float())
        self.register_buffer("weights", weights.float())

    def of_moments(self, mean: Tensor, variance: Tensor) -> Answer:
        shape = (-1, *[1] * mean.dim())
        logits = mean.unsqueeze(0) + variance.sqrt().unsqueeze(0) * self.nodes.to(mean).view(shape)
        return self._of_logits(logits, self.weights.to(mean).view(shape))

    def of_draws(self, outputs: Tensor) -> Answer:
        return self._of_logits(outputs, 1 / len(outputs))

    def _of_logits(self, logits: Tensor, weights: Tensor | float) -> Answer:
        p = (logits * (1 / self.calibration)).sigmoid()
        average = (p * weights).sum(0)
        aleatoric = (_binary_entropy(p) * weights).sum(0)
        return Answer(average, aleatoric, (self._entropy(average) - aleatoric).clamp_min(0))

    def _entropy(self, answer: Tensor) -> Tensor:
        return _binary_entropy(answer)


class OfQuantities(Rule):
    """Means, with the noise that the network predicts or one that is known.

    Args:
        count: k, the number of targets; the network returns ``[B, 2 k]`` if ``variance`` is None.
        variance: of the noise, scalar or ``[k]``; None: the second half of the outputs is the log of its deviation.
        units: of the targets, scalar or ``[k]``: answers are in the user's units, variances in their squares.
    """

    name = "variance of the mean; mean variance of the noise"
    in_nats = False
    variance: Tensor | None
    shift: Tensor
    scale: Tensor

    def __init__(self, count: int, variance: Tensor | None = None, units: Units | None = None) -> None:
        super().__init__()
        self.count = count
        self.register_buffer("variance", variance)
        shift, scale = checked_targets(units or Units(0.0, 1.0)).tensors()
        for part in (shift, scale):
            if part.numel() not in (1, count):
                raise SzilardError(
                    f"units of {count} targets must have 1 or {count} numbers, not {part.numel()}"
                )
        self.converts = units is not None and not units.trivial
        # Answers of one target are [B], of several [B, k].
        self.register_buffer("shift", shift.flatten() if shift.numel() > 1 else shift.reshape(()))
        self.register_buffer("scale", scale.flatten() if scale.numel() > 1 else scale.reshape(()))

    def of_moments(self, mean: Tensor, variance: Tensor) -> Answer:
        if self.variance is not None:
            mean, variance = self._columns(mean), self._columns(variance)
            return self._in_units(mean, self.variance.to(mean).expand(mean.shape), variance)
        k = self.count
        # The deviation is e^s with s Gaussian, so the mean of its square is e^(2 m + 2 v).
        noise = (2 * mean[:, k:] + 2 * variance[:, k:]).exp()
        return self._in_units(
            self._columns(mean[:, :k]), self._columns(noise), self._columns(variance[:, :k])
        )

    def of_point(self, output: Tensor) -> Answer:
        if self.variance is not None:
            values = self._columns(output)
            noise = self.variance.to(values).expand(values.shape)
        else:
            values, noise = (self._columns(part) for part in output.split(self.count, 1))
            noise = (2 * noise).exp()
        return self._in_units(values, noise, torch.zeros_like(values))

    def of_draws(self, outputs: Tensor) -> Answer:
        if self.variance is not None:
            values = torch.stack([self._columns(output) for output in outputs])
            noise = self.variance.to(values).expand(values.shape[1:])
        else:
            k = self.count
            values = torch.stack([self._columns(output[:, :k]) for output in outputs])
            noise = torch.stack([self._columns((2 * output[:, k:]).exp()) for output in outputs]).mean(0)
        average = values.mean(0)
        return self._in_units(average, noise, (values - average).square().mean(0))

    def of_several(self, answers: Sequence[Answer]) -> Answer:
        means = torch.stack([one.answer for one in answers])
        average = means.mean(0)
        noise, spread = (
            torch.stack([getattr(one, name) for one in answers]).mean(0)
            for name in ("aleatoric", "epistemic")
        )
        return Answer(average, noise, spread + (means - average).square().mean(0))

    def _in_units(self, mean: Tensor, noise: Tensor, variance: Tensor) -> Answer:
        if not self.converts:
            return Answer(mean, noise, variance)
        square = self.scale.square()
        return Answer(mean * self.scale + self.shift, noise * square, variance * square)

    def _columns(self, values: Tensor) -> Tensor:
        return values.squeeze(1) if values.dim() == 2 and values.shape[1] == 1 else values


def rule_for(
    likelihood: Likelihood, output: Tensor, calibration: float = 1.0, targets: Units | None = None
) -> Rule:
    """The rule for outputs of this shape.

    Args:
        likelihood: of the outputs.
        output: of one forward pass, ``[B, ...]``.
        calibration: divides logits.
        targets: units of the targets of a regression.

    Raises:
        SzilardError: a likelihood that has no rule, outputs of another shape, or units of targets that have none.
    """
    if targets is not None and not isinstance(likelihood, NoisyGaussian | Gaussian):
        raise SzilardError("only the targets of a regression have units; leave targets out")
    if isinstance(likelihood, Categorical) and not likelihood.probabilities:
        axis = -1 if likelihood.last else 1
        classes = 1 if output.dim() == 1 else output.shape[axis]
        return OfClasses(classes, calibration, last=likelihood.last)
    if isinstance(likelihood, Bernoulli) and not likelihood.probabilities:
        return OfLabels(calibration)
    if isinstance(likelihood, NoisyGaussian):
        if output.dim() != 2 or output.shape[1] != 2 * likelihood.outputs:
            raise SzilardError(
                f"a regression network must return [B, {2 * likelihood.outputs}], means and log noise deviations, not "
                f"{list(output.shape)}; szilard.networks.WithNoise adds the noise"
            )
        return OfQuantities(likelihood.outputs, units=targets)
    if isinstance(likelihood, Gaussian):
        return OfQuantities(output[0].numel(), likelihood.scale.square().float(), targets)
    raise SzilardError(
        f"{type(likelihood).__name__} has no rule for its uncertainty; return logits or means, and use Categorical, "
        "Bernoulli, NoisyGaussian or Gaussian"
    )


def _binary_entropy(p: Tensor) -> Tensor:
    return -(p * p.clamp_min(_LEAST).log() + (1 - p) * (1 - p).clamp_min(_LEAST).log())
