"""Whether one method is better than another by more than chance, on the same test inputs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from szilard.run.read import MethodRun

if TYPE_CHECKING:
    import numpy as np

CLEARLY = 2.0  #: standard errors of the mean paired difference
_FEWEST = 20  # minimum number of test inputs for a comparison
_LEAST = 1e-7  # minimum probability; probabilities are stored in half precision


def better(figure: str, one: MethodRun, other: MethodRun) -> bool:
    """Whether ``one`` is better in a quality figure by more than two standard errors of the paired differences.

    False if unknown: figures that are not means over inputs (calibration, areas), or different test inputs.
    """
    import numpy as np

    pair = [losses(figure, method) for method in (one, other)]
    if pair[0] is None or pair[1] is None or pair[0].shape != pair[1].shape or len(pair[0]) < _FEWEST:
        return False
    truth = "test_labels" if one.has("test_labels") else "test_target"
    if not np.array_equal(one.arrays[truth], other.arrays[truth]):
        return False
    gain = pair[1] - pair[0]
    return bool(np.isfinite(gain).all() and gain.mean() > CLEARLY * gain.std() / math.sqrt(len(gain)))


def losses(figure: str, method: MethodRun) -> np.ndarray | None:
    """The contribution of each test input to a figure, ``[N]``, lower is better; None if unknown."""
    if figure == "rmse":
        return _squares(method)
    return _of_classes(figure, method) if figure in ("accuracy", "nll", "brier") else None


def _squares(method: MethodRun) -> np.ndarray | None:
    import numpy as np

    if not method.has("test_mean", "test_target"):
        return None
    mean, target = (method.arrays[name] for name in ("test_mean", "test_target"))
    if mean.shape != target.shape or mean.ndim != 1 or not _numbers(mean, target):
        return None
    return np.asarray((mean.astype(float) - target) ** 2)


def _of_classes(figure: str, method: MethodRun) -> np.ndarray | None:
    import numpy as np

    if not method.has("test_mean_probabilities", "test_labels"):
        return None
    p, labels = (method.arrays[name] for name in ("test_mean_probabilities", "test_labels"))
    if p.ndim != 2 or labels.shape != p.shape[:1] or not _numbers(p) or labels.dtype.kind not in "iu":
        return None
    if labels.min() < 0 or labels.max() >= p.shape[1]:
        return None
    p = p.astype(float)
    chosen = p[np.arange(len(p)), labels]
    found = {
        "accuracy": -(p.argmax(1) == labels).astype(float),
        "nll": -np.log(np.maximum(chosen, _LEAST)),
        "brier": (p**2).sum(1) - 2 * chosen + 1,
    }
    return np.asarray(found[figure])


def _numbers(*arrays: np.ndarray) -> bool:
    return all(array.dtype.kind in "iufb" for array in arrays)
