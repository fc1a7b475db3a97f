"""Semantic segmentation: a class for each pixel, from arrays in a file to predictions in a file."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from cli_tools import szilard

from szilard import data, report
from szilard.data.check import IGNORED
from szilard.errors import SzilardError
from szilard.training import divergence

NETWORK = """
from torch import nn

def build(input_shape=None, n_outputs=None):
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, n_outputs, 1))

def vector(input_shape=None, n_outputs=None):
    return nn.Sequential(nn.Flatten(), nn.Linear(48, n_outputs))
"""


def arrays(n=80):
    x = np.random.default_rng(0).random((n, 3, 4, 4), np.float32)
    y = (x[:, 0] > 0.5).astype(np.int64) + (x[:, 1] > 0.7)
    y[:, 0] = IGNORED
    return x, y


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "n.py").write_text(NETWORK)
    x, y = arrays()
    np.savez("d.npz", x=x, y=y)
    return tmp_path


FIT = ("fit", "--data", "d.npz", "--method", "ssvi", "--out", "run", "--accelerator", "cpu", "--density", 0.5)
OPTIONS = ("--lr", 0.03, "--epochs", 12, "--batch-size", 8, "--samples", 4, "--network", "n.py:build")


def test_from_a_file_to_predictions_for_each_pixel(folder):
    assert szilard(*FIT, *OPTIONS).code == 0
    result = json.loads((folder / "run/ssvi/result.json").read_text())
    assert result["test"]["accuracy"] > 0.6  # the largest class has about 0.5
    assert 0.25 < result["test"]["miou"] <= 1
    assert "diverged" not in result
    np.savez("in.npz", x=arrays()[0][:5])
    assert szilard("predict", "run/ssvi", "in.npz", "--out", "predicted.npz").code == 0
    with np.load("predicted.npz") as predicted:
        assert {name: predicted[name].shape for name in predicted} == dict.fromkeys(
            ("label", "probability", "entropy", "aleatoric", "epistemic"), (5, 4, 4)
        )
    szilard("predict", "run/ssvi", "in.npz").refused("add --out FILE.npz")


def test_networks_and_options_that_do_not_fit_pixels_are_refused(folder):
    szilard(*FIT, "--network", "n.py:vector").refused(r"needs \[B, 3, 4, 4\]", behind="d.npz: ")
    typed = szilard(*FIT, "--network", "n.py:build", "--augment", "crop-flip")
    typed.refused("labels of their pixels", behind="d.npz: ")


@pytest.mark.slow
def test_measured_reported_and_compressed(folder):
    assert szilard(*FIT, *OPTIONS).code == 0
    assert szilard("measure", "run/ssvi").code == 0
    assert report.write(folder / "run").is_file()
    done = szilard("compress", "run/ssvi", "--out", "c.szd", "--lam", 1e-4)
    assert done.code == 0, done.output
    np.savez("in.npz", x=arrays()[0][:5])
    assert szilard("predict", "c.szd", "in.npz", "--out", "again.npz").code == 0
    szilard("compress", "run/ssvi", "--out", "d.szd", "--certificate").refused("a class for each pixel")


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (arrays()[0], arrays()[1][:, :2], "a class for each of"),
        (arrays()[0].reshape(80, 48), arrays()[1], "a class for each of"),
        (arrays()[0], arrays()[1] - 1, "negative label in example 0"),
        (arrays()[0], arrays()[1].astype(float), r"it must be \[N\]"),
        (arrays()[0], arrays()[1][:, :, :, None], r"it must be \[N\]"),
    ],
)
def test_invalid_pixel_labels_are_refused(folder, x, y, words):
    np.savez("d.npz", x=x, y=y)
    with pytest.raises(SzilardError, match=words):
        data.load("d.npz")


def test_a_class_without_a_pixel_and_the_best_constant_prediction(folder):
    x, y = arrays()
    found = data.load("d.npz", seed=1)
    assert found.is_dense
    assert found.n_outputs == 3
    known = found.train.y[found.train.y != IGNORED]
    frequencies = (torch.bincount(known).double() + 1) / (len(known) + 3)
    assert divergence.constant_nll(found, found.train) == pytest.approx(
        float(-frequencies[known].log().mean())
    )
    energy = 12 * divergence.constant_nll(found, found.train)  # 12 labelled pixels per image
    assert divergence.message(found, 2.0, energy - 6, 0.3, "SSVI", 200) is None
    assert "diverged" in str(divergence.message(found, 1.2, energy + 60, 9.0, "SSVI", 200))
    np.savez("d.npz", x=x, y=np.where(y == 1, 3, y))
    with pytest.raises(SzilardError, match="no training example"):
        data.load("d.npz")
