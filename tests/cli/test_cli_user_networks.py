"""A user's trained weights on the command line: every kind of output and label, in the units of the user's data."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
import torch
from cli_tools import szilard
from torch import nn
from user_networks import BUILDS, measured, network_arguments, write_networks

import szilard as package


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("user")
    write_networks(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "figure", "least"),
    [
        ("yes", "accuracy", 0.95), ("sigmoid", "accuracy", 0.95), ("softmax", "accuracy", 0.93),
        ("named", "accuracy", 0.93), ("tokens", "accuracy", 0.9), ("steps", "accuracy", 0.9),
        ("labels", "accuracy_by_label", 0.95), ("several", "r2", 0.97),
    ],
)  # fmt: skip
def test_measure(folder, name, figure, least):
    quality = measured(*network_arguments(folder, name), "--data", folder / f"{name}.npz")
    assert quality[figure] > least
    if name == "softmax":  # no second softmax is applied
        assert quality["nll"] < 0.3


@pytest.mark.parametrize("name", ["price", "flat"])
def test_regression_in_the_units_of_the_data(folder, name):
    quality = measured(*network_arguments(folder, name), "--data", folder / f"{name}.npz")
    assert quality["rmse"] < 8  # the targets have a standard deviation of about 40
    typed = szilard(
        "predict", folder / f"{name}.pt", folder / f"{name}.npz", *network_arguments(folder, name)[1:], "--data",
        folder / f"{name}.npz", "--json",
    )  # fmt: skip
    rows = json.loads(typed.stdout)["predictions"]
    truth = np.load(folder / f"{name}.npz")["y"]
    error = np.array([row["mean"] for row in rows]) - truth
    assert np.sqrt(np.mean(error**2)) < 8
    assert rows[0]["std"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=0.5)


def test_predictions_from_a_table(folder):
    path, *network = network_arguments(folder, "price")
    new = folder / "new.csv"
    lines = (folder / "price.csv").read_text().splitlines()
    new.write_text(
        "\n".join([lines[0].rpartition(",")[0], *(line.rpartition(",")[0] for line in lines[1:4])])
    )
    typed = szilard(
        "predict",
        path,
        new,
        *network,
        "--data",
        folder / "price.csv",
        "--target",
        "t0",
        "-o",
        folder / "o.csv",
    )
    assert typed.code == 0, typed.output
    found = list(csv.DictReader(io.StringIO((folder / "o.csv").read_text())))
    for row, line in zip(found, lines[1:4], strict=True):
        assert float(row["mean"]) == pytest.approx(float(line.rpartition(",")[2]), abs=25)
    # Without labelled data the units are unknown: a message says so, and inputs are used unchanged.
    typed = szilard("predict", path, new, *network)
    assert typed.code == 0, typed.output
    assert "inputs are taken as they are" in typed.output
    assert "outputs are read as regression" in typed.output


@pytest.mark.parametrize("name", sorted(BUILDS))
def test_compress_and_use_the_file(folder, name, tmp_path):
    path, *network = network_arguments(folder, name)
    out = tmp_path / "o.szd"
    typed = szilard(
        "compress", path, *network, "--data", folder / f"{name}.npz", "--lam", "1e-6", "-o", out, "--json"
    )
    assert typed.code == 0, typed.output
    made = json.loads(typed.stdout)
    assert "judged by" in made["task"]
    assert "evaluate" not in typed.output
    assert made["test_after"] > made["test_before"] - 0.03
    assert len(package.load(out)) == len(torch.load(path))
    # The file alone is enough for the other commands.
    quality = measured(out, "--data", folder / f"{name}.npz")
    figure = next(key for key in ("accuracy", "accuracy_by_label", "r2", "rmse") if key in quality)
    if figure != "rmse":
        assert quality[figure] == pytest.approx(made["test_after"], abs=1e-6)
    typed = szilard("predict", out, folder / f"{name}.npz", "--json")
    assert typed.code == 0, typed.output
    assert "as they are in" not in typed.output  # the file stores the units
    rows = json.loads(typed.stdout)["predictions"]
    truth = np.load(folder / f"{name}.npz")["y"]
    assert len(rows) == len(truth)
    if "label" in rows[0]:
        right = [row["label"] == str(y) for row, y in zip(rows, truth, strict=True)]
        assert np.mean(right) > 0.85
    elif "mean" in rows[0]:
        assert np.corrcoef([row["mean"] for row in rows], truth)[0, 1] > 0.97
    else:
        outputs = np.array([list(row.values()) for row in rows])
        if name == "several":
            assert np.abs(outputs - truth).mean() < 0.2 * np.abs(truth).mean()
        else:
            assert np.mean((outputs > 0.5) == truth) > 0.9


def test_multilabel_targets_by_column_name(folder):
    path, *network = network_arguments(folder, "labels")
    data = ["--data", folder / "labels.csv", "--target", "t0,t1,t2"]
    assert measured(path, *network, *data)["accuracy_by_label"] > 0.95
    typed = szilard("predict", path, folder / "labels.npz", *network, *data)
    assert "t0,t1,t2" in typed.output
    szilard("measure", path, *network, "--data", folder / "labels.csv", "--target", "t0,tt").refused(
        "no column 'tt'"
    )


def test_a_table_with_two_classes_and_one_logit(folder):
    path, *network = network_arguments(folder, "yes")
    assert measured(path, *network, "--data", folder / "yes.csv", "--target", "t0")["accuracy"] > 0.95


def test_the_task_option(folder):
    path, *network = network_arguments(folder, "labels")
    found = ["--data", folder / "labels.npz", "--lam", "1e-5", "-o", folder / "t.szd"]
    typed = szilard("compress", path, *network, *found, "--task", "multilabel")
    assert "multilabel, judged by accuracy by label on valid (as --task says)" in typed.output
    typed = szilard("compress", path, *network, *found, "--task", "embedding", "--json")
    assert typed.code == 0, typed.output
    assert "cosine" in typed.output


def test_a_file_compressed_without_data_describes_its_network(folder, tmp_path):
    path, *network = network_arguments(folder, "named")
    out = tmp_path / "nd.szd"
    assert szilard("compress", path, *network, "--no-data", "-o", out, "-q").code == 0
    assert measured(out, "--data", folder / "named.npz")["accuracy"] > 0.9
    again = szilard("compress", out, "--no-data", "-o", tmp_path / "again.szd", "-q")
    assert again.code == 0, again.output
    szilard("compress", path, *network, "--no-data", "--data", folder / "named.npz").refused(
        "--data and --no-data contradict each other"
    )


def test_code_signed_with_another_key_is_not_run(folder, tmp_path, monkeypatch):
    path, *network = network_arguments(folder, "named")
    out = tmp_path / "nd.szd"
    assert szilard("compress", path, *network, "--no-data", "-o", out, "-q").code == 0
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("HOME", str(tmp_path / "elsewhere"))
    szilard("measure", out, "--data", folder / "named.npz").refused("add --trust if you trust it")
    assert szilard("measure", out, "--data", folder / "named.npz", "--trust").code == 0


def test_invalid_metadata_are_refused(tmp_path, folder):
    for description in (
        [], {"network_spec": 3}, {"network_spec": "n.py:f", "input_shape": [-1]},
        {
            "network_spec": "mlp:8", "input_shape": [2], "n_outputs": 2, "task": "", "outputs": [], "judged": True,
            "shift": [1.0], "scale": [-1.0], "target_shift": None, "target_scale": None,
        },
    ):  # fmt: skip
        made = package.compress(nn.Linear(2, 2), lam=1e-6, meta={"built": description}, progress=False)
        made.save(tmp_path / "odd.szd")
        szilard("measure", tmp_path / "odd.szd", "--data", folder / "named.npz").refused(
            "in a way that cannot be read; add --network"
        )


def test_the_label_255_is_refused(folder, tmp_path):
    path, *network = network_arguments(folder, "named")
    arrays = dict(np.load(folder / "named.npz"))
    arrays["y"][:9] = 255
    np.savez(tmp_path / "void.npz", **arrays)
    typed = szilard("measure", path, *network, "--data", tmp_path / "void.npz")
    assert typed.code == 2
    assert (
        "has the label 255, and its other labels go up to 2; if 255 means no label, write -100"
        in typed.output
    )


@pytest.mark.slow
def test_output_of_the_users_code_is_not_in_the_json(folder):
    import subprocess
    import sys

    from cli_tools import environment

    path, *network = network_arguments(folder, "named")
    command = [
        sys.executable,
        "-m",
        "szilard",
        "measure",
        path,
        *network,
        "--data",
        folder / "named.npz",
        "--json",
    ]
    done = subprocess.run(
        [str(one) for one in command], capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["networks"]
    assert "the user's file prints" in done.stderr


def test_user_code_that_exits_or_raises(folder, tmp_path):
    (tmp_path / "bad.py").write_text(
        "import sys\ndef leaves(): sys.exit(0)\ndef fails(): raise KeyError('x')\n"
    )
    path = folder / "named.pt"
    szilard("compress", path, "--network", f"{tmp_path}/bad.py:leaves", "--no-data").refused(
        "raises SystemExit: 0; fix it"
    )
    szilard("compress", path, "--network", f"{tmp_path}/bad.py:fails", "--no-data").refused(
        "raises KeyError: 'x'; fix it first"
    )
