"""The compression ratio that ``szilard compress`` and ``szilard inspect`` print."""

from __future__ import annotations

import json
import re

import pytest
import torch
from cli_tools import szilard
from torch import nn

import szilard as package
from szilard import file
from szilard.file.ledger import smaller


def joined(output: str) -> str:
    """The printed text, with line breaks and runs of spaces as single spaces."""
    return " ".join(output.split())


def build(tmp_path):
    (tmp_path / "n.py").write_text(
        "from torch import nn\ndef build(): return nn.Sequential(nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 10))\n"
    )
    return nn.Sequential(nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 10))


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16", "float64"])
def test_compress_and_inspect_print_the_same_ratio(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    network = build(tmp_path).to(getattr(torch, kind))
    torch.save(network.state_dict(), "net.pt")
    counted = sum(p.numel() * p.element_size() for p in network.parameters())
    typed = szilard("compress", "net.pt", "--network", "n.py:build", "--no-data", "--lam", "1e-6")
    assert typed.code == 0, typed.output
    ratio = counted / (tmp_path / "net.szd").stat().st_size
    assert smaller(ratio) in joined(typed.output)
    seen = joined(szilard("inspect", "net.szd").output)
    assert f"; {smaller(ratio)} than its tensors" in seen
    printed = (f"bytes, {kind} before" in joined(typed.output), f"its tensors, which were {kind}" in seen)
    assert printed == ((False, False) if kind == "float32" else (True, True))
    found = json.loads(szilard("inspect", "net.szd", "--json").output)
    assert found["original_bytes"] == counted
    assert found["ratio"] == ratio
    again = json.loads(
        szilard(
            "compress", "net.pt", "--network", "n.py:build", "--no-data", "--lam", "1e-6", "--json"
        ).output
    )
    assert (again["tensor_bytes"], again["ratio"]) == (counted, ratio)


def test_tied_weights_and_supports_count_once(tmp_path):
    network = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    network[1].weight = network[0].weight
    made = package.compress(network, lam=1e-6)
    made.save(tmp_path / "tied.szd")
    assert made.original_bytes == 4 * (64 + 8 + 8)
    assert file.inspect(tmp_path / "tied.szd").ratio == made.ratio == made.original_bytes / len(made.data)
    sparse = package.bayesianize(
        nn.Sequential(nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 4)), density=0.2
    ).eval()
    made = package.compress(sparse)
    made.save(tmp_path / "sparse.szd")
    counted = sum(value.numel() * value.element_size() for value in sparse.state_dict().values())
    assert made.original_bytes == counted
    assert file.inspect(tmp_path / "sparse.szd").ratio is None  # the supports have not been decoded
    assert file.inspect(tmp_path / "sparse.szd", tensors=True).ratio == made.ratio
    assert f"; {smaller(made.ratio)} than its tensors" in joined(
        szilard("inspect", tmp_path / "sparse.szd").output
    )


def test_an_implausible_original_size_is_ignored(tmp_path):
    for original in (
        {"bytes": 10**15, "type": "float64"},
        {"bytes": -1, "type": "float16"},
        {"bytes": 4, "type": "x"},
        3,
        None,
    ):
        document = file.from_state_dict({"w": torch.randn(9)}, meta={"original": original})
        found = file.encode(document)[1]
        assert (found.original_bytes, found.original_type) == (36, "")


def test_a_larger_file_is_called_larger(tmp_path):
    assert smaller(12.34) == "12.3 times smaller"
    assert smaller(0.5) == "2.0 times larger"
    file.write(tmp_path / "a.szd", file.from_state_dict({"w": torch.randn(2)}))
    assert re.search(
        r"\d times larger than its tensors", joined(szilard("inspect", tmp_path / "a.szd").output)
    )
