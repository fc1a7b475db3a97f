"""The parts of a stream: controls, persistence, scores, the change log; and the state of a filter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import brentq
from scipy.special import expit

from szilard import SzilardError
from szilard.adapt import PRESETS, Filter
from szilard.adapt.observations import Logistic, Softmax, UnknownNoise, logistic
from szilard.adapt.streaming.change_log import ChangeLog
from szilard.adapt.streaming.controls import NAMES, Controls
from szilard.adapt.streaming.persistence import LastLabel, LastNumber
from szilard.adapt.streaming.scores import WINDOW, Scores
from szilard.adapt.streaming.settings import StreamSettings, read
from szilard.adapt.streaming.trace import MOST_BLOCKS, Trace
from szilard.report.stream_plots import StreamTrace, _memory, plots


def rows(count, features=3, *, seed=0):
    draws = np.random.default_rng(seed)
    x = np.hstack((np.ones((count, 1)), draws.normal(size=(count, features - 1))))
    return x, x @ draws.normal(size=features) + 0.3 * draws.normal(size=count)


def filter_of(name, observation, features=3, belief="full"):
    rule, tracker = PRESETS[name].make()
    return Filter(observation, features, broadening=rule, tracker=tracker, belief=belief)


@pytest.mark.parametrize("belief", ["full", "diagonal"])
@pytest.mark.parametrize(
    ("observation", "target"),
    [
        (Logistic, lambda y: int(y > 0)),
        (lambda: Softmax(3), lambda y: int(abs(y)) % 3),
        (UnknownNoise, float),
    ],
)
def test_controls_are_the_filters_of_the_same_names(belief, observation, target):
    together = Controls(observation(), 3, names=NAMES, belief=belief)
    alone = [filter_of(name, observation(), belief=belief) for name in NAMES]
    for x, y in zip(*rows(40), strict=True):
        for mine, one in zip(together.predict_each(x), alone, strict=True):
            np.testing.assert_allclose(mine, one.predict(x), rtol=1e-9)
        found = together.learn_each(x, target(y))
        np.testing.assert_allclose(found, [one.learn(x, target(y)) for one in alone], rtol=1e-9)


def test_controls_grow_like_a_filter():
    together, alone = Controls(Logistic(), 2, names=["vcl"]), filter_of("vcl", Logistic(), 2)
    for number, (x, y) in enumerate(zip(*rows(30), strict=True)):
        if number == 15:
            for one in (together, alone):
                one.grow(features=3, observation=Softmax(3))
        features, label = x[: together.features], int(y > 0) + (number > 20)
        found = together.learn_each(features, label)
        np.testing.assert_allclose(found, [alone.learn(features, label)], rtol=1e-9)


def test_the_last_label_is_predicted_by_past_transitions():
    copy = LastLabel()
    assert copy.predict().size == 0
    for label in (0, 1, 1, 1, 0, 1):
        copy.learn(label)
    # After 1: twice 1, once 0, and half a count for each of two classes.
    np.testing.assert_allclose(copy.predict(), [1.5 / 4, 2.5 / 4])
    copy.learn(2)
    np.testing.assert_allclose(copy.predict(), [1 / 3, 1 / 3, 1 / 3])


@given(st.lists(st.floats(-5, 5), min_size=4, max_size=20))
def test_the_last_number_is_a_students_t(targets):
    copy = LastNumber()
    for target in targets[:3]:
        copy.learn(target)
    copy.start(2.0)
    for target in targets[3:-1]:
        copy.learn(target)
    squares = np.square(np.diff(targets[:-1])).sum()
    shape, rate = 0.5 * len(targets[:-1]), 0.5 * (4 + squares)
    wanted = stats.t(2 * shape, targets[-2], np.sqrt(rate / shape)).logpdf(targets[-1])
    assert copy.log_density(targets[-1]) == pytest.approx(wanted)


def test_scores_over_all_rows_and_the_last_thousand():
    draws = np.random.default_rng(0)
    logs, errors = -draws.exponential(size=(WINDOW + 300, 2)), draws.normal(size=(WINDOW + 300, 2))
    scores = Scores(2)
    for one, error in zip(logs, errors, strict=True):
        scores.add(one, error)
    first, _ = scores.figures(of_numbers=True)
    assert first["nll"] == pytest.approx(-logs[:, 0].mean())
    assert first["nll_recent"] == pytest.approx(-logs[-WINDOW:, 0].mean())
    assert first["rmse"] == pytest.approx(np.sqrt((errors[:, 0] ** 2).mean()))
    assert first["rmse_recent"] == pytest.approx(np.sqrt((errors[-WINDOW:, 0] ** 2).mean()))
    assert first["mae"] == pytest.approx(np.abs(errors[:, 0]).mean())


@given(st.integers(1, 5 * MOST_BLOCKS))
def test_a_trace_keeps_its_sums_in_few_blocks(count):
    trace = Trace(1)
    for row in range(1, count + 1):
        logs = np.array([np.nan if row % 7 == 0 else -float(row)])
        if trace.add(logs, np.array([1.0])):
            trace.close(row, width=float(row), rate=1.0, age=0.0)
    found = trace.arrays()
    assert len(found["end"]) < MOST_BLOCKS
    np.testing.assert_array_equal(np.diff(found["end"]), trace.size)
    inside = [row for row in range(1, count + 1 - trace.rows) if row % 7]
    assert found["scored"].sum() == len(inside)
    assert found["nll"].sum() == pytest.approx(sum(inside))
    np.testing.assert_array_equal(found["width"], found["end"])


def test_the_change_log_counts_rows_that_were_not_learned():
    log = ChangeLog(filter_of("bocd", Logistic()))
    for learned in (0, 5, 5):  # one before the first learned row, two before the sixth
        log.skip(learned)
    assert [log._row_of(learned) for learned in (0, 4, 5, 6)] == [2, 6, 9, 10]


def test_the_first_leader_is_twice_as_probable_as_the_mean():
    log, bank = ChangeLog(filter_of("bank", Logistic())), filter_of("bank", Logistic())
    assert log.look(bank, 1, 2) is None  # all rates are equal
    bank.tracks = type(bank.tracks)(np.log(np.array([0.4, 0.3, *[0.0375] * 8])), bank.tracks.last_change)
    row, line, rate, probability = log.look(bank, 2, 3)
    assert (row, line, rate) == (2, 3, 1.0)
    assert probability == pytest.approx(0.4)
    bank.tracks = type(bank.tracks)(np.log(np.array([0.3, 0.4, *[0.0375] * 8])), bank.tracks.last_change)
    assert log.look(bank, 3, 4) is None  # not far enough ahead


def test_memory_is_at_most_all_rows():
    """Before the first scored row the rate is 1, but for rounding, and nothing is remembered."""
    one = 1 - 2e-16
    trace = StreamTrace(
        ["bank"], True, np.arange(1.0, 7), np.array([0, 0, 1, 1, 1, 1.0]), *np.zeros((2, 6, 1)), np.ones(6),
        np.array([one, one, one, 0.9, 0.5, 1]), np.zeros(6), [], 1, False,
    )  # fmt: skip
    np.testing.assert_allclose(_memory(trace), [np.nan, np.nan, 3, 4, 2, 6])
    assert _memory(replace(trace, rate=np.array([0.5, 0.7, one, 1, 1, one]))) is None
    _, small = plots(trace)
    assert "Memory" in [plot.title for plot in small]


# --- the filter


@pytest.mark.parametrize("name", PRESETS)
def test_a_filter_continues_bit_for_bit(name):
    x, y = rows(60)
    whole, first = filter_of(name, UnknownNoise()), filter_of(name, UnknownNoise())
    for one, target in zip(x[:30], y[:30], strict=True):
        whole.learn(one, target)
        first.learn(one, target)
    second = filter_of(name, UnknownNoise())
    second.load_state_dict(first.state_dict())
    for one, target in zip(x[30:], y[30:], strict=True):
        assert second.learn(one, target) == whole.learn(one, target)
    for key, values in whole.state_dict().items():
        np.testing.assert_array_equal(second.state_dict()[key], values)


@pytest.mark.parametrize("belief", ["full", "diagonal"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("precision", lambda old: -old),
        ("log_weight", lambda old: np.full_like(old, -np.inf)),
        ("log_weight", lambda old: old + 1),
        ("log_weight", lambda old: old[:3]),
        ("last_change", lambda old: old + 100),
        ("last_change", lambda old: old.astype(float)),
        ("rows", lambda old: np.array(-1)),
        ("rows", lambda old: np.array([5])),
        ("found", lambda old: np.array(-7)),
        ("extra.noise", lambda old: -old),
        ("mean", lambda old: old.astype(str)),
        ("mean", lambda old: old * np.nan),
    ],
)
def test_a_damaged_filter_is_refused_and_stays_as_it_is(belief, name, value):
    one = filter_of("bank", UnknownNoise(), belief=belief)
    for x, y in zip(*rows(5), strict=True):
        one.learn(x, y)
    state = one.state_dict()
    with pytest.raises(SzilardError, match="damaged"):
        one.load_state_dict({**state, name: value(state[name])})
    for key, values in one.state_dict().items():
        np.testing.assert_array_equal(values, state[key])


def test_to_learn_a_row_that_was_predicted_changes_nothing():
    one, other = filter_of("bank", Logistic()), filter_of("bank", Logistic())
    for x, y in zip(*rows(20), strict=True):
        changing = x.copy()
        one.predict(changing)
        changing += 1  # the filter must not remember the caller's array
        one.predict(changing)
        assert one.learn(x, int(y > 0)) == other.learn(x, int(y > 0))


def test_the_mode_is_found_for_all_hypotheses_in_few_steps(monkeypatch):
    """Hypotheses whose mode is found must stay there while others go on."""
    monkeypatch.setattr(logistic, "_STEPS", 25)
    draws = np.random.default_rng(0)
    for target in (0, 1):
        mean, variance = draws.normal(0, 4, 50), np.exp(draws.uniform(-6, 9, 50))
        found = logistic.posterior_mode(mean, variance, target)
        for m, v, mode in zip(mean, variance, found, strict=True):

            def excess(b, m=m, v=v, target=target):
                return b - m - v * (target - expit(b))

            assert mode == pytest.approx(brentq(excess, m - v, m + v, xtol=1e-13), abs=1e-8)


# --- settings


def test_settings_are_read_as_they_were_written(tmp_path):
    settings = StreamSettings("y", method="temper", rate=1.0, ignore=["a", "b"], strict=True)
    path = tmp_path / "stream.toml"
    path.write_text(settings.to_toml())
    assert read(path) == settings
    path.write_text(settings.to_toml().replace("1.0", "1"))
    assert read(path) == settings


@pytest.mark.parametrize(
    "content",
    [
        "",
        "target = 3",
        'target = "y"\nrate = nan',
        'target = "y"\nextra = 1',
        'target = "y"\nignore = [1]',
        "[[",
        "\udcff",
    ],
)
def test_damaged_settings_are_refused(tmp_path, content):
    path = tmp_path / "stream.toml"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(SzilardError, match=r"stream\.toml"):
        read(path)
