"""Dynamic sparse training of other libraries, used as their READMEs and signatures say.

* sparsimony 0.1 (MIT): RigL with masks as parametrisations, layer densities by Erdős-Rényi-Kernel, fresh weights scaled
  for sparse units.
* rigl-torch 0.5.2: RigL with masks on gradients and weights; densities are uniform and the first layer is dense.

Both compute dense products with masked weights. Neither is required: a peer that is not installed has no row. They ask
for another numpy or torchvision than the rest, which their code does not need: ``make bench-peers`` installs them
without dependencies. SET of sparsimony 0.1.0 does not run: its first move stops at an assertion on the number of ones.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable

import torch
from torch import nn

#: After ``loss.backward()``: one step, a move of the masks or an update of the weights.
Step = Callable[[], None]


def sparsimony(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    density: float,
    *,
    steps: int,
    every: int,
    fraction: float,
) -> Step:
    """RigL of sparsimony.

    Raises:
        ImportError: the library is not installed.
    """
    rigl = importlib.import_module("sparsimony.dst.rigl")
    schedulers = importlib.import_module("sparsimony.schedulers.base")
    distributions = importlib.import_module("sparsimony.distributions.base")
    end = int(0.75 * steps)
    topology = rigl.RigL(
        schedulers.CosineDecayScheduler(fraction, end, every),
        distributions.ERKDistribution(),
        optimizer,
        sparsity=1 - density,
    )
    layers = [name for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    topology.prepare(network, [{"tensor_fqn": f"{name}.weight"} for name in layers])

    def step() -> None:
        if not topology.step():
            optimizer.step()

    return step


def rigl_torch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    density: float,
    *,
    steps: int,
    every: int,
    fraction: float,
) -> Step:
    """RigL of rigl-torch.

    Raises:
        ImportError: the library is not installed.
    """
    if (
        "torchvision" not in sys.modules
    ):  # it compares modules with two classes of ResNets, and uses nothing else
        block = type("Block", (), {})
        resnet = types.SimpleNamespace(Bottleneck=block, BasicBlock=block)
        placeholder = types.ModuleType("torchvision")
        placeholder.models = types.SimpleNamespace(resnet=resnet)  # type: ignore[attr-defined]
        sys.modules["torchvision"] = placeholder
    try:
        scheduler = importlib.import_module("rigl_torch.RigL").RigLScheduler
    finally:
        if not hasattr(sys.modules["torchvision"], "__version__"):
            del sys.modules["torchvision"]
    pruner = scheduler(
        network, optimizer, dense_allocation=density, T_end=int(0.75 * steps), delta=every, alpha=fraction,
        grad_accumulation_n=1, ignore_linear_layers=False,
    )  # fmt: skip

    def step() -> None:
        if pruner():
            optimizer.step()

    return step


PEERS: dict[str, Callable[..., Step]] = {
    "rigl of sparsimony": sparsimony,
    "rigl of rigl-torch (first layer dense)": rigl_torch,
}
