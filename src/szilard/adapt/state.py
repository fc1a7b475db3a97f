"""What a filter has learned, as arrays, and back with every check that damaged arrays need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from szilard.adapt.beliefs import Belief
from szilard.adapt.trackers import Tracker, Tracks
from szilard.errors import SzilardError

_ROUNDING = 1e-6  # of the sum of probabilities


@dataclass(frozen=True)
class State:
    """Hypotheses of a filter.

    Attributes:
        belief: of K hypotheses.
        tracks: their probabilities and last changes.
        steps: rows or batches that were learned.
        found: step of the last change that was found; -1: none.
    """

    belief: Belief
    tracks: Tracks
    steps: int
    found: int

    def arrays(self, steps: str) -> dict[str, np.ndarray]:
        """Arrays by name; the number of steps is called ``steps``."""
        return {
            "mean": self.belief.mean,
            "precision": self.belief.precision,
            "log_weight": self.tracks.log_weight,
            "last_change": self.tracks.last_change,
            steps: np.array(self.steps),
            "found": np.array(self.found),
            **{f"extra.{name}": values for name, values in self.belief.extra.items()},
        }

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], steps: str, belief: Belief, tracker: Tracker) -> State:
        """The state in arrays.

        Args:
            arrays: of :meth:`arrays`.
            steps: the name of their number of steps.
            belief: of such a filter, whatever it has learned.
            tracker: of the filter.

        Raises:
            SzilardError: they are damaged, or of another filter.
        """
        names = ["mean", "precision", "log_weight", "last_change", steps, "found"]
        extras = {name: f"extra.{name}" for name in belief.extra}
        for name in (*names, *extras.values()):
            if name not in arrays:
                raise SzilardError(
                    f"the state of the filter lacks {name!r}; it is of another filter or damaged"
                )
        values = {name: np.array(arrays[name]) for name in (*names, *extras.values())}
        number = _number(values["log_weight"], tracker)
        wanted = {
            "mean": (number, *belief.mean.shape[1:]),
            "precision": (number, *belief.precision.shape[1:]),
            "last_change": (number,),
            **{extras[name]: (number, *one.shape[1:]) for name, one in belief.extra.items()},
        }
        for name, shape in wanted.items():
            if not number or values[name].shape != shape or not _finite(values[name]):
                raise SzilardError(
                    f"{name!r} in the state of the filter has the shape {list(values[name].shape)} or values that "
                    f"are not finite, but this filter needs {list(shape)}; it is of another filter or damaged"
                )
        extra = {name: values[key] for name, key in extras.items()}
        loaded = belief.changed(mean=values["mean"], precision=values["precision"], extra=extra)
        count, found, last = values[steps], values["found"], values["last_change"]
        whole = (
            all(one.dtype.kind in "iu" for one in (count, found, last)) and count.shape == found.shape == ()
        )
        log_weight = values["log_weight"]
        if (
            not whole
            or not loaded.is_positive()
            or not _finite(log_weight)
            or abs(np.logaddexp.reduce(log_weight)) > _ROUNDING
            or count < 0
            or min(found, last.min()) < -1
            or max(found, last.max()) >= max(count, 1)
        ):
            raise SzilardError("the state of the filter is damaged; start again without it")
        # Not normalised again, so that a filter that continues gives the same bits.
        return cls(loaded, Tracks(log_weight, last.astype(int)), int(count), int(found))


def _number(log_weight: np.ndarray, tracker: Tracker) -> int:
    """Hypotheses, or 0 if the tracker never has as many."""
    number = len(log_weight) if log_weight.ndim == 1 else 0
    most = tracker.most()
    fits = number == len(tracker.start().log_weight) if most is None else number <= most
    return number if fits else 0


def _finite(values: np.ndarray) -> bool:
    return values.dtype.kind in "iuf" and bool(np.isfinite(values).all())
