"""Small saved networks to mutate, and bait files that no reader of a saved network may open."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from robustness import codec

FIT = [
    "fit",
    "--no-baselines",
    "--epochs",
    "1",
    "--samples",
    "2",
    "--ood",
    "none",
    "--accelerator",
    "cpu",
    "--quiet",
]
PAYLOAD = """
from pathlib import Path
Path(__file__).with_name("RAN").touch()
def build(input_shape, n_outputs):
    from torch import nn
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, n_outputs))
"""


def lay_bait(folder: Path) -> None:
    """Write code and data that no reader may open."""
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "payload.py").write_text(PAYLOAD)
    (folder / "bait.csv").write_text("a,b,y\n" + "1,2,3\n2,3,5\n" * 20)
    np.savez(folder / "bait.npz", x=np.zeros((30, 1, 8, 8), np.float32), y=np.arange(30) % 10)
    for name in ("MNIST", "mnist", "cifar10"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "train-images-idx3-ubyte").write_bytes(b"\0\0\10\3" + bytes(12))


def bait(folder: Path) -> list[Any]:
    """Values for metadata that name the bait files, and other invalid names."""
    return [
        "payload.py:build", f"{folder}/payload.py:build", "./payload.py:build", "payload:build", "os:system",
        "bait.csv",
        f"{folder}/bait.csv", "bait.npz", f"{folder}/bait.npz", str(folder), "mnist", "cifar10", "boston",
        "mlp:100000,100000",
        "mlp:" + "9" * 50, "mlp:-4", "mlp:0", "mlp:", "mlp", "resnet9999", "resnet20", "lenet5", "../../x",
        "ssvi", "mean-field",
        "deterministic", "regression", "classification", {"name": "mnist", "root": str(folder), "download": True},
        {"name": "bait.csv"}, {"name": f"{folder}/bait.npz"}, {"name": "digits", "ood": f"{folder}/bait.npz"},
        {"name": "digits", "download": True}, {"name": "mnist", "fetch": True}, [1, 2**40], [2**20, 2**20], [1] * 64,
    ]  # fmt: skip


# -- seeds ----------------------------------------------------------------------------------------------


#: Methods that need BatchNorm, more steps or another run; their networks are saved as those of ``static``.
LONG = ("acdc", "tickets", "early-bird", "posterior-tickets", "elastic-ticket")


def make_seeds(folder: Path) -> None:
    """Write a tiny network of every method but ``LONG``, and one for regression, as ``NAME.pt`` and ``NAME.szd``."""
    from szilard import methods

    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "table.csv"
    rows = [f"{i % 7},{i % 5 - 2.5},{i % 3}" for i in range(60)]
    table.write_text("\n".join(["a,b,y", *rows]) + "\n")
    digits = ["--data", "digits", "--n-train", "60", "--network", "mlp:4"]
    names = [name for name in methods.names() if name not in LONG]
    commands_to_run = [part for name in names for part in ("--method", name)]
    command(*FIT, *digits, *commands_to_run, "--out", str(folder / "run"))
    quantity = ["--data", str(table), "--target", "y", "--task", "regression", "--network", "mlp:3"]
    command(*FIT, *quantity, "--method", "deterministic", "--out", str(folder / "table"))
    found = {path.parent.name: path for path in sorted((folder / "run").glob("*/network.pt"))}
    found["quantity"] = folder / "table" / "deterministic" / "network.pt"
    for name, path in found.items():
        (folder / f"{name}.pt").write_bytes(path.read_bytes())
        (folder / f"{name}.szd").write_bytes(as_szd(path))


def as_szd(path: Path) -> bytes:
    """A network of a run as a .szd file with raw tensors and the metadata of ``szilard compress``."""
    from szilard import file
    from szilard.model import saved_network

    found = saved_network.load(path)
    return file.dumps(file.from_state_dict(found.network.state_dict(), meta=saved_network.to_meta(found)))


def command(*arguments: str) -> str:
    """Output of a command in this process.

    Raises:
        RuntimeError: the command failed.
    """
    from typer.testing import CliRunner

    from szilard.cli import app

    done = CliRunner().invoke(app, list(arguments))
    if done.exit_code:
        raise RuntimeError(f"szilard {' '.join(arguments[:3])}: {done.output} {done.exception!r}")
    return done.output


@functools.cache
def seeds(folder: Path) -> list[tuple[str, codec.Draft, dict[str, Any]]]:
    """Name, .szd draft and content of the .pt file of each network."""
    import torch

    return [
        (path.stem, codec.read(path.read_bytes()), torch.load(path.with_suffix(".pt"), weights_only=True))
        for path in sorted(folder.glob("*.szd"))
    ]
