"""A Bayesian filter for rows that arrive one by one from a world that changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from szilard.adapt.beliefs import BELIEFS, Belief, Projection, WeightPrior
from szilard.adapt.broadening import Broadening, Temper
from szilard.adapt.changes import Change, Changes
from szilard.adapt.observations import Observation
from szilard.adapt.state import State
from szilard.adapt.trackers import Bank, Branches, Tracker, Tracks
from szilard.adapt.trackers.tracker import normalised
from szilard.errors import SzilardError

MOST_WEIGHTS = 500  #: of a full belief, whose rows take time cubic in them


class Filter:
    """Sequential Bayes for a linear predictor, with hypotheses on how the world changed.

    Before a row, the tracker branches its hypotheses and the rule broadens their beliefs. Their mixture predicts. After
    the row, each hypothesis gains the evidence of the row under its belief before the row, and absorbs the row.

    Args:
        observation: likelihood of the targets.
        features: D, the number of features of a row.
        broadening: how a belief is broadened.
        tracker: which hypotheses are kept.
        belief: ``"full"`` or ``"diagonal"``.
        prior_scale: standard deviation of every weight before the first row; for ``UnknownNoise`` in units of the
            noise.

    Attributes:
        belief: of K hypotheses.
        tracks: their probabilities and last changes.
        rows: rows that were learned.
        found: the last change that was found, or None (trackers that detect).
    """

    def __init__(
        self,
        observation: Observation,
        features: int,
        *,
        broadening: Broadening | None = None,
        tracker: Tracker | None = None,
        belief: str = "full",
        prior_scale: float = 1.0,
    ) -> None:
        if belief not in BELIEFS:
            raise SzilardError(f"unknown belief {belief!r}: choose {' or '.join(BELIEFS)}")
        self.observation = observation
        self.broadening = Temper() if broadening is None else broadening
        self.tracker = Bank() if tracker is None else tracker
        self.prior_scale = prior_scale
        prior = WeightPrior.zero_mean(observation.outputs, features, prior_scale)
        _check_size(belief, prior)
        start = {**observation.start(), **self.broadening.start()}
        self.tracks = self.tracker.start()
        one: Belief = BELIEFS[belief].of_prior(prior, start)
        self.belief = one.take(np.zeros(len(self.tracks.log_weight), dtype=int))
        self.rows = 0
        self.found: Change | None = None
        self._changes = Changes()
        self._ahead: tuple[Branches, Belief] | None = None
        self._projected: tuple[Belief, np.ndarray, Projection] | None = None

    @property
    def features(self) -> int:
        """D."""
        return self.belief.inputs()

    def predict(self, x: np.ndarray) -> np.ndarray:
        """What the mixture of hypotheses predicts for an input ``[D]``.

        Returns:
            class probabilities ``[C]``, or mean and variance of a number ``[2]``.
        """
        branches, belief = self._branched(x)
        return self.observation.predict(np.exp(branches.log_prior), self._project(belief, x), belief.extra)

    def quantile(self, x: np.ndarray, level: float) -> float:
        """The number below which the target of an input ``[D]`` is with the probability ``level``, between 0 and 1."""
        if not 0 < level < 1:
            raise SzilardError(f"level must be between 0 and 1, exclusive, not {level:g}")
        branches, belief = self._branched(x)
        return self.observation.quantile(
            np.exp(branches.log_prior), self._project(belief, x), belief.extra, level
        )

    def learn(self, x: np.ndarray, target: Any) -> float:
        """Learn a row.

        Args:
            x: the input ``[D]``.
            target: a class number or a number.

        Returns:
            the log probability or density of the target before it was learned, in nats.
        """
        if not np.isfinite(x).all():
            raise SzilardError(
                f"row {self.rows} has a feature that is not finite; fill it in or leave the row out"
            )
        branches, belief = self._branched(x)
        projection = self._project(belief, x)
        seen = self.observation.see(projection, belief.extra, target)
        joint = branches.log_prior + seen.log_evidence
        if not np.isfinite(joint.max()):
            raise SzilardError(
                f"row {self.rows} has no finite probability; check that its numbers are finite and not huge"
            )
        extra = {**belief.extra, **seen.extra}
        if self.broadening.learns:
            parents = self.belief.take(branches.parents)
            extra |= self.broadening.learned(
                parents, branches.rates, lambda one: self._evidence(one, x, target)
            )
        self._keep(branches, belief.changed(extra=extra), x, projection, seen.score, seen.curvature, joint)
        self.rows += 1
        return float(np.logaddexp.reduce(joint))

    def grow(self, *, features: int | None = None, observation: Observation | None = None) -> None:
        """Add features or outputs, whose weights start at the prior.

        Args:
            features: the new D.
            observation: one with more outputs, which keep their order.
        """
        if observation is not None:
            self.observation = observation
        wanted = self.features if features is None else features
        prior = WeightPrior.zero_mean(self.observation.outputs, wanted, self.prior_scale)
        if prior.mean.shape != self.belief.prior.mean.shape:
            _check_size(self.belief.name, prior)
            self.belief = self.belief.enlarged(prior)
            self._ahead = None

    def in_units(self, ratio: np.ndarray, shift: np.ndarray | None) -> None:
        """Keep all predictions when the units of the features change; the prior is then one in the new units.

        Args:
            ratio: old feature = ratio · new feature + shift, ``[D]``.
            shift: ``[D]``; the first feature must be the constant 1, whose ratio is 1. None: no shift.
        """
        self.belief, self._ahead = self.belief.in_units(ratio, shift), None

    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each weight under the mixture, both ``[O, D]``.

        For ``UnknownNoise`` the standard deviations are in units of the noise.
        """
        shares = np.exp(self.tracks.log_weight)
        mean = shares @ self.belief.mean
        variance = shares @ (self.belief.variances() + (self.belief.mean - mean) ** 2)
        shape = self.belief.prior.mean.shape
        return mean.reshape(shape), np.sqrt(variance).reshape(shape)

    def width(self) -> float:
        """Root mean square of the weights' standard deviations over that of the prior: 1 before the first row."""
        _, std = self.weights()
        return float(np.sqrt(np.mean(std**2 * self.belief.prior.precision)))

    def rate(self) -> float:
        """The mean rate of the hypotheses before the next row, by probability; 1: nothing is forgotten."""
        branches = self._branches()
        return float(np.exp(branches.log_prior) @ branches.rates)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything that rows changed, as arrays."""
        return State(self.belief, self.tracks, self.rows, self._changes.last).arrays("rows")

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from the arrays of :meth:`state_dict`; raises if they are not those of such a filter."""
        loaded = State.of(state, "rows", self.belief, self.tracker)
        self.belief, self.tracks, self.rows = loaded.belief, loaded.tracks, loaded.steps
        self._changes.last = loaded.found
        self.found, self._ahead = None, None

    def _branches(self) -> Branches:
        if self.rows == 0:  # nothing can have changed before the first row
            return self.tracks.still()
        return self.tracker.branch(self.tracks, self.broadening.rate)

    def _branched(self, x: np.ndarray) -> tuple[Branches, Belief]:
        if self._ahead is not None:
            return self._ahead
        branches = self._branches()
        parents = self.belief.take(branches.parents)
        belief = self.broadening(parents, branches.rates, x)
        if not self.broadening.needs_input:
            self._ahead = branches, belief
        return branches, belief

    def _project(self, belief: Belief, x: np.ndarray) -> Projection:
        """The outputs for an input; to learn a row after it was predicted costs no second solution."""
        if self._projected is not None:
            owner, known, projection = self._projected
            if owner is belief and np.array_equal(known, x):
                return projection
        projection = belief.project(x)
        self._projected = belief, x.copy(), projection
        return projection

    def _evidence(self, belief: Belief, x: np.ndarray, target: Any) -> np.ndarray:
        return self.observation.see(belief.project(x), belief.extra, target).log_evidence

    def _keep(
        self,
        branches: Branches,
        belief: Belief,
        x: np.ndarray,
        projection: Projection,
        score: np.ndarray,
        curvature: np.ndarray,
        joint: np.ndarray,
    ) -> None:
        """Prune the hypotheses, and let those that stay absorb the row."""
        last = np.where(branches.changed, self.rows, self.tracks.last_change[branches.parents])
        tracks = Tracks(normalised(joint), last)
        kept = self.tracker.prune(tracks)
        if len(kept) < len(joint):
            tracks = Tracks(normalised(tracks.log_weight[kept]), last[kept])
            belief, score, curvature = belief.take(kept), score[kept], curvature[kept]
            projection = Projection(projection.mean[kept], projection.covariance[kept], projection.gain[kept])
        self.belief = belief.absorb(x, projection, score, curvature)
        self.tracks, self._ahead = tracks, None
        self.found = self._changes.look(tracks, self.rows) if self.tracker.detects else None


def _check_size(belief: str, prior: WeightPrior) -> None:
    if belief == "full" and prior.mean.size > MOST_WEIGHTS:
        raise SzilardError(
            f"a full belief over {prior.mean.size:,} weights is too large (at most {MOST_WEIGHTS}); "
            'choose belief="diagonal" or fewer features'
        )
