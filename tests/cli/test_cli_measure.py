"""szilard measure and szilard report: quality and cost of trained networks."""

from __future__ import annotations

import json

import pytest
import torch
from cli_tools import TINY, szilard

from szilard import data, networks


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "digits"
    assert szilard("fit", *TINY, "--density", "0.3", "--out", out, "--quiet").code == 0
    return out


@pytest.fixture
def weights(tmp_path):
    """A plain PyTorch state dict and the file that builds its network."""
    (tmp_path / "n.py").write_text(
        "from torch import nn\ndef build(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    spec = f"{tmp_path / 'n.py'}:build"
    network = networks.build(spec, (1, 8, 8), 10, seed=3)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    return tmp_path / "weights.pt", spec, network


def test_measure_agrees_with_the_result_of_the_run(run):
    typed = szilard("measure", run, "--samples", 4, "--json")
    assert typed.code == 0, typed.output
    found = json.loads(typed.output)
    assert found["data"] == "digits"
    assert [network["method"] for network in found["networks"]] == ["ssvi", "deterministic", "mean-field"]
    for network in found["networks"]:
        result = json.loads((run / network["method"] / "result.json").read_text())
        assert network["quality"] == pytest.approx(result["test"])
        for figure in ("parameters", "nonzeros", "bits", "macs"):
            assert network["cost"][figure] == result["cost"][figure]
    sparse, dense = found["networks"][:2]
    assert sparse["cost"]["nonzeros"]["value"] < 0.4 * dense["cost"]["nonzeros"]["value"]
    assert sparse["cost"]["macs"]["source"] == "counted"


def test_one_network_as_a_table(run):
    typed = szilard("measure", run / "ssvi" / "network.pt")
    assert typed.code == 0, typed.output
    assert "SSVI, 30 % of weights" in typed.output
    assert "stored entries" in typed.output
    assert "non-zeros" not in typed.output  # an entry that exists can be zero
    assert "deterministic" not in typed.output
    assert szilard("measure", run / "ssvi").output == typed.output


def test_a_plain_state_dict(weights):
    path, spec, network = weights
    typed = szilard("measure", path, "--network", spec, "--data", "digits", "--json")
    assert typed.code == 0, typed.output
    found = json.loads(typed.output)["networks"][0]
    test = data.load("digits").test
    accuracy = float((network(test.x).argmax(1) == test.y).double().mean())
    assert found["quality"]["accuracy"] == pytest.approx(accuracy)
    assert found["cost"]["parameters"] == {"value": 650, "source": "counted"}
    assert found["cost"]["macs"] == {"value": 640, "source": "counted"}


def test_a_state_dict_inside_another_checkpoint(weights):
    path, spec, network = weights
    torch.save({"epoch": 3, "state_dict": network.state_dict()}, path)
    assert szilard("measure", path, "--network", spec, "--data", "digits").code == 0


def test_errors(run, weights, tmp_path):
    path, spec, _ = weights
    szilard("measure", path, "--data", "digits").refused("does not say of which network; add --network")
    szilard("measure", path, "--network", spec).refused("does not say which data it is for; add --data")
    szilard("measure", path, "--network", "mlp:8", "--data", "digits").refused("is of another network")
    szilard("measure", run, "--data", "none.npz").refused("none.npz does not exist")
    szilard("measure", run, "--samples", -1).refused("--samples must be at least 1")
    path.write_bytes(path.read_bytes()[:900])
    szilard("measure", path, "--network", spec, "--data", "digits").refused("truncated or damaged")
    network = (run / "ssvi" / "network.pt").read_bytes()
    (tmp_path / "network.pt").write_bytes(network[: len(network) // 2])
    szilard("measure", tmp_path / "network.pt").refused("truncated or damaged")
    torch.save(torch.ones(3), tmp_path / "tensor.pt")
    szilard("measure", tmp_path / "tensor.pt", "--network", spec, "--data", "digits").refused(
        "has no state dict"
    )


def test_data_of_another_kind_are_refused(run, tmp_path):
    (tmp_path / "t.csv").write_text("\n".join(["a,y"] + [f"{i},{i % 3}" for i in range(60)]))
    szilard("measure", run, "--data", tmp_path / "t.csv", "--target", "y").refused(
        "was trained for classification of inputs"
    )


def test_reports_are_rewritten_and_runs_are_compared(run, tmp_path):
    other = tmp_path / "other"
    assert szilard("fit", *TINY, "--no-baselines", "--out", other, "--quiet").code == 0
    (run / "report.html").unlink()
    typed = szilard("report", run, other)
    assert typed.code == 0, typed.output
    assert (run / "report.html").stat().st_size > 1000
    assert "digits: deterministic" in typed.output
    assert "other: SSVI, " in typed.output
    assert "of weights (asked 5 %)" in typed.output
    assert typed.output.splitlines()[-2:] == [str(run / "report.html"), str(other / "report.html")]
