"""Small saved networks, and files with modified metadata."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

import szilard
from szilard import data, file, methods, networks
from szilard.data import DataSet, Split
from szilard.file import Document
from szilard.model import checkpoint, saved_network


def table(n: int = 12) -> DataSet:
    """Three features, two classes."""
    generator = torch.Generator().manual_seed(0)
    split = Split(torch.randn(n, 3, generator=generator), torch.arange(n) % 2)
    return DataSet(
        "table", "classification", split, split, split, None, None, ("no", "yes"), torch.zeros(3), torch.ones(3),
        feature_names=("a", "b", "c"),
    )  # fmt: skip


def network_pt(
    folder: Path, method: str = "ssvi", spec: str = "mlp:5", source: dict[str, Any] | None = None
) -> Path:
    """A network.pt as szilard fit writes it, untrained."""
    made, known = methods.make(method, 12), table()
    network = made.prepare(networks.build(spec, (3,), 2)).eval()
    source = {"name": "digits"} if source is None else source
    saved_network.save(
        folder / "network.pt", made, network, known, options={}, network_spec=spec, source=source
    )
    return folder / "network.pt"


def as_szd(path: Path, out: Path) -> Path:
    found = saved_network.load(path)
    file.write(out, file.from_state_dict(found.network.state_dict(), meta=saved_network.to_meta(found)))
    return out


def metadata_of(path: Path) -> dict[str, Any]:
    """The metadata of the network in a file."""
    if path.suffix == ".szd":
        return copy.deepcopy(file.read(path).meta["network"])
    return checkpoint.load(path, "network")


def with_metadata(path: Path, content: Any, out: Path) -> Path:
    """The tensors of a file with other metadata; for .szd as any JSON text, even with numbers out of range."""
    if path.suffix != ".szd":
        torch.save(content, out)
        return out
    document = file.read(path)
    text = json.dumps({"network": content})
    from szilard.file import deflate, meta

    before = meta.pack
    try:
        meta.pack = lambda _: deflate.compress(text.replace("Infinity", "1e999").encode())  # type: ignore[assignment]
        file.write(out, Document(document.records, {"network": 1}))
    finally:
        meta.pack = before
    return out


#: Values that are invalid for nearly every field, in JSON and pickles.
INVALID: list[Any] = [
    True, -1, 0, 2**63, 2**70, -(2**70), 1.5, -0.5, math.inf, 1e300, "", "x", "\0", "../../x", "\ud800", "=cmd|x",
    "x" * 5000, [], [1], [[]], [[1], [2, 3]], [None], ["\0"], [math.inf], [0], [-1], [10**9, 10**9], [2**70], [1.5],
    ["a"] * 3,
    {}, {"x": 1}, {"name": 1}, {"a": {"b": {"c": []}}},
]  # fmt: skip
#: Further invalid values that only pickles can hold.
INVALID_IN_PICKLES: list[Any] = [
    math.nan, 3j, b"x", {1: 2}, {1, 2}, (1, 2), torch.ones(3), torch.ones(2, 3), torch.full((3,), math.nan),
    torch.zeros(3, dtype=torch.int64), torch.zeros(0), np.float64(1).item(), torch.float32,
]  # fmt: skip


__all__ = [
    "INVALID",
    "INVALID_IN_PICKLES",
    "as_szd",
    "data",
    "metadata_of",
    "network_pt",
    "szilard",
    "table",
    "with_metadata",
]
