"""Learners of classes and of numbers: rows by name, arrays, scales, new classes and features."""

from __future__ import annotations

import math
import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator

from szilard.adapt import OnlineClassifier, OnlineRegressor
from szilard.adapt.broadening import Temper
from szilard.adapt.scaling import LIMIT, Scaler
from szilard.adapt.trackers import Beam
from szilard.errors import SzilardError


def weather(count=200, seed=0):
    r = np.random.default_rng(seed)
    for _ in range(count):
        humidity, wind = 50 + 20 * r.normal(), r.choice(["north", "south"])
        yield {"humidity": humidity, "wind": str(wind)}, bool(humidity + 10 * (wind == "south") > 60)


@pytest.mark.parametrize("learner", [OnlineClassifier(), OnlineRegressor()], ids=["classes", "numbers"])
def test_scikit_learn_accepts_the_learner(learner):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(learner, on_fail=None)
    assert [found["check_name"] for found in results if found["status"] == "failed"] == []
    assert sum(found["status"] == "passed" for found in results) > 30


def test_rows_by_name_are_learned():
    model = OnlineClassifier()
    assert model.predict_one({"humidity": 3.0}) is None
    hits = []
    for x, y in weather():
        hits.append(model.predict_one(x) == y)
        model.learn_one(x, y)
    assert np.mean(hits[50:]) > 0.9
    assert sum(model.predict_proba_one({"humidity": 50.0}).values()) == pytest.approx(1)
    assert list(model.weights()) == ["bias", "humidity", "wind=south", "wind=north"]
    assert model.outputs() == ["False against True"]
    mean, std = model.weights()["humidity"][0]
    assert -mean > 3 * std > 0


def test_rows_by_name_and_arrays_are_the_same():
    r = np.random.default_rng(0)
    X, y = 5 + 3 * r.normal(size=(60, 2)), r.integers(0, 2, 60)
    arrays, names = OnlineClassifier("vbs"), OnlineClassifier("vbs")
    arrays.partial_fit(X, y)
    for row, label in zip(X.tolist(), y.tolist(), strict=True):
        names.learn_one({"a": row[0], "b": row[1]}, label)
    found = names.predict_proba_one({"a": 4.0, "b": 6.0})
    np.testing.assert_allclose(arrays.predict_proba([[4.0, 6.0]])[0], [found[0], found[1]], rtol=1e-9)
    with pytest.raises(SzilardError, match="has learned arrays; give it arrays"):
        arrays.learn_one({"a": 1.0}, 0)
    with pytest.raises(SzilardError, match="has learned rows with names; give it dicts"):
        names.partial_fit(X, y)


def test_the_probability_of_a_row_is_the_one_predicted():
    model = OnlineClassifier()
    for number, (x, y) in enumerate(weather(60)):
        predicted = model.predict_proba_one(x)
        model.learn_one(x, y)
        if y in predicted:
            expected = math.log(predicted[y])
            assert model.log_probability_ == pytest.approx(expected, abs=1e-9), number
        else:
            assert math.isnan(model.log_probability_)


def test_a_new_class_joins():
    r = np.random.default_rng(1)
    model = OnlineClassifier()
    for _ in range(80):
        x = r.normal(size=2)
        model.learn_one({"a": x[0], "b": x[1]}, "left" if x[0] < 0 else "right")
    assert model.classes_.tolist() == ["left", "right"]
    for _ in range(80):
        x = r.normal(size=2)
        label = "top" if x[1] > 1 else "left" if x[0] < 0 else "right"
        model.learn_one({"a": x[0], "b": x[1]}, label)
    assert model.classes_.tolist() == ["left", "right", "top"]
    assert model.predict_one({"a": 0.0, "b": 2.5}) == "top"
    assert model.predict_one({"a": -2.0, "b": -1.0}) == "left"


def test_partial_fit_in_parts_is_partial_fit_at_once():
    r = np.random.default_rng(2)
    X, y = r.normal(size=(40, 3)), r.choice(["x", "y", "z"], 40)
    whole, parts = OnlineClassifier(), OnlineClassifier()
    whole.partial_fit(X, y, classes=["x", "y", "z"])
    parts.partial_fit(X[:7], y[:7], classes=["x", "y", "z"]).partial_fit(X[7:], y[7:])
    np.testing.assert_array_equal(whole.predict_proba(X), parts.predict_proba(X))
    assert whole.predict(X[:2]).dtype == y.dtype


def test_numbers_in_their_own_units():
    r = np.random.default_rng(3)
    model = OnlineRegressor()
    densities, errors = [], []
    for _ in range(400):
        a = 300 + 5 * r.normal()
        y = 1e6 + 2000 * (a - 300) + 500 * r.normal()
        mean, std = model.moments_one({"a": a})
        model.learn_one({"a": a}, y)
        if not math.isnan(model.log_probability_):
            densities.append(model.log_probability_)
            errors.append((y - mean) / std)
    assert len(densities) == 370
    ideal = -0.5 * math.log(2 * math.pi * 500**2) - 0.5
    assert ideal - 0.15 < np.mean(densities[100:]) < ideal + 0.1
    assert 0.8 < np.std(errors[100:]) < 1.2


def test_intervals_hold_what_they_promise():
    r = np.random.default_rng(5)
    model = OnlineRegressor()
    inside = []
    for i in range(1200):
        a = r.normal()
        y = 50 + (3 if i < 600 else -3) * a + r.normal()
        low, high = model.interval_one({"a": a}, 0.8)
        if not math.isnan(low):
            inside.append(low < y < high)
        model.learn_one({"a": a}, y)
    assert 0.77 < np.mean(inside) < 0.85


def test_known_noise_is_in_the_units_of_the_target():
    r = np.random.default_rng(4)
    X = r.normal(size=(200, 1))
    y = 100 + 30 * X[:, 0] + 2 * r.normal(size=200)
    model = OnlineRegressor("vcl", noise=2.0, prior_scale=10).fit(X, y)
    mean, std = model.predict([[0.0], [1.0]], return_std=True)
    np.testing.assert_allclose(mean, [100, 130], atol=1.5)
    np.testing.assert_allclose(std, 2.0, rtol=0.05)


def test_a_constant_target_has_no_scale_yet():
    model = OnlineRegressor()
    for _ in range(50):
        model.learn_one({"a": 1.0}, 7.0)
    assert model.moments_one({"a": 1.0}) == (7.0, 0.0)
    assert math.isnan(model.log_probability_)


@pytest.mark.parametrize("make", [OnlineClassifier, OnlineRegressor], ids=["classes", "numbers"])
@pytest.mark.parametrize("stop", [1, 12, 45])
def test_a_state_continues_bit_for_bit(make, stop, tmp_path):
    rows = list(weather(60))
    rows[20:] = [({**x, "late": float(i)}, y) for i, (x, y) in enumerate(rows[20:])]
    rows = [(x, ("dry", "wet", "storm")[(i % 7 == 0) + y]) for i, (x, y) in enumerate(rows)]
    if make is OnlineRegressor:
        rows = [(x, x["humidity"]) for x, _ in rows]
    whole, first = make(), make()
    for x, y in rows:
        whole.learn_one(x, y)
    for x, y in rows[:stop]:
        first.learn_one(x, y)
    np.savez(tmp_path / "state.npz", **first.state_dict())
    with np.load(tmp_path / "state.npz", allow_pickle=False) as state:
        second = make().load_state_dict(dict(state))
    for x, y in rows[stop:]:
        second.learn_one(x, y)
    for name, values in whole.state_dict().items():
        np.testing.assert_array_equal(second.state_dict()[name], values)
    assert second.predict_one(rows[0][0]) == whole.predict_one(rows[0][0])


def test_damaged_states_are_refused():
    model = OnlineClassifier().learn_one({"a": 1.0}, 0).learn_one({"a": 2.0}, 1)
    good = model.state_dict()
    for name, value in (
        ("plain", np.array("{")),
        ("plain", np.array('{"labels": 3}')),
        ("scaler.mean", np.zeros(4)),
        ("filter.mean", np.zeros((1, 9))),
    ):
        with pytest.raises(SzilardError, match="damaged"):
            OnlineClassifier().load_state_dict({**good, name: value})
    with pytest.raises(SzilardError, match="damaged"):
        OnlineClassifier().load_state_dict({})


def test_copies_are_independent():
    model = OnlineClassifier(broadening=Temper(0.9), tracker=Beam(2, 0.1))
    for x, y in weather(30):
        model.learn_one(x, y)
    copy = pickle.loads(pickle.dumps(model))
    copy.learn_one({"humidity": 1.0, "wind": "south"}, True)
    assert copy.predict_proba_one({"humidity": 60.0}) != model.predict_proba_one({"humidity": 60.0})
    fresh = clone(model)
    assert not hasattr(fresh, "filter_")


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ({"a": math.inf}, 1, "feature 'a' is inf, not a finite number"),
        ({"a": "text"}, 1, "feature 'a' was a number and is now 'text'"),
        ({"a": [1]}, 1, r"feature 'a' is \[1\], not a number or a text"),
        ({"a": 1.0}, None, "the class of a row is None"),
        ({"a": 1.0}, math.nan, "the class of a row is nan"),
        ([1.0], 1, "a row must be a dict of features, not list"),
    ],
)
def test_rows_that_cannot_be_learned_change_nothing(x, y, message):
    model = OnlineClassifier()
    for one, label in (({"a": 1.0}, 0), ({"a": 2.0}, 1)):
        model.learn_one(one, label)
    before = model.state_dict()
    with pytest.raises(SzilardError, match=message):
        model.learn_one(x, y)
    for name, values in model.state_dict().items():
        np.testing.assert_array_equal(values, before[name])


def test_a_refused_row_adds_no_column():
    for make in (OnlineClassifier, OnlineRegressor):
        model = make()
        for i in range(40):
            model.learn_one({"a": i % 3 + 0.0}, i % 2)
        before, state = model.predict_one({"a": 1.0}), model.state_dict()
        for bad in ({"a": 1.0, "b": 2.0, "c": math.inf}, {"a": 1.0, "d": "new", "c": 1e200}):
            with pytest.raises(SzilardError, match="feature 'c' is"):
                model.learn_one(bad, 1)
        assert model.predict_one({"a": 1.0}) == before
        for name, values in model.state_dict().items():
            np.testing.assert_array_equal(values, state[name])


def test_a_feature_can_be_called_bias():
    model = OnlineClassifier("vcl")
    for i in range(4):
        model.learn_one({"bias": i % 3 + 0.0, "a": 1.0}, i % 2)
    assert list(model.weights()) == ["(bias)", "bias", "a"]


def test_labels_of_two_types_and_classes_that_are_not_given():
    model = OnlineClassifier().learn_one({"a": 1.0}, 1)
    with pytest.raises(SzilardError, match="classes 1 and True are equal in Python"):
        model.learn_one({"a": 0.0}, True)
    with pytest.raises(SzilardError, match="y has the class 1, which is not in classes"):
        OnlineClassifier().partial_fit([[0.0], [1.0]], [0, 1], classes=[0])


def test_states_of_other_learners_are_named():
    bank = OnlineClassifier().learn_one({"a": 1.0}, 0).state_dict()
    with pytest.raises(
        SzilardError, match=r"the state is of OnlineClassifier with temper\(floor=1, rate=0.98\), bank"
    ):
        OnlineClassifier("vcl").load_state_dict(bank)
    with pytest.raises(SzilardError, match="this is OnlineRegressor with"):
        OnlineRegressor().load_state_dict(bank)


@pytest.mark.parametrize("target", [1e200, -1e200])
def test_targets_that_are_too_large(target):
    with pytest.raises(SzilardError, match=r"numbers of a stream are at most 1e\+100"):
        OnlineRegressor().learn_one({"a": 1.0}, target)


@pytest.mark.parametrize("level", [0.0, 1.0, 1.5])
def test_levels_that_are_none(level):
    with pytest.raises(SzilardError, match=f"level must be between 0 and 1, exclusive, not {level:g}"):
        OnlineRegressor().interval_one({"a": 1.0}, level)


@pytest.mark.parametrize("target", [None, "high", math.inf])
def test_targets_that_are_no_numbers(target):
    with pytest.raises(SzilardError, match=r"the target of a row is .*, not a finite number"):
        OnlineRegressor().learn_one({"a": 1.0}, target)


def test_missing_features_are_their_mean():
    model = OnlineClassifier()
    for x, y in weather():
        model.learn_one(x, y)
    mean = float(model.scaler_.center[0])
    given = model.predict_proba_one({"humidity": mean, "wind": "south"})
    assert model.predict_proba_one({"humidity": None, "wind": "south"}) == given
    assert model.predict_proba_one({"wind": "south", "unknown": 3.0}) == given
    assert model.predict_proba_one({"humidity": math.nan, "wind": "south"}) == given


def test_unknown_presets_and_too_many_texts():
    with pytest.raises(SzilardError, match="unknown preset 'best': choose bank, vcl"):
        OnlineClassifier("best").learn_one({"a": 1.0}, 0)
    model = OnlineClassifier(belief="diagonal")
    for i in range(100):
        model.learn_one({"a": f"text {i}"}, 0)
    with pytest.raises(SzilardError, match="more than 100 different texts"):
        model.learn_one({"a": "one more"}, 0)


def test_standardising_uses_the_rows_before():
    scaler = Scaler(2)
    r = np.random.default_rng(0)
    values = np.column_stack((100 + 5 * r.normal(size=400), np.full(400, 3.0)))
    for i, row in enumerate(values):
        found = scaler(row)
        past = values[:i, 0]
        assert found[1] == 0
        if i < 2:
            assert found[0] == 0
        else:
            expected = np.clip((row[0] - past.mean()) / past.std(), -LIMIT, LIMIT)
            tolerance = 1e-9 if i <= 30 else 0.06 + 0.06 * abs(expected)
            assert found[0] == pytest.approx(expected, abs=tolerance)
        scaler.learn(row)
        scaler.follow()


def test_units_change_rarely_and_say_how():
    scaler = Scaler(1)
    r = np.random.default_rng(1)
    changes = 0
    for i in range(1000):
        scaler.learn(r.normal(size=1) * (1 if i < 500 else 3))
        old = scaler.center.copy(), scaler.scale.copy()
        moved = scaler.follow()
        if moved is not None:
            changes += 1
            ratio, shift = moved
            new_value = np.array([1.7])
            raw = scaler.center + scaler.scale * new_value
            np.testing.assert_allclose((raw - old[0]) / old[1], ratio * new_value + shift)
    assert 5 < changes < 50


def test_a_broken_sensor_is_cut():
    scaler, clean = Scaler(1), Scaler(1)
    for value in np.random.default_rng(0).normal(size=100):
        for one in (scaler, clean):
            one.learn(np.array([value]))
            one.follow()
    assert scaler(np.array([1e9]))[0] == LIMIT
    scaler.learn(np.array([1e9]))
    assert scaler.std()[0] < 2 * clean.std()[0]
    scaler.learn(np.array([np.nan]))
    assert scaler.count[0] == 101


def test_without_forgetting_the_order_of_units_does_not_matter():
    """Units follow mean and deviation, and the belief is carried, so that the result is that of fixed units."""
    r = np.random.default_rng(7)
    X = np.column_stack((r.normal(size=400), np.linspace(0, 9, 400) + r.normal(size=400)))
    y = X @ np.array([2.0, -1.0]) + 0.1 * r.normal(size=400)
    model = OnlineRegressor("vcl", noise=0.1, prior_scale=1e3).fit(X, y)
    exact = np.linalg.lstsq(np.column_stack((np.ones(400), X)), y, rcond=None)[0]
    np.testing.assert_allclose(model.predict(X[-5:]), exact[0] + X[-5:] @ exact[1:], atol=0.02)
