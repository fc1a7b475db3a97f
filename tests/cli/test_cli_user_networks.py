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
from torch.nn import functional as F

import szilard as package

SOURCE = """
import torch
from torch import nn

print("the user's file prints")

class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, 3))
    def forward(self, x):
        return {"logits": self.body(x), "inputs": x}

class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(30, 8), nn.Linear(8, 2)
    def forward(self, x):
        return self.head(self.words(x).mean(1))

class Steps(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.GRU(5, 12, batch_first=True), nn.Linear(12, 2)
    def forward(self, x):
        return self.head(self.cell(x)[0][:, -1])

def wide(k, *more):
    print("and its function")
    return nn.Sequential(nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, k), *more)

def one(): return wide(1)
def flat(): return wide(1, nn.Flatten(0))
def sigmoid(): return wide(1, nn.Sigmoid())
def softmax(): return wide(3, nn.Softmax(1))
def three(): return wide(3)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Networks trained on standardised inputs, and their data in other units."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "n.py").write_text(SOURCE)
    space: dict = {}
    exec(SOURCE, space)
    made = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(700, 4, generator=made) + 5
    z = (x - x.mean(0)) / x.std(0)
    weights = torch.randn(4, 3, generator=made)
    price = 40 * z[:, 0] + 10 * z[:, 1].sin() + 300
    several = (z @ weights) * torch.tensor([1.0, 20.0, 300.0])
    yes = (z[:, 0] + z[:, 1] > 0).long()
    labels = ((z @ weights) > 0.5).long()
    classes = (z @ weights).argmax(1)
    ids = torch.randint(1, 30, (600, 9), generator=made)
    ids[:, 0] = 1  # a start token
    steps = torch.randn(600, 6, 5, generator=made)

    def fit(name, build, x, y, loss, x_file=None, y_file=None):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = space[build]() if callable(space[build]) else None
            optimizer = torch.optim.Adam(network.parameters(), 2e-2)
            for _ in range(150):
                optimizer.zero_grad()
                loss(network(x), y).backward()
                optimizer.step()
        torch.save(network.state_dict(), folder / f"{name}.pt")
        np.savez(
            folder / f"{name}.npz",
            x=(x if x_file is None else x_file).numpy(),
            y=(y if y_file is None else y_file).numpy(),
        )

    scaled = (price - price.mean()) / price.std()
    fit("price", "one", z, scaled, lambda o, t: F.mse_loss(o[:, 0], t), x, price)
    fit("flat", "flat", z, scaled, F.mse_loss, x, price)
    fit("yes", "one", z, yes, lambda o, t: F.binary_cross_entropy_with_logits(o[:, 0], t.float()), x)
    fit("sigmoid", "sigmoid", z, yes, lambda o, t: F.binary_cross_entropy(o[:, 0], t.float()), x)
    fit("softmax", "softmax", z, classes, lambda o, t: F.nll_loss(o.clamp_min(1e-9).log(), t), x)
    fit("labels", "three", z, labels, lambda o, t: F.binary_cross_entropy_with_logits(o, t.float()), x)
    many = (several - several.mean(0)) / several.std(0)
    fit("several", "three", z, many, F.mse_loss, x, several)
    fit("named", "Named", z, classes, lambda o, t: F.cross_entropy(o["logits"], t), x)
    fit("tokens", "Tokens", ids, (ids[:, 1:] > 15).float().mean(1).gt(0.5).long(), F.cross_entropy)
    fit("steps", "Steps", steps, (steps.sum((1, 2)) > 0).long(), F.cross_entropy)
    for name, columns in (("labels", labels), ("price", price[:, None]), ("yes", yes[:, None])):
        heads = [f"f{i}" for i in range(4)] + [f"t{i}" for i in range(columns.shape[1])]
        rows = [[*a, *b] for a, b in zip(x.tolist(), columns.tolist(), strict=True)]
        text = io.StringIO()
        csv.writer(text).writerows([heads, *rows])
        (folder / f"{name}.csv").write_text(text.getvalue())
    return folder


BUILDS = {
    "price": "one", "flat": "flat", "yes": "one", "sigmoid": "sigmoid", "softmax": "softmax", "labels": "three",
    "several": "three", "named": "Named", "tokens": "Tokens", "steps": "Steps",
}  # fmt: skip


def network_arguments(folder, name):
    return (folder / f"{name}.pt", "--network", f"{folder}/n.py:{BUILDS[name]}")


def measured(*arguments):
    typed = szilard("measure", *arguments, "--json")
    assert typed.code == 0, typed.output
    return json.loads(typed.stdout)["networks"][0]["quality"]


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


def test_labels_per_pixel(tmp_path):
    """``y [N, H, W]``; the label -100 is ignored."""
    (tmp_path / "c.py").write_text("from torch import nn\ndef build(): return nn.Conv2d(1, 3, 1)\n")
    made = torch.Generator().manual_seed(0)
    x = torch.randn(200, 1, 6, 6, generator=made)
    with torch.random.fork_rng():
        network = nn.Conv2d(1, 3, 1)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([-5.0, 0.0, 5.0]).reshape(3, 1, 1, 1))
        network.bias.copy_(torch.tensor([0.0, 2.0, 0.0]))
    y = network(x).argmax(1)
    y[:, 0] = -100
    torch.save(network.state_dict(), tmp_path / "c.pt")
    np.savez(tmp_path / "c.npz", x=x.numpy(), y=y.numpy())
    network_arguments = [
        tmp_path / "c.pt",
        "--network",
        f"{tmp_path}/c.py:build",
        "--data",
        tmp_path / "c.npz",
    ]
    assert measured(*network_arguments)["accuracy"] > 0.99
    typed = szilard("compress", *network_arguments, "--lam", "1e-6", "--json", "-o", tmp_path / "c.szd")
    assert typed.code == 0, typed.output
    assert json.loads(typed.stdout)["test_after"] > 0.97


def test_columns_of_new_rows_are_found_by_name(tmp_path):
    """In any order, with additional columns, and with the target columns present."""
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef mo():\n    return nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 2))\n"
    )
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(400, 3, generator=generator)
    y = torch.stack([z[:, 0] + z[:, 2], z[:, 1] - z[:, 2]], 1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        (network(z) - y).square().mean().backward()
        optimizer.step()
    torch.save(network.state_dict(), tmp_path / "w.pt")

    def write(name, columns):
        head, values = zip(*columns.items(), strict=True)
        lines = [
            ",".join(head),
            *(",".join(f"{v:.6f}" for v in row) for row in torch.stack(values, 1).tolist()),
        ]
        (tmp_path / name).write_text("\n".join(lines))
        return tmp_path / name

    a, b, c = z.unbind(1)
    table = write("t.csv", {"a": a, "b": b, "c": c, "u": y[:, 0], "v": y[:, 1]})
    spec = f"{tmp_path / 'net.py'}:mo"
    made = szilard(
        "compress", tmp_path / "w.pt", "--network", spec, "--data", table, "--target", "u,v", "-o",
        tmp_path / "n.szd",
    )  # fmt: skip
    assert made.code == 0, made.output
    assert "% of the" in made.output
    outputs = [
        szilard("predict", tmp_path / "n.szd", new).stdout
        for new in (
            write("plain.csv", {"a": a, "b": b, "c": c}),
            write("moved.csv", {"c": c, "more": a * 7, "a": a, "b": b}),
            table,
        )
    ]
    assert len(outputs[0].splitlines()) == 401
    assert outputs[0] == outputs[1] == outputs[2]
    szilard("predict", tmp_path / "n.szd", write("less.csv", {"a": a, "b": b})).refused("has no column 'c'")
