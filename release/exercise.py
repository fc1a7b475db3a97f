"""Tests of the installed szilard without its sources; ``trial.py`` runs them in a new environment.

    python exercise.py [FILE.szd]

For each instruction set of this machine, products and gradients must equal those of torch. A network must survive a
round trip through a file. If FILE.szd is given, it must open.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

import szilard
from szilard.kernels import native

SETS = ("avx512", "avx2", "neon", "baseline")


def gradients(network: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Outputs of the mean network, and the gradients of all weights."""
    network.zero_grad()
    outputs = network(x)
    outputs.square().mean().backward()
    return [outputs.detach(), *(p.grad.clone() for p in network.parameters() if p.grad is not None)]


def agree(data: szilard.data.DataSet) -> list[str]:
    """The instruction sets that this machine supports.

    Raises:
        AssertionError: results of one of them differ from torch.
    """
    network = szilard.networks.build("mlp:32", data.input_shape, data.n_outputs)
    network = szilard.bayesianize(network, density=0.2, fresh=True).eval()
    x = data.train.x[:64]
    asked = os.environ.get("SZILARD_KERNELS", "")
    os.environ["SZILARD_KERNELS"] = "torch"
    wanted = gradients(network, x)
    assert len(wanted) > 3
    os.environ["SZILARD_KERNELS"] = "cpp"
    ran = []
    for name in SETS:
        if native.library().szilard_use_isa(name.encode()):
            continue
        for computed, reference in zip(gradients(network, x), wanted, strict=True):
            torch.testing.assert_close(
                computed, reference, rtol=1e-3, atol=1e-5, msg=f"{name} differs from torch"
            )
        ran.append(name)
    os.environ["SZILARD_KERNELS"] = asked
    assert "baseline" in ran or "neon" in ran, ran
    return ran


def round_trip(data: szilard.data.DataSet) -> int:
    """Compress a network and load the file; return its size in bytes.

    Raises:
        AssertionError: the outputs of the loaded network differ.
    """
    network = szilard.networks.build("mlp:16", data.input_shape, data.n_outputs).eval()
    small = szilard.compress(network, data.train.x[:64], lam=1e-5)
    small.save("round_trip.szd")
    other = szilard.networks.build("mlp:16", data.input_shape, data.n_outputs).eval()
    other.load_state_dict(szilard.load("round_trip.szd"), strict=True)
    with torch.no_grad():
        wanted, found = network(data.test.x).softmax(-1), other(data.test.x).softmax(-1)
    assert (wanted - found).abs().max() < 0.2, (wanted - found).abs().max()
    return len(small.data)


def main() -> None:
    where = Path(szilard.__file__).resolve()
    assert where.is_relative_to(Path(sys.prefix).resolve()), f"{where} is not the installed package"
    data = szilard.data.load("digits")
    print(f"{', '.join(agree(data))} agree with torch")
    print(f"round trip of a network through a file of {round_trip(data):,} bytes")
    for path in sys.argv[1:]:
        state = szilard.load(path)
        assert state, f"{path} contains no tensors"
        assert all(value.isfinite().all() for value in state.values()), (
            f"{path} contains values that are not finite"
        )
        print(f"{path} opens: {len(state)} tensors")


if __name__ == "__main__":
    main()
