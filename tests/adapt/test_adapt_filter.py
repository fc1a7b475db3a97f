"""The filter as a whole: changes, states, growth."""

from __future__ import annotations

import numpy as np
import pytest

from szilard.adapt import PRESETS, Filter
from szilard.adapt.broadening import EmpiricalBayes, Reset, Temper
from szilard.adapt.observations import Linear, Logistic, Softmax, UnknownNoise
from szilard.adapt.trackers import Always, Bank, Beam, NoChange, RunLength
from szilard.errors import SzilardError


def resets(seed=0, count=600, changes=(200, 430)):
    """Rows whose weights are drawn anew at each change."""
    r = np.random.default_rng(seed)
    x, y, w = r.normal(size=(count, 4)), np.empty(count), r.normal(size=4)
    for t in range(count):
        if t in changes:
            w = r.normal(size=4)
        y[t] = x[t] @ w + 0.2 * r.normal()
    return x, y


@pytest.mark.parametrize(
    ("rule", "tracker"),
    [(Reset(), RunLength(20, 0.01)), (Temper(0.01, 1e-3), Beam(6, 0.01))],
    ids=["bocd", "vbs"],
)
def test_changes_are_found_where_they_are(rule, tracker):
    x, y = resets()
    filter_ = Filter(Linear(0.2), 4, broadening=rule, tracker=tracker)
    found = []
    for row, target in zip(x, y, strict=True):
        filter_.learn(row, target)
        if filter_.found is not None:
            found.append(filter_.found)
    assert len(found) == 2
    for change, true in zip(found, (200, 430), strict=True):
        assert abs(change.row - true) <= 3
        assert change.row <= change.found <= true + 20
        assert 0.9 < change.probability <= 1


def test_no_change_is_found_where_there_is_none():
    x, y = resets(changes=())
    filter_ = Filter(Linear(0.2), 4, broadening=Reset(), tracker=RunLength(20, 0.01))
    found = 0
    for row, target in zip(x, y, strict=True):
        filter_.learn(row, target)
        found += filter_.found is not None
    assert found == 0


def test_the_width_and_the_rate_follow_a_change():
    x, y = resets(changes=(300,))
    filter_ = Filter(Linear(0.2), 4)
    assert filter_.width() == pytest.approx(1)
    rates, widths = [], []
    for row, target in zip(x, y, strict=True):
        filter_.learn(row, target)
        rates.append(filter_.rate())
        widths.append(filter_.width())
    assert np.mean(rates[250:300]) > 0.95 > np.mean(rates[303:310])
    assert max(widths[300:310]) > 2 * widths[299]


@pytest.mark.parametrize("belief", ["full", "diagonal"])
@pytest.mark.parametrize("name", [*PRESETS, "drift"])
def test_a_state_continues_bit_for_bit(name, belief):
    x, y = resets(count=80, changes=(40,))

    def fresh():
        rule, tracker = PRESETS[name].make() if name in PRESETS else (EmpiricalBayes(), Always())
        return Filter(UnknownNoise(), 4, broadening=rule, tracker=tracker, belief=belief)

    whole = fresh()
    evidence = [whole.learn(row, target) for row, target in zip(x, y, strict=True)]
    first = fresh()
    for row, target in zip(x[:50], y[:50], strict=True):
        first.learn(row, target)
    second = fresh()
    second.load_state_dict(first.state_dict())
    assert [second.learn(row, target) for row, target in zip(x[50:], y[50:], strict=True)] == evidence[50:]
    for key, values in whole.state_dict().items():
        np.testing.assert_array_equal(second.state_dict()[key], values)


def test_predicting_changes_nothing():
    x, y = resets(count=60)
    quiet, asked = (Filter(Linear(0.2), 4) for _ in range(2))
    for row, target in zip(x, y, strict=True):
        asked.predict(row)
        asked.predict(row + 1)
        assert quiet.learn(row, target) == asked.learn(row, target)


def test_a_prediction_is_the_density_that_is_returned():
    x, y = resets(count=30)
    filter_ = Filter(Linear(0.2), 4, tracker=NoChange())
    for row, target in zip(x, y, strict=True):
        mean, variance = filter_.predict(row)
        expected = -0.5 * (np.log(2 * np.pi * variance) + (target - mean) ** 2 / variance)
        assert filter_.learn(row, target) == pytest.approx(expected)


@pytest.mark.parametrize("belief", ["full", "diagonal"])
def test_new_features_and_classes_join_at_the_prior(belief):
    r = np.random.default_rng(0)
    filter_ = Filter(Logistic(), 2, belief=belief, prior_scale=2.0)
    for _ in range(20):
        x = r.normal(size=2)
        filter_.learn(x, int(x[0] > 0))
    mean, std = filter_.weights()
    filter_.grow(observation=Softmax(3))
    filter_.grow(features=3)
    grown_mean, grown_std = filter_.weights()
    assert grown_mean.shape == (2, 3)
    np.testing.assert_allclose(grown_mean[0, :2], mean[0])
    np.testing.assert_allclose(grown_std[0, :2], std[0])
    np.testing.assert_array_equal(grown_mean[1], 0)
    np.testing.assert_allclose(grown_std[:, 2], 2.0)
    np.testing.assert_allclose(grown_std[1], 2.0)
    before = filter_.predict(np.array([3.0, 0.0, 0.0]))
    filter_.learn(np.array([3.0, 0.0, 0.0]), 2)
    assert filter_.predict(np.array([3.0, 0.0, 0.0]))[2] > before[2]


def test_damaged_states_are_refused():
    x, y = resets(count=20)
    filter_ = Filter(Linear(0.2), 4, tracker=Bank([1.0, 0.9]))
    for row, target in zip(x, y, strict=True):
        filter_.learn(row, target)
    good = filter_.state_dict()
    for name, value in (
        ("mean", np.zeros((2, 3))),
        ("precision", np.full((2, 4, 4), np.nan)),
        ("last_change", np.zeros(3, dtype=int)),
        ("log_weight", np.array(0.0)),
    ):
        with pytest.raises(SzilardError, match="another filter or damaged"):
            filter_.load_state_dict({**good, name: value})
    with pytest.raises(SzilardError, match="lacks 'precision'"):
        filter_.load_state_dict({name: value for name, value in good.items() if name != "precision"})
    with pytest.raises(SzilardError, match="state of the filter is damaged"):
        filter_.load_state_dict({**good, "precision": -good["precision"]})
    filter_.load_state_dict(good)


def test_a_row_that_is_not_finite_changes_nothing():
    x, y = resets(count=20)
    filter_ = Filter(Linear(0.2), 4)
    for row, target in zip(x, y, strict=True):
        filter_.learn(row, target)
    before = {name: values.copy() for name, values in filter_.state_dict().items()}
    with pytest.raises(SzilardError, match="row 20 has a feature that is not finite"):
        filter_.learn(np.array([np.inf, 0, 0, 0]), 1.0)
    with pytest.raises(SzilardError, match="row 20 has no finite probability"):
        filter_.learn(np.zeros(4), np.nan)
    for name, values in filter_.state_dict().items():
        np.testing.assert_array_equal(values, before[name])
