"""The learners in river."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("river", reason="pip install 'szilard[river]'")

from river import checks, compose, linear_model, metrics, preprocessing

from szilard.adapt.river import RiverClassifier, RiverRegressor

LONG = {"check_bounded_memory_growth", "check_shuffle_features_no_impact"}  # seconds each
MODELS = {
    "classifier": RiverClassifier("temper"),
    "regressor": RiverRegressor("temper"),
}


def name(check):
    return getattr(check, "__name__", None) or check.func.__name__


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_river_accepts_the_learner(model):
    seen = set()
    for check in checks.yield_checks(model):  # on several data sets; the first is enough here
        if name(check) not in LONG | seen:
            check(model.clone())
            seen.add(name(check))
    assert len(seen) > 20


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", [RiverClassifier(), RiverRegressor(), RiverClassifier("vbs"), RiverRegressor("bocd")]
)
def test_river_accepts_every_learner(model):
    checks.check_estimator(model)


def test_the_classifier_stands_in_a_pipeline():
    r = np.random.default_rng(0)
    model = compose.Select("a", "b") | preprocessing.MinMaxScaler() | RiverClassifier()
    accuracy = metrics.Accuracy()
    for _ in range(150):
        x = {"a": float(r.normal()), "b": float(r.normal()), "c": "unused"}
        y = x["a"] > x["b"]
        accuracy.update(y, model.predict_one(x))
        model.learn_one(x, y)
    assert accuracy.get() > 0.8


def test_regression_agrees_with_river_where_nothing_is_forgotten():
    r = np.random.default_rng(1)
    ours = RiverRegressor("vcl", noise=0.5, prior_scale=2.0, standardise=False)
    theirs = linear_model.BayesianLinearRegression(alpha=0.25, beta=4.0)
    for _ in range(60):
        x = {"a": float(r.normal()), "b": float(r.normal())}
        y = 2 * x["a"] - x["b"] + 0.5 * float(r.normal())
        if theirs._n:
            assert ours.predict_one(x) == pytest.approx(theirs.predict_one({**x, "bias": 1.0}), abs=1e-9)
        ours.learn_one(x, y)
        theirs.learn_one({**x, "bias": 1.0}, y)


def test_without_river_the_error_says_what_to_install():
    code = "import sys; sys.modules['river'] = None\nimport szilard.adapt.river"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "SzilardError: szilard.adapt.river needs river; install it with: pip install" in found.stderr
