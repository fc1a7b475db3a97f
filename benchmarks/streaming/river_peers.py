"""Models of river as peers: Bayesian linear regression, and classifiers that give probabilities."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

PIP = "pip install 'szilard[river]'"
CLASSIFIERS = (
    "logistic regression",
    "Gaussian naive Bayes",
    "Hoeffding tree",
    "Hoeffding adaptive tree",
    "adaptive random forest",
    "ADWIN bagging",
    "leveraging bagging",
    "streaming random patches",
)
#: Minutes each, for the full benchmark only.
FULL_ONLY = ("ADWIN bagging", "leveraging bagging", "streaming random patches")


def installed() -> bool:
    return importlib.util.find_spec("river") is not None


def classifier(name: str) -> Any:
    """A classifier with river's own settings; ensembles have ten members, all but the forests of Hoeffding trees."""
    from river import ensemble, forest, linear_model, naive_bayes, preprocessing, tree

    makers: dict[str, Callable[[], Any]] = {
        "logistic regression": lambda: preprocessing.StandardScaler() | linear_model.LogisticRegression(),
        "Gaussian naive Bayes": naive_bayes.GaussianNB,
        "Hoeffding tree": tree.HoeffdingTreeClassifier,
        "Hoeffding adaptive tree": lambda: tree.HoeffdingAdaptiveTreeClassifier(seed=0),
        "adaptive random forest": lambda: forest.ARFClassifier(seed=0),
        "ADWIN bagging": lambda: ensemble.ADWINBaggingClassifier(tree.HoeffdingTreeClassifier(), seed=0),
        "leveraging bagging": lambda: ensemble.LeveragingBaggingClassifier(
            tree.HoeffdingTreeClassifier(), seed=0
        ),
        "streaming random patches": lambda: ensemble.SRPClassifier(seed=0),
    }
    return makers[name]()


def log_odds(
    x: np.ndarray, y: np.ndarray, smoothing: float, noise: float
) -> tuple[np.ndarray | None, str | None]:
    """Means of river's Bayesian linear regression before each row, or why there are none.

    Args:
        x: features, ``[N, D]``.
        y: targets, ``[N]``.
        smoothing: 1 never forgets.
        noise: standard deviation of the noise.
    """
    if not installed():
        return None, PIP
    from river import linear_model

    model = linear_model.BayesianLinearRegression(
        alpha=1.0, beta=noise**-2, smoothing=None if smoothing == 1 else smoothing
    )
    means = np.zeros(len(y))
    for place, (values, target) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
        row = dict(enumerate(values))
        try:
            means[place] = model.predict_one(row) if place else 0.0
            model.learn_one(row, target)
        except (np.linalg.LinAlgError, ValueError) as error:
            return None, f"stops at row {place}: {error}"
    return means, None
