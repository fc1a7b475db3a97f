"""Images of any range: fit, predict, measure and deploy read the same numbers by the same rule."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
import torch
from cli_tools import szilard

from szilard import SzilardError, data, deploy
from szilard.data import image_range
from szilard.training import load_network

LOW, HIGH = -3.0, 5.0


def images(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images ``[n, 6, 6]`` in [0, 1] whose class is the brighter half."""
    draws = np.random.default_rng(seed)
    y = draws.permutation(n) % 2
    x = 0.6 * draws.random((n, 6, 6))
    x[y == 0, :3] += 0.4
    x[y == 1, 3:] += 0.4
    return x.astype(np.float32), y


def wide(x: np.ndarray) -> np.ndarray:
    return (x * (HIGH - LOW) + LOW).astype(np.float32)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wide")
    x, y = images(160)
    np.savez(folder / "wide.npz", x=wide(x), y=y)
    np.savez(folder / "unit.npz", x=x, y=y)
    typed = szilard(
        "fit", "--data", folder / "wide.npz", "--network", "mlp:8", "--density", 1, "--epochs", 12, "--lr", 0.02,
        "--method", "deterministic", "--no-baselines", "--out", folder / "run", "--quiet",
    )  # fmt: skip
    assert typed.code == 0, typed.output
    return folder


def labels(folder, file) -> list[str]:
    typed = szilard("predict", folder / "run", file)
    assert typed.code == 0, typed.output
    return [row["label"] for row in csv.DictReader(io.StringIO(typed.stdout))]


def test_predict_reads_the_numbers_of_fit(run, tmp_path):
    x, y = images(60, seed=1)
    np.savez(tmp_path / "new.npz", x=wide(x))
    right = np.mean(np.array(labels(run, tmp_path / "new.npz")) == y.astype(str))
    assert right > 0.9
    wider = wide(x)
    wider[0, 0, 0], wider[1, 0, 0] = HIGH + 3, LOW - 3  # a little outside is no other unit
    np.savez(tmp_path / "new.npz", x=wider)
    assert len(labels(run, tmp_path / "new.npz")) == 60


def test_measure_and_deploy_do_so_too(run, tmp_path):
    x, y = images(80, seed=2)
    np.savez(tmp_path / "other.npz", x=wide(x), y=y)
    for typed in ((), ("--data", tmp_path / "other.npz")):
        found = json.loads(
            szilard("measure", run / "run" / "deterministic" / "network.pt", *typed, "--json").stdout
        )
        assert found["networks"][0]["quality"]["accuracy"] > 0.9
    saved = load_network(run / "run" / "deterministic" / "network.pt")
    assert saved.image_range == pytest.approx((LOW, HIGH), abs=0.2)
    units = deploy.Units(saved.shift, saved.scale)
    inputs = torch.from_numpy(wide(x))[:, None]
    made = deploy.compile(saved.network, inputs[:2], backend="eager", inputs=units)
    assert (made(inputs).labels.numpy() == y).mean() > 0.9


@pytest.mark.parametrize(
    ("x", "sentence"),
    [
        (
            255 * wide(images(4)[0]),
            r"have values in \[.*\], and the training images have values in \[-",
        ),
        (
            (255 * images(4)[0]).astype(np.uint8),
            "are bytes, which are divided by 255, or numbers from 0 to 1",
        ),
        (np.full((2, 6, 7), np.nan, np.float32), r"shape \[1, 6, 7\], and the network takes \[1, 6, 6\]"),
        (
            np.full((2, 5, 6), 1e9, np.float32),
            r"shape \[1, 5, 6\], and the network takes",
        ),  # shape before range
    ],
)
def test_other_units_are_refused(run, tmp_path, x, sentence):
    np.savez(tmp_path / "new.npz", x=x)
    szilard("predict", run / "run", tmp_path / "new.npz").refused(sentence)


def test_measure_refuses_other_units(run):
    file = run / "run" / "deterministic" / "network.pt"
    szilard("measure", file, "--data", run / "unit.npz").refused(
        "are bytes, which are divided by 255, or numbers"
    )


def test_the_parts_of_a_file_have_the_same_units(tmp_path):
    x, y = images(60)
    bytes_ = (255 * x).astype(np.uint8)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=bytes_, y_test=y)
    assert data.load(str(tmp_path / "a.npz")).image_range == image_range.UNIT
    for train, test in ((bytes_, bytes_.astype(np.float32)), (bytes_.astype(np.float32), bytes_)):
        np.savez(tmp_path / "a.npz", x_train=train, y_train=y, x_test=test, y_test=y)
        with pytest.raises(SzilardError, match=r"images of the test part of .*the training images have"):
            data.load(str(tmp_path / "a.npz"))


def test_images_made_up_and_shown_follow_the_range(tmp_path):
    x, y = images(60)
    np.savez(tmp_path / "wide.npz", x=wide(x), y=y)
    np.savez(tmp_path / "unit.npz", x=x, y=y)
    one, other = (data.load(str(tmp_path / f"{name}.npz")) for name in ("wide", "unit"))
    torch.testing.assert_close(one.train.x, other.train.x, atol=1e-5, rtol=1e-4)
    raw = one.raw(one.ood.x)  # photographs
    assert one.image_range[0] - 1e-3 <= float(raw.min())
    assert float(raw.max()) <= one.image_range[1] + 1e-3
    assert float(raw.max() - raw.min()) > 0.5 * (HIGH - LOW)
    shown = image_range.shown(one.raw(one.train.x), one.image_range)
    assert (float(shown.min()), float(shown.max())) == pytest.approx((0, 1), abs=1e-3)
    torch.testing.assert_close(one.normalise(one.raw(one.test.x)), one.test.x, atol=1e-5, rtol=1e-5)
