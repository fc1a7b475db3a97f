"""The output of --json agrees with docs/json.md."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_tools import TINY, szilard

from szilard import convert

PAGE = (Path(__file__).parents[2] / "docs" / "json.md").read_text()
_ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \|", re.MULTILINE)
_TYPES = {
    "text": str, "number": (int, float), "whole": int, "true/false": bool, "list": list, "table": dict,
    "any": object,
}  # fmt: skip


def documented(title: str, number: int = 0) -> dict[str, str]:
    """Keys and types of the table with this number below a heading of the page."""
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    tables = re.split(r"\n\|---.*\n", section)[1:]
    found = dict(_ROW.findall("\n" + tables[number].split("\n\n")[0]))
    assert found
    return found


def check(found: dict, types: dict[str, str]) -> None:
    assert set(found) <= set(types), set(found) - set(types)
    for key, kinds in types.items():
        kind, *more = [part.strip() for part in kinds.split(",")]
        if key not in found:
            assert more == ["sometimes"], key
        elif found[key] is None:
            assert kind.endswith("?"), key
        else:
            assert isinstance(found[key], _TYPES[kind.removesuffix("?")]), (key, found[key])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("json")


@pytest.fixture(scope="module")
def fitted(folder):
    typed = szilard("fit", *TINY, "--no-baselines", "--out", folder / "run", "--json")
    assert typed.code == 0, typed.output
    torch.save({"w": torch.randn(3, 4), "b": torch.ones(2)}, folder / "w.pt")
    convert(folder / "w.pt", folder / "w.szd")
    return json.loads(typed.stdout)


def run(*arguments: object) -> dict:
    typed = szilard(*arguments, "--json")
    assert typed.code == 0, typed.output
    return json.loads(typed.stdout)


def test_networks(folder, fitted):
    check(fitted, documented("szilard fit"))
    measured = run("measure", folder / "run")
    check(measured, documented("szilard measure"))
    reported = run("report", folder / "run")
    check(reported, documented("szilard report"))
    for found in (fitted, measured, reported):
        (network,) = found["networks"]
        check(network, documented("A network"))
        words = documented_words("A network")
        assert set(network["cost"]) <= words
        assert {key for key in network["quality"] if not key.startswith("auroc_")} <= words | {"ece_marginal"}
        assert all(set(figure) == {"value", "source"} for figure in network["cost"].values())


@pytest.mark.slow  # a fresh process; its figures are tested in test_cli_latency.py
def test_latency(folder, fitted):
    (network,) = run("measure", folder / "run", "--latency", "--by-layer", "--noisy")["networks"]
    found = network["latency"]
    check(network, documented("A network"))
    check(found, documented("Latency"))
    words = documented_words("Latency")
    assert {*found["noise"], *found["layers"], *found["layers"]["rows"][0]} <= words


def documented_words(title: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]))


def test_predict(folder, fitted):
    found = run("predict", folder / "run", "digits")
    check(found, documented("szilard predict"))
    typed = szilard("predict", folder / "run", "digits")
    header, first = typed.stdout.splitlines()[:2]
    assert list(found["predictions"][0]) == header.split(",")
    assert found["predictions"][0]["label"] == first.split(",")[0]
    written = run("predict", folder / "run", "digits", "-o", folder / "o.csv")
    assert set(written) == {"network", "file", "count"}
    assert written["count"] == len(found["predictions"])


@pytest.mark.usefixtures("one_registry")
def test_deploy(folder, fitted):
    found = run("deploy", folder / "run", "--backend", "eager")
    check(found, documented("szilard deploy"))
    pytest.importorskip("onnxscript")
    found = run("deploy", folder / "run", "-o", folder / "n.onnx")
    check(found, documented("szilard deploy"))
    assert set(found) == set(documented("szilard deploy")) - {"variance_factors"}  # of an ensemble


def test_stream(folder):
    (folder / "s.csv").write_text("x,y\n" + "".join(f"{i % 7}.5,{'ab'[i % 3 == 0]}\n" for i in range(40)))
    found = run("stream", folder / "s.csv", "--target", "y", "--out", folder / "stream")
    check(found, documented("szilard stream"))
    assert {key for one in found["predictors"] for key in one} <= documented_words("szilard stream")


def test_compress(folder, fitted):
    found = run("compress", folder / "run", "--lam", "1e-3", "-o", folder / "n.szd", "--certificate")
    check(found, documented("szilard compress"))
    assert set(found) == set(documented("szilard compress"))
    found = run("compress", folder / "run", "--lam", "1e-3", "--no-data", "-o", folder / "n.szd")
    check(found, documented("szilard compress"))
    assert set(found["trials"][0]) == {"lam", "bytes", "score"}


def test_files(folder, fitted):
    check(run("convert", folder / "w.szd", folder / "w.safetensors"), documented("szilard convert"))
    ours = run("inspect", folder / "w.szd", "--tensors")
    check(ours, documented("szilard inspect"))
    assert set(ours["entries"][0]) == {"name", "kind", "dtype", "shape", "elements", "bits", "side_bits"}
    others = run("inspect", folder / "w.pt")
    check(others, documented("szilard inspect", 1))
    assert set(others["tensors"][0]) == {"group", "name", "dtype", "shape", "bytes"}
    both = documented("szilard inspect") | documented("szilard verify")
    check(run("verify", folder / "w.szd"), both)
    compared = run("verify", folder / "w.szd", "--against", folder / "w.pt")
    check(compared, both)
    assert set(compared["differences"][0]) == {"name", "identical", "largest", "relative"}


def test_sparse_codes(folder):
    A, x = np.random.default_rng(0).normal(size=(4, 8)), np.eye(2, 8)
    np.save(folder / "A.npy", A)
    np.save(folder / "b.npy", x @ A.T)
    given = ("--dictionary", folder / "A.npy", "--measurements", folder / "b.npy", "-o", folder / "x.npz")
    found = run("solve", *given, "--algorithm", "continuation", "--penalty", "0.01")
    check(found, documented("szilard solve"))
    assert set(found["certificates"][0]) <= documented_words("szilard solve")


def test_stores_of_fields(folder, monkeypatch):
    for name in ("xarray", "zarr", "netCDF4"):
        pytest.importorskip(name)
    from field_files import netcdf, quick_fits

    quick_fits(monkeypatch)
    source, store = netcdf(folder / "in.nc"), folder / "s.zarr"
    found = run("encode", source, "-o", store, "--bound", "t=0.05")
    check(found, documented("szilard encode"))
    assert set(found["variables"][0]) <= documented_words("szilard encode")
    check(run("decode", store, "-o", folder / "o.nc"), documented("szilard decode"))
    found = run("inspect", store)
    check(found, documented("szilard inspect", 2))
    assert set(found["variables"][0]) <= documented_words("szilard inspect")
    found = run("verify", store)
    check(found, documented("szilard verify", 1))
    assert set(found["variables"][0]) <= documented_words("szilard verify")
    found = run("verify", store, "--original", source)
    check(found, documented("szilard verify", 2))
    assert set(found["variables"][0]) <= documented_words("szilard verify")


def test_every_command_is_documented(folder):
    from szilard.cli import command_files

    names = list(command_files.find())
    assert names
    for name in names:
        assert documented(f"szilard {name}")
        assert "--json" in szilard(name, "--help").output
