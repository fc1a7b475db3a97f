"""Units, data types and axis orders of a user's network are found, and the choice is printed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cli_tools import szilard
from torch import nn

from szilard.data import load
from szilard.model.units import left_alone

SOURCE = """
import torch
from torch import nn
def line(input_shape): return nn.Linear(input_shape[0], 1)
def double(): return nn.Linear(3, 1).double()
def half(): return nn.Linear(3, 2).half()
def bfloat16(): return nn.Linear(3, 2).bfloat16()
def two(): return Two()
class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 2)
    def forward(self, x, z): return self.a(x) + z
class Last(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 3, 1)
    def forward(self, x): return self.a(x.permute(0, 3, 1, 2)).mean((2, 3))
class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(48, 2)
    def forward(self, x): return self.a(x.flatten(1))
def failing(): raise RuntimeError("max_drop and task='regression' are my own words")
def wanting(hidden): return nn.Linear(3, 1)
"""


def rows(n=300, seed=0):
    made = np.random.default_rng(seed)
    numbers = made.normal(size=(n, 2)) * [40, 0.2] + [100, -3]
    kind = made.integers(0, 2, n)
    return numbers, kind


def table(path, names, *columns):
    lines = [",".join(names), *(",".join(map(str, row)) for row in zip(*columns, strict=True))]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("units")
    (folder / "n.py").write_text(SOURCE)
    numbers, kind = rows()
    z = (numbers - numbers.mean(0)) / numbers.std(0)
    y = z[:, 0] + 2 * z[:, 1] + 3 * kind
    table(
        folder / "t.csv",
        ["a", "b", "colour", "price"],
        *numbers.T,
        np.array(["blue", "red"])[kind],
        1e5 * y + 3e5,
    )
    table(folder / "plain.csv", ["a", "b", "c", "price"], *z.T, z[:, 0] * z[:, 1], 1e5 * (z[:, 0] + z[:, 1]))
    table(
        folder / "class.csv",
        ["a", "b", "c", "y"],
        *z.T,
        z[:, 0] * z[:, 1],
        (z[:, 0] + z[:, 1] > 0).astype(int),
    )
    return folder


def weights(path, **tensors):
    torch.save({name: torch.tensor(value) for name, value in tensors.items()}, path)
    return path


def test_numeric_columns_are_standardised_and_0_1_columns_are_unchanged(folder, tmp_path):
    """A network trained with standardised numeric columns and unchanged 0/1 columns."""
    at = (3 - 1.5) / 2.7  # approximates the standardised target
    net = weights(tmp_path / "n.pt", weight=[[1 / 2.7, 2 / 2.7, 0.0, 3 / 2.7]], bias=[-at])
    typed = szilard(
        "compress", net, "--network", f"{folder}/n.py:line", "--data", folder / "t.csv", "--target", "price",
        "--lam", "1e-3", "-o", tmp_path / "n.szd",
    )  # fmt: skip
    assert typed.code == 0, typed.output
    message = " ".join(typed.output.split())
    assert "but 0/1 columns are left as they are" in message
    assert "because validation R² is then" in message


def test_0_1_columns_keep_their_values(folder):
    data = load(str(folder / "t.csv"), target="price")
    raw = data.raw(data.train.x)
    (pair, message), *more = left_alone(raw, (data.shift, data.scale))
    assert not more
    assert "0/1 columns" in message
    x = data.renormalised(*pair).valid.x
    assert torch.allclose(x[:, :2], data.valid.x[:, :2], atol=1e-5)
    assert set(x[:, 2:].round(decimals=4).abs().flatten().tolist()) == {0.0, 1.0}


def test_the_default_units_are_printed(folder, tmp_path):
    net = weights(tmp_path / "n.pt", weight=[[0.7, 0.7, 0.0]], bias=[0.0])
    typed = szilard(
        "measure",
        net,
        "--network",
        f"{folder}/n.py:line",
        "--data",
        folder / "plain.csv",
        "--target",
        "price",
    )
    assert "inputs are standardised with the training part, and targets are standardised" in " ".join(
        typed.output.split()
    )


@pytest.mark.parametrize("scale", [1e-3, 50.0])
def test_targets_in_other_units_are_refused(folder, tmp_path, scale):
    net = weights(tmp_path / "n.pt", weight=[[scale, scale, 0.0]], bias=[0.0])
    arguments = ("--network", f"{folder}/n.py:line", "--data", folder / "plain.csv", "--target", "price")
    typed = szilard("compress", net, *arguments, "-o", tmp_path / "n.szd")
    assert typed.code == 2
    message = " ".join(typed.output.split())
    assert f"but in other units (about price = {1e5 / scale:.10g} x output)" in message
    assert message.count("other units") == 1
    assert "give more inputs" not in message


def test_a_network_for_logarithms_with_an_offset_is_refused(folder, tmp_path):
    numbers, _ = rows()
    z = (numbers - numbers.mean(0)) / numbers.std(0)
    price = np.exp(0.5 * z[:, 0] + 0.5 * z[:, 1] + 11)
    table(tmp_path / "log.csv", ["a", "b", "c", "price"], *z.T, z[:, 0] * z[:, 1], price)
    net = weights(tmp_path / "n.pt", weight=[[0.5, 0.5, 0.0]], bias=[0.0])
    arguments = ("--network", f"{folder}/n.py:line", "--data", tmp_path / "log.csv", "--target", "price")
    typed = szilard("compress", net, *arguments, "--max-drop", 1, "-o", tmp_path / "n.szd")
    assert typed.code == 2
    message = " ".join(typed.output.split())
    assert "but in other units (about log price = " in message
    assert "x output + 1" in message
    assert not (tmp_path / "n.szd").exists()


@pytest.mark.parametrize("kind", ["half", "bfloat16"])
def test_networks_in_half_precision(folder, tmp_path, kind):
    of = torch.float16 if kind == "half" else torch.bfloat16
    path = tmp_path / "n.pt"
    torch.save(
        {"weight": torch.tensor([[-1.0, -1, 0], [1, 1, 0]]).to(of), "bias": torch.zeros(2, dtype=of)}, path
    )
    given = ("--network", f"{folder}/n.py:{kind}", "--data", folder / "class.csv", "--target", "y")
    typed = szilard("compress", path, *given, "--lam", "1e-3", "-o", tmp_path / "n.szd")
    assert typed.code == 0, typed.output
    predictions = szilard("predict", tmp_path / "n.szd", folder / "class.csv")
    assert predictions.code == 0, predictions.output
    labels = [line.split(",")[0] for line in predictions.stdout.splitlines()[1:]]
    wanted = [line.rsplit(",", 1)[1] for line in (folder / "class.csv").read_text().splitlines()[1:]]
    assert np.mean([a == b for a, b in zip(labels, wanted, strict=True)]) > 0.95
    assert szilard("measure", path, *given).code == 0


def test_a_network_in_double_precision(folder, tmp_path):
    path = tmp_path / "n.pt"
    torch.save({"weight": torch.tensor([[0.7, 0.7, 0]]).double(), "bias": torch.zeros(1).double()}, path)
    given = ("--network", f"{folder}/n.py:double", "--data", folder / "plain.csv", "--target", "price")
    assert szilard("measure", path, *given).code == 0


@pytest.fixture
def image_files(tmp_path):
    made = np.random.default_rng(0)
    x = (made.random((240, 4, 4, 3)) * made.random((240, 1, 1, 3)) * 255).astype(np.uint8)
    np.savez(tmp_path / "last.npz", x=x, y=x.mean((1, 2)).argmax(1))
    np.savez(tmp_path / "first.npz", x=x.transpose(0, 3, 1, 2), y=x.mean((1, 2)).argmax(1))
    return tmp_path


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("last", "as they are in the file, [4, 4, 3], channels last"),
        ("first", "[3, 4, 4] are transposed to [4, 4, 3]"),
    ],
)
def test_a_network_for_channels_last(folder, image_files, file, message):
    net = weights(image_files / "n.pt", **{"a.weight": (9 * np.eye(3, dtype=np.float32))[:, :, None, None].tolist()},
                  **{"a.bias": [0.0, 0.0, 0.0]})  # fmt: skip
    typed = szilard(
        "compress", net, "--network", f"{folder}/n.py:Last", "--data", image_files / f"{file}.npz", "--lam", "1e-3",
        "--mean", "0", "--std", "1", "-o", image_files / "n.szd",
    )  # fmt: skip
    assert typed.code == 0, typed.output
    assert message in " ".join(typed.output.split())
    predictions = {
        name: szilard("predict", image_files / "n.szd", image_files / f"{name}.npz").stdout
        for name in ("last", "first")
    }
    assert predictions["last"] == predictions["first"]
    wanted = np.load(image_files / "last.npz")["y"]
    labels = [int(line.split(",")[0]) for line in predictions["last"].splitlines()[1:]]
    assert np.mean(labels == wanted) > 0.95


def test_the_labels_decide_the_axis_order_if_a_network_accepts_both(folder, tmp_path):
    made = np.random.default_rng(0)
    x = made.random((300, 4, 4, 3)).astype(np.float32)
    weight = np.linspace(-3, 3, 48, dtype=np.float32)
    y = ((x.reshape(300, -1) - 0.5) @ weight > 0).astype(int)
    np.savez(tmp_path / "x.npz", x=x, y=y)
    bias = float(weight.sum() * -0.5)
    net = weights(
        tmp_path / "n.pt", **{"a.weight": [(-weight).tolist(), weight.tolist()], "a.bias": [-bias, bias]}
    )
    typed = szilard("measure", net, "--network", f"{folder}/n.py:Flat", "--data", tmp_path / "x.npz")
    assert "[4, 4, 3], channels last" in " ".join(typed.output.split())


def test_an_error_names_both_orders(folder, image_files):
    net = weights(image_files / "n.pt", weight=[[0.0, 0, 0]], bias=[0.0])
    arguments = ("measure", net, "--network", f"{folder}/n.py:wanting2", "--data", image_files / "last.npz")
    (folder / "n.py").write_text(SOURCE + "def wanting2(): return nn.Linear(7, 1)\n")
    torch.save(nn.Linear(7, 1).state_dict(), net)
    szilard(*arguments).refused(
        r"neither as they are in the file, \[4, 4, 3\], nor transposed to \[3, 4, 4\]"
    )


def test_networks_with_several_inputs_are_refused(folder, tmp_path):
    np.savez(
        tmp_path / "t.npz",
        x=np.random.default_rng(0).normal(size=(99, 3)),
        z=np.zeros((99, 2)),
        y=np.arange(99) % 2,
    )
    net = weights(tmp_path / "n.pt", **{"a.weight": [[0.0] * 3] * 2, "a.bias": [0.0, 0.0]})
    given = ("--network", f"{folder}/n.py:two")
    szilard("compress", net, *given, "--data", tmp_path / "t.npz").refused(
        r"2 inputs \(.*z.*\).*z of .*t.npz"
    )
    szilard("predict", net, tmp_path / "t.npz", *given).refused(r"takes 2 inputs")


def test_messages_of_the_users_code_are_not_rewritten(folder, tmp_path):
    net = weights(tmp_path / "n.pt", weight=[[0.0] * 3], bias=[0.0])
    given = ("--data", folder / "plain.csv", "--target", "price")
    message = (
        r"max_drop and task='regression' are my own words when it is given input_shape=\(3,\) and n_outputs=1"
    )
    szilard("compress", net, "--network", f"{folder}/n.py:failing", *given).refused(message)
    szilard("compress", net, "--network", f"{folder}/n.py:wanting", *given).refused(
        "only input_shape and n_outputs"
    )


def test_a_tensor_with_nan_is_named(folder, tmp_path):
    net = weights(tmp_path / "n.pt", weight=[[float("nan"), 0.0, 0.0]], bias=[0.0])
    arguments = ("--network", f"{folder}/n.py:line", "--data", folder / "plain.csv", "--target", "price")
    szilard("compress", net, *arguments).refused("its tensor weight holds NaN")


def test_a_missing_file_is_refused(tmp_path):
    szilard("predict", tmp_path / "none.szd", tmp_path / "x.csv").refused(
        "no run or file .*none.szd.*a .szd file"
    )
