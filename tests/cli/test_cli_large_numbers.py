"""Columns with a large shift and a small spread, and targets in very small or large units, keep their digits."""

from __future__ import annotations

import csv
import io
import json
import warnings

import numpy as np
import pytest
import torch
from cli_tools import szilard

from szilard import SzilardWarning, data
from szilard.cli import deployment_summary
from szilard.training import load_network

TIME, FAR = 1.7e9, 1e9  # seconds since 1970; the mean of the target
N = 120


def values() -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(0)
    t = draws.permutation(N) * 0.5
    return t, np.sin(t / 9) + 0.1 * draws.normal(size=N)


def run(folder, name: str, y: np.ndarray, start: float = TIME):
    t, _ = values()
    lines = [f"{start + one!r},{other!r}" for one, other in zip(t.tolist(), y.tolist(), strict=True)]
    (folder / f"{name}.csv").write_text("\n".join(["t,y", *lines]))
    typed = szilard(
        "fit", "--data", folder / f"{name}.csv", "--target", "y", "--network", "mlp:8", "--density", 1, "--epochs", 2,
        "--method", "ssvi", "--no-baselines", "--out", folder / name, "--quiet",
    )  # fmt: skip
    assert typed.code == 0, typed.output
    return folder / name


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    return run(tmp_path_factory.mktemp("runs"), "far", FAR + values()[1])


def columns(text: str) -> dict[str, np.ndarray]:
    rows = list(csv.DictReader(io.StringIO(text)))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


@pytest.mark.parametrize("options", [[], ["--one-pass"]])
def test_predictions_have_the_digits_of_the_data(far, options):
    found = load_network(far / "ssvi" / "network.pt")
    t, y = values()
    x = found.normalise(torch.from_numpy(TIME + t)[:, None])
    assert torch.allclose(x[:, 0].sort().values.diff(), torch.tensor(0.5 / float(found.scale)), rtol=1e-3)
    one_pass = options == ["--one-pass"]
    wanted = (found.method.predict_one_pass if one_pass else found.method.predict)(found.network, x)
    shown = columns(szilard("predict", far, f"{far}.csv", *options).output)
    mean = wanted.mean.double().numpy() * found.target_scale + (found.target_shift - FAR)
    assert np.abs(shown["mean"] - FAR - mean).max() < 2e-5 * found.target_scale
    np.testing.assert_allclose(shown["std"], wanted.variance.sqrt().numpy() * found.target_scale, rtol=1e-3)
    assert abs((found.target_shift - FAR) - y.mean()) < 0.2


def test_arrays_of_the_run_have_them(far):
    arrays = np.load(far / "ssvi" / "arrays.npz")
    kept = data.load(f"{far}.csv", target="y")
    wanted = kept.test.y.double().numpy() * kept.target_scale + (kept.target_shift - FAR)
    assert np.abs(arrays["test_target"] - FAR - wanted).max() < 1e-6


def test_a_compiled_network_says_what_it_rounds(tmp_path, monkeypatch):
    monkeypatch.setattr(deployment_summary, "_BUDGET", 0.05)
    folder = run(tmp_path, "run", FAR + values()[1], start=1e7)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SzilardWarning)
        typed = szilard("deploy", folder, "--backend", "native")
    assert typed.code == 0, typed.output
    text = "\n".join(str(one.message) for one in caught if issubclass(one.category, SzilardWarning))
    assert text.count("input 't' has values near 1e+07 with a deviation of") == 1, text
    assert "where float32 has steps of 1," in text
    assert text.count("target 'y' has values near 1e+09") == 1


def test_inputs_that_a_compiled_network_cannot_tell_apart_are_refused(far):
    typed = szilard("deploy", far, "--backend", "native")
    typed.refused("input 't' has values near 1.7e.09 .* steps of 128, so that a compiled network cannot tell")
    assert "subtract a constant from the column and train again" in " ".join(typed.output.split())


@pytest.mark.parametrize("unit", [1e-24, 1e24])
def test_targets_in_extreme_units(tmp_path, unit):
    folder = run(tmp_path, "run", unit * values()[1], start=0.0)
    shown = columns(szilard("predict", folder, f"{folder}.csv", "--one-pass").output)
    assert (shown["std"] / unit > 0.1).all()
    assert (shown["std"] / unit < 10).all()
    figures = json.loads(szilard("measure", folder, "--json").output)["networks"][0]["quality"]
    assert 0.05 < figures["rmse"] / unit < 5
    typed = szilard("deploy", folder, "--backend", "native")
    assert typed.code == 2
    text = " ".join(typed.output.split())
    assert "target 'y' has a deviation of" in text
    assert "in which it is between 1e-15 and 1e+15" in text
