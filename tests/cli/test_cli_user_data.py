"""Labels by pixel and columns by name on the command line, with a user's trained weights."""

from __future__ import annotations

import json

import numpy as np
import torch
from cli_tools import szilard
from torch import nn
from user_networks import measured


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
