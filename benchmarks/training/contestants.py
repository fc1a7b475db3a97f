"""The contestants: all implementations of a training step, for one network and one batch."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from szilard import methods, networks
from szilard.kernels import dispatch
from szilard.methods import Method
from training import masked_dense, peers

N_DATA = 50_000
STEPS = 1_000_000  # total steps of the schedules: long enough that all measured moves have the size of the first one

#: network -> (spec, shape of one input)
NETWORKS: dict[str, tuple[str, tuple[int, ...]]] = {
    "mlp": ("mlp:1024,1024", (784,)),
    "resnet20": ("resnet20", (3, 32, 32)),
    "lenet5": ("lenet5", (1, 28, 28)),
}
DETERMINISTIC = "deterministic"
MEAN_FIELD = "dense mean-field"


@contextmanager
def asking_for(kernels: str | None) -> Iterator[None]:
    """Set ``SZILARD_KERNELS`` inside the block; None does not change it."""
    before = os.environ.get(dispatch.VARIABLE)
    if kernels is not None:
        os.environ[dispatch.VARIABLE] = kernels
    try:
        yield
    finally:
        if before is not None:
            os.environ[dispatch.VARIABLE] = before
        elif kernels is not None:
            del os.environ[dispatch.VARIABLE]


@dataclass
class Contestant:
    """A network that is trained on one fixed batch."""

    name: str
    network: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Callable[[], Tensor]
    method: Method | None = None
    after: Callable[[], None] = field(default=lambda: None)
    kernels: str | None = None  # value of SZILARD_KERNELS; None: not set

    def step(self) -> None:
        """One optimiser step, including any growth batch or move that is due."""
        with asking_for(self.kernels):
            self.optimizer.zero_grad()
            self.loss().backward()
            self.optimizer.step()
            self.after()

    def ordinary_step(self) -> None:
        """One step that neither moves a support nor prepares a move."""
        moves = getattr(self.method, "moves", None)
        if self.method is not None and moves is not None:
            while moves.schedule.collects(self.method.step, STEPS, moves.batches):
                self.method.step += 1
        self.step()

    def interval(self) -> None:
        """All steps from one move of the supports to the next: ordinary steps, growth batches and the move."""
        for _ in range(self.every):
            self.step()

    @property
    def every(self) -> int:
        """Steps of an interval; 1 for methods without moves."""
        moves = getattr(self.method, "moves", None)
        return 1 if moves is None or getattr(self.method, "density", 1.0) == 1 else moves.schedule.every


@dataclass(frozen=True)
class Problem:
    """An untrained network and a batch of noise to train it on."""

    network: nn.Module
    x: Tensor
    y: Tensor

    @classmethod
    def make(cls, name: str, batch: int) -> Problem:
        spec, shape = NETWORKS[name]
        g = torch.Generator().manual_seed(0)
        x = torch.randn(batch, *shape, generator=g)
        return cls(networks.build(spec, shape, 10), x, torch.randint(10, (batch,), generator=g))

    @property
    def has_convolutions(self) -> bool:
        return any(isinstance(module, nn.Conv2d) for module in self.network.modules())


def ssvi_name(density: float) -> str:
    """Name of a row: SSVI and its sparsity, as in the other benchmarks."""
    return f"SSVI {100 * (1 - density):g} %"


def deterministic(
    problem: Problem,
    name: str = DETERMINISTIC,
    make: Callable[[Sequence[Tensor]], torch.optim.Optimizer] | None = None,
    channels_last: bool = False,
) -> Contestant:
    """Plain PyTorch: nn.Module, cross-entropy, and Adam unless a different optimiser is given."""
    network, x, y = copy.deepcopy(problem.network), problem.x, problem.y
    if channels_last:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        x = x.contiguous(memory_format=torch.channels_last)
    parameters = list(network.parameters())
    optimizer = torch.optim.Adam(parameters) if make is None else make(parameters)
    return Contestant(name, network, optimizer, lambda: F.cross_entropy(network(x), y))


def by_method(problem: Problem, name: str, method: Method) -> Contestant:
    """A method of this library, used as documented."""
    method.total_steps = STEPS
    network = method.prepare(problem.network)
    optimizer = method.optimizer(network)
    return Contestant(
        name,
        network,
        optimizer,
        lambda: method.loss(network, problem.x, problem.y),
        method,
        lambda: method.after_step(network, optimizer),
    )


def ssvi(problem: Problem, density: float, kernels: str | None = None) -> Contestant:
    row = by_method(problem, ssvi_name(density), methods.SSVI(N_DATA, density=density))
    row.kernels = kernels
    return row


def mean_field(problem: Problem) -> Contestant:
    return by_method(problem, MEAN_FIELD, methods.MeanField(N_DATA))


def masked(problem: Problem, density: float) -> Contestant:
    """Same network, prior and optimiser as :func:`ssvi`, but with dense masks; time is independent of the density."""
    method = methods.SSVI(N_DATA, density=density)
    network = masked_dense.masked_twin(method.prepare(problem.network))
    log_std = [layer.log_std for layer in masked_dense.masked_layers(network)]
    apart = {id(parameter) for parameter in log_std}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in apart]
    optimizer = torch.optim.Adam(
        [{"params": rest, "lr": method.lr}, {"params": log_std, "lr": method.lr * method.lr_log_std}]
    )
    weight = method.temperature / N_DATA

    def loss() -> Tensor:
        return F.cross_entropy(network(problem.x), problem.y) + weight * masked_dense.kl(network)

    def after() -> None:
        masked_dense.mask_momentum(network, optimizer)

    return Contestant(f"masked-dense {ssvi_name(density)}", network, optimizer, loss, after=after)


def peer(problem: Problem, name: str) -> Contestant:
    """A network of another library.

    Raises:
        ImportError: it is not installed.
    """
    network, criterion = peers.PEERS[name](copy.deepcopy(problem.network), len(problem.x))
    optimizer = torch.optim.Adam(network.parameters())
    return Contestant(name, network, optimizer, lambda: criterion(network(problem.x), problem.y))


def field_of(problem: Problem, densities: Sequence[float]) -> dict[str, Callable[[], Contestant]]:
    """Functions that make the rows, by name, the baseline first; they raise ImportError if a peer is not installed."""
    rows: dict[str, Callable[[], Contestant]] = {DETERMINISTIC: lambda: deterministic(problem)}
    rows |= {
        f"{DETERMINISTIC}, {what}": lambda what=what, make=make: deterministic(  # type: ignore[misc]
            problem, f"{DETERMINISTIC}, {what}", make
        )
        for what, make in (
            ("fused Adam", lambda parameters: torch.optim.Adam(parameters, fused=True)),
            ("SGD", lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9)),
        )
    }
    if problem.has_convolutions:
        name = f"{DETERMINISTIC}, channels last"
        rows[name] = lambda: deterministic(problem, name, channels_last=True)
    rows[MEAN_FIELD] = lambda: mean_field(problem)
    rows |= {ssvi_name(d): lambda d=d: ssvi(problem, d) for d in densities}  # type: ignore[misc]
    if dispatch.implementation(problem.x) != "torch":
        rows[f"{ssvi_name(0.05)}, torch kernels"] = lambda: ssvi(problem, 0.05, "torch")
    rows[f"masked-dense {ssvi_name(0.05)}"] = lambda: masked(problem, 0.05)
    rows |= {name: lambda name=name: peer(problem, name) for name in peers.PEERS}  # type: ignore[misc]
    return rows
