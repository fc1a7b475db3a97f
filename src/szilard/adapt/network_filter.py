"""A Bayesian filter for batches whose predictor is a Bayesian network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from szilard.adapt.beliefs import Diagonal
from szilard.adapt.broadening import Broadening, Temper
from szilard.adapt.changes import Change, Changes
from szilard.adapt.network_entries import NetworkEntries
from szilard.adapt.network_fit import FitOptions, Gaussian, NetworkFit, divergence
from szilard.adapt.state import State
from szilard.adapt.trackers import Branches, NoChange, Tracker, Tracks
from szilard.adapt.trackers.tracker import normalised
from szilard.errors import SzilardError
from szilard.likelihood import Likelihood
from szilard.networks import copied

_SAME = 1e-9  # relative difference from the prior that is rounding


class NetworkFilter:
    """Sequential variational Bayes for a network, with hypotheses on how the world changed between batches.

    The belief is one Gaussian for each existing entry of a weight, each bias and each other trained parameter. Before a
    batch, the tracker branches its hypotheses and the rule broadens their beliefs. After it, each hypothesis fits the
    batch with its broadened belief as the prior, and gains the bound on the log evidence of the whole batch. With the
    tracker ``NoChange`` it is variational continual learning (Nguyen et al. 2018), with ``Beam`` variational beam
    search (Li et al. 2021).

    A fit starts at the parent's belief, or at the network's own weights if the broadened belief is the prior again.
    A step takes time in proportion to the number of branches.

    Args:
        network: from :func:`szilard.bayesianize`, with priors ``"fan-in"`` or ``"fixed"``; it is not changed. It runs
            in eval mode: without dropout, and with BatchNorm's statistics as they are.
        task: ``"classification"``, ``"multilabel"``, ``"regression"`` or a likelihood, as in
            :meth:`szilard.methods.Method.prepare`. A network for regression returns its noise, too
            (:class:`szilard.networks.WithNoise`), unless the likelihood is ``Gaussian(deviation)``.
        broadening: how beliefs are broadened; not ``Directional``, which needs a linear predictor.
        tracker: which hypotheses are kept.
        steps: of Adam for each hypothesis and batch.
        lr: learning rate at the start of each fit; it falls linearly to zero.
        lr_log_std: learning rate of ln σ as a multiple of ``lr``.
        batch_size: examples of a step and of a forward pass; None: the whole batch.
        draws: of all weights, for the evidence and for predictions.
        temperature: T of E_q[-ln p] + T KL; 1 is Bayes.
        bias_scale: standard deviation of the prior of biases and other parameters that are not weights, whose prior
            mean is their value in ``network``.
        seed: of all random numbers.

    Attributes:
        belief: of K hypotheses, with n numbers each.
        tracks: their probabilities and last changes, in batches.
        batches: batches that were learned.
        found: the last change that was found, in batches, or None (trackers that detect).
    """

    def __init__(
        self,
        network: nn.Module,
        task: str | Likelihood = "classification",
        *,
        broadening: Broadening | None = None,
        tracker: Tracker | None = None,
        steps: int = 200,
        lr: float = 0.01,
        lr_log_std: float = 1.0,
        batch_size: int | None = None,
        draws: int = 16,
        temperature: float = 1.0,
        bias_scale: float = 1.0,
        seed: int = 0,
    ) -> None:
        _check_options(steps, lr, lr_log_std, batch_size, draws, temperature)
        self.broadening = Temper() if broadening is None else broadening
        if self.broadening.needs_input:
            raise SzilardError(
                f"the rule {self.broadening.name} needs a linear predictor; choose another rule for a network"
            )
        self.tracker = NoChange() if tracker is None else tracker
        network = copied(network)
        self.entries = NetworkEntries(network, bias_scale)
        options = FitOptions(steps, lr, lr_log_std, batch_size, draws, temperature, seed)
        self._fit = NetworkFit(network, task, self.entries, options)
        self.tracks = self.tracker.start()
        count = len(self.tracks.log_weight)
        fresh = Diagonal.of_prior(self.entries.prior, self.broadening.start())
        self.belief = fresh.take(np.zeros(count, dtype=int))
        self.batches = 0
        self.found: Change | None = None
        self._changes = Changes()

    def predict(self, x: Tensor, *, ahead: bool = True) -> np.ndarray:
        """What the mixture of hypotheses and draws predicts for inputs ``[N, ...]``.

        Args:
            x: inputs.
            ahead: for the next batch, before which the world may have changed; else for the world of the last batch.

        Returns:
            class probabilities ``[N, C]`` (``[N, C, ...]`` at several positions), probabilities of labels ``[N, k]``,
            or mean and variance of numbers ``[N, 2]`` (``[N, 2, k]`` for k targets).
        """
        x = self._input(x)
        if ahead:
            branches, belief = self._branched()
            log_weight = branches.log_prior
        else:
            log_weight, belief = self.tracks.log_weight, self.belief
        total: np.ndarray | None = None
        for weight, prior in zip(np.exp(log_weight), self._gaussians(belief), strict=True):
            if weight == 0:
                continue
            part = weight * self._moments(self._fit.outputs(prior, x, self.batches))
            total = part if total is None else total + part
        assert total is not None
        if not self._fit.in_units:
            return total
        mean, square = total[:, 0], total[:, 1]
        return np.stack((mean, square - mean**2), 1)

    def learn(self, x: Tensor, y: Tensor) -> float:
        """Learn a batch.

        Args:
            x: inputs ``[N, ...]``.
            y: targets ``[N]`` or ``[N, ...]``.

        Returns:
            a bound on the log evidence of the batch under the mixture of hypotheses before it, in nats.

        Raises:
            SzilardError: inputs or targets that are not finite or do not fit the network; a fit that diverges.
        """
        x = self._input(x)
        y = torch.as_tensor(y).to(x.device)
        if len(x) != len(y):
            raise SzilardError(f"a batch has {len(x)} inputs and {len(y)} targets; give one target for each")
        branches, belief = self._branched()
        priors = self._gaussians(belief)
        starts = self._starts(branches, belief)
        fits: dict[bytes, tuple[Gaussian, float]] = {}  # equal hypotheses are fitted once
        found = []
        for number, (prior, start) in enumerate(zip(priors, starts, strict=True)):
            key = b"".join(part[number].tobytes() for part in (belief.mean, belief.precision))
            key += start.mean.cpu().numpy().tobytes() + start.log_std.cpu().numpy().tobytes()
            if key not in fits:
                q = self._fit.fit(prior, start, x, y, self.batches)
                fits[key] = q, self._fit.evidence(q, prior, x, y, self.batches)
            found.append(fits[key])
        joint = branches.log_prior + np.array([evidence for _, evidence in found])
        if not np.isfinite(joint.max()):
            raise SzilardError(f"batch {self.batches} has no finite evidence; check its inputs, or lower lr")
        self._keep(branches, belief, [q for q, _ in found], joint)
        self.batches += 1
        return float(np.logaddexp.reduce(joint))

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything that batches changed, as arrays; random numbers depend on the seed and the number of batches."""
        state = State(self.belief, self.tracks, self.batches, self._changes.last)
        return {**state.arrays("batches"), "support": self.entries.support}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from the arrays of :meth:`state_dict`; raises if they are not those of such a filter."""
        if not np.array_equal(state.get("support", np.empty(0)), self.entries.support):
            raise SzilardError(
                "the state of the filter is of a network with other supports; make the network with the same seed "
                "and density"
            )
        loaded = State.of(state, "batches", self.belief, self.tracker)
        belief = loaded.belief
        assert isinstance(belief, Diagonal)
        self.belief, self.tracks, self.batches = belief, loaded.tracks, loaded.steps
        self._changes.last = loaded.found
        self.found = None

    def width(self) -> float:
        """Root mean square of the standard deviations over those of the prior: 1 before the first batch."""
        shares = np.exp(self.tracks.log_weight)
        mean = shares @ self.belief.mean
        variance = shares @ (self.belief.variances() + (self.belief.mean - mean) ** 2)
        return float(np.sqrt(np.mean(variance * self.entries.prior.precision[0])))

    @torch.no_grad()
    def network(self) -> nn.Module:
        """A copy of the network with the belief of the most probable hypothesis; biases get their means."""
        network = copied(self._fit.network)
        best = self._gaussians(self.belief.take(np.array([np.argmax(self.tracks.log_weight)])))[0]
        values = self.entries.gaussian(best.mean, best.log_std, torch.zeros_like(best.mean))
        for name, parameter in network.named_parameters():
            if name in values:
                parameter.copy_(values[name])
        return network

    def _branched(self) -> tuple[Branches, Diagonal]:
        if self.batches == 0:  # nothing can have changed before the first batch
            return self.tracks.still(), self.belief
        branches = self.tracker.branch(self.tracks, self.broadening.rate)
        belief = self.broadening(self.belief.take(branches.parents), branches.rates)
        assert isinstance(belief, Diagonal)
        return branches, belief

    def _starts(self, branches: Branches, belief: Diagonal) -> list[Gaussian]:
        """Where the fits start: at the parents' beliefs, or at the network's own weights if nothing is remembered."""
        parents = self._gaussians(self.belief.take(branches.parents))
        prior = self.entries.prior
        empty = np.isclose(belief.mean, prior.mean, rtol=_SAME, atol=0).all(1)
        empty &= np.isclose(belief.precision, prior.precision, rtol=_SAME, atol=0).all(1)
        own = self._gaussian(self.entries.mean, self.entries.log_std)
        return [own if gone else parent for gone, parent in zip(empty, parents, strict=True)]

    def _keep(self, branches: Branches, belief: Diagonal, fitted: list[Gaussian], joint: np.ndarray) -> None:
        """Prune the hypotheses; their beliefs are those that were fitted."""
        extra = belief.extra
        mean = np.stack([q.mean.double().cpu().numpy() for q in fitted])
        precision = np.exp(-2 * np.stack([q.log_std.double().cpu().numpy() for q in fitted]))
        if self.broadening.learns and self.batches:
            parents = self.belief.take(branches.parents)
            extra = extra | self.broadening.learned(
                parents, branches.rates, lambda one: self._evidence(one, fitted)
            )
        last = np.where(branches.changed, self.batches, self.tracks.last_change[branches.parents])
        tracks = Tracks(normalised(joint), last)
        kept = self.tracker.prune(tracks)
        self.tracks = Tracks(normalised(tracks.log_weight[kept]), last[kept])
        self.belief = belief.changed(mean=mean, precision=precision, extra=extra).take(kept)
        self.found = self._changes.look(self.tracks, self.batches) if self.tracker.detects else None

    def _evidence(self, belief: Any, fitted: list[Gaussian]) -> np.ndarray:
        """At the best q the bound changes with its prior as -KL(q ‖ prior) does."""
        pairs = zip(fitted, self._gaussians(belief), strict=True)
        return np.array([-float(divergence(_double(q), _double(prior))) for q, prior in pairs])

    def _moments(self, outputs: Tensor) -> np.ndarray:
        """Mean over draws ``[S, N, ...]``: probabilities, or first and second moment of the target."""
        predictive = self._fit.predictive(outputs)
        mean: np.ndarray = predictive.mean.double().cpu().numpy()
        if not self._fit.in_units:
            return mean
        return np.stack((mean, predictive.variance.double().cpu().numpy() + mean**2), 1)

    def _input(self, x: Tensor) -> Tensor:
        x = torch.as_tensor(x).to(self._fit.device)
        if not x.dim() or not len(x):
            raise SzilardError("a batch has no inputs; give inputs [N, ...] with at least one example")
        if x.is_floating_point():
            x = x.to(self._fit.dtype)
            if not bool(torch.isfinite(x).all()):
                raise SzilardError(
                    f"inputs of batch {self.batches} have NaN or infinite values; remove those examples"
                )
        return x

    def _gaussian(self, mean: np.ndarray, log_std: np.ndarray) -> Gaussian:
        device, dtype = self._fit.device, self._fit.dtype
        return Gaussian(*(torch.tensor(values, device=device, dtype=dtype) for values in (mean, log_std)))

    def _gaussians(self, belief: Any) -> list[Gaussian]:
        pairs = zip(belief.mean, -0.5 * np.log(belief.precision), strict=True)
        return [self._gaussian(mean, log_std) for mean, log_std in pairs]


def _double(q: Gaussian) -> Gaussian:
    return replace(q, mean=q.mean.double(), log_std=q.log_std.double())


def _check_options(
    steps: int, lr: float, lr_log_std: float, batch_size: int | None, draws: int, temperature: float
) -> None:
    for name, number in (("steps", steps), ("draws", draws), ("batch_size", batch_size)):
        if number is not None and number < 1:
            raise SzilardError(f"{name} must be at least 1, not {number}")
    for name, value in (("lr", lr), ("lr_log_std", lr_log_std), ("temperature", temperature)):
        if not (value > 0 and np.isfinite(value)):
            raise SzilardError(f"{name} must be positive and finite, not {value:g}")
