"""Networks of other floating types than float32: a backend takes them, or says in one sentence that it does not."""

from __future__ import annotations

import sys

import pytest
import torch
from cli_tools import szilard
from torch import nn

import szilard as package
from szilard import SzilardError, deploy

KINDS = (torch.float64, torch.float16, torch.bfloat16)


def network(kind: torch.dtype, bayesian: bool = False) -> nn.Module:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    return (package.bayesianize(made, density=1.0) if bayesian else made).to(kind).eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", ["native", "onnx", "inductor", "tvm", "executorch"])
def test_a_backend_refuses_what_it_does_not_take(backend, kind):
    if backend not in deploy.backends.installed():
        pytest.skip(f"{backend} is not installed")
    if kind in deploy.backends.backend(backend).floats:
        pytest.skip("it takes this type")
    name = str(kind).removeprefix("torch.")
    for bayesian in (False, True):
        with pytest.raises(SzilardError) as caught:
            deploy.compile(network(kind, bayesian), torch.ones(2, 6, dtype=kind), backend=backend)
        text = str(caught.value)
        assert text.startswith(f"the network has {name} weights (0.")
        assert text.endswith(
            f"backend {backend} does not take; convert the network with .float(), or use backend eager"
        )
    made = deploy.compile(network(kind).float(), torch.ones(2, 6), backend="native")
    assert made.dtype is torch.float32


@pytest.mark.parametrize("kind", KINDS)
def test_eager_takes_all(kind):
    x = torch.ones(2, 6, dtype=kind)
    for bayesian in (False, True):
        made = deploy.compile(network(kind, bayesian), x)
        assert made.backend == "eager"
        assert any("backend native was not used: the network has" in line for line in made.decisions)
        wanted = deploy.compile(network(kind, bayesian).float(), x.float(), backend="eager")(x.float())
        torch.testing.assert_close(made(x).answer.float(), wanted.answer, atol=0.02, rtol=0.02)


def test_units_keep_the_type():
    units = deploy.Units(torch.arange(6.0), 2.0)
    made = deploy.compile(network(torch.float16), torch.ones(2, 6, dtype=torch.float16), inputs=units)
    assert made(torch.ones(2, 6, dtype=torch.float16)).answer.dtype == torch.float16


def test_an_example_of_another_type():
    with pytest.raises(
        SzilardError, match=r"has float64 weights; convert the network with .float\(\), or the example"
    ):
        deploy.compile(network(torch.float64), torch.ones(2, 6))


def test_the_command_line(tmp_path, monkeypatch):
    (tmp_path / "wide.py").write_text(
        "import torch\nfrom torch import nn\n\n\ndef build():\n"
        "    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).to(torch.float64)\n"
    )
    torch.save(network(torch.float64).state_dict(), tmp_path / "w.pt")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    typed = ("deploy", tmp_path / "w.pt", "--network", f"{tmp_path / 'wide.py'}:build", "--input-shape", "6")
    refused = szilard(*typed, "--backend", "native")
    assert refused.code == 2
    assert (
        "error: the network has float64 weights (0.weight), which backend native does not take"
        in refused.output
    )
    assert szilard(*typed, "--backend", "eager").code == 0
