"""Run by ``trial.py`` in a fresh environment: the installed szilard, without its sources.

    python exercise.py [FILE.szd]

The products and gradients of each instruction set that this machine has must be those of torch, and the file, if one is
given, must open to a network that answers.
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
    """Outputs of the mean, and the gradients of all weights."""
    network.zero_grad()
    outputs = network(x)
    outputs.square().mean().backward()
    return [outputs.detach(), *(p.grad.clone() for p in network.parameters() if p.grad is not None)]


def agree(data: szilard.data.DataSet) -> list[str]:
    """The instruction sets that ran here.

    Raises:
        AssertionError: if one of them computes something else than torch.
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


def answers(path: str, data: szilard.data.DataSet) -> float:
    """Accuracy of the network in a file, on the test set."""
    network = szilard.load(path).eval()
    with torch.no_grad():
        outputs = network(data.test.x)
    assert outputs.isfinite().all()
    return float((outputs.argmax(-1) == data.test.y).double().mean())


def main() -> None:
    where = Path(szilard.__file__).resolve()
    assert where.is_relative_to(Path(sys.prefix).resolve()), f"{where} is not the installed package"
    data = szilard.data.load("digits")
    print(f"{', '.join(agree(data))} agree with torch")
    for path in sys.argv[1:]:
        right = answers(path, data)
        assert right > 0.25, f"{path} opens to a network that names {right:.0%} of the digits"
        print(f"{path} opens: accuracy {right:.1%}")


if __name__ == "__main__":
    main()
