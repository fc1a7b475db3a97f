"""Networks with hooks, parametrisations, shared or frozen layers, damaged weights or constant outputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

from zoo import tasks
from zoo.case import Case
from zoo.layers import Call, Centred, Doubled, Then, Twice, removed
from zoo.plain import conv_norm, mlp, pooled


def changed(change: object) -> object:
    """An MLP whose first layer is changed by ``change``."""

    def build() -> nn.Module:
        network = mlp(nn.ReLU())
        network[0] = change(network[0])  # type: ignore[operator]
        return network

    return build


def hooked(layer: nn.Module) -> nn.Module:
    layer.register_forward_hook(lambda module, given, output: output.clamp(-2, 2))
    return layer


def pre_hooked(layer: nn.Module) -> nn.Module:
    layer.register_forward_pre_hook(lambda module, given: (given[0] * 2,))
    return layer


def centred(layer: nn.Module) -> nn.Module:
    parametrize.register_parametrization(layer, "weight", Centred())
    return layer


def pruned(network: nn.Module) -> nn.Module:
    return prune.ln_structured(network, "weight", 0.4, 2, 0)


def shared_norm() -> nn.Module:
    norm = nn.BatchNorm1d(24)
    return nn.Sequential(
        nn.Linear(12, 24), norm, nn.ReLU(), nn.Linear(24, 24), norm, nn.ReLU(), nn.Linear(24, 4)
    )


def shared_bias() -> nn.Module:
    network = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 4))
    network[2].bias = network[0].bias
    return network


def read_elsewhere() -> nn.Module:
    def how(self: Call, x: Tensor) -> Tensor:
        return self.body(x) + self.body[0].weight.abs().sum() * self.body[2].bias

    return Call(how, body=mlp(nn.ReLU()))


def norm_on_channels() -> nn.Module:
    """BatchNorm1d on ``[B, C, L]`` after a linear map of L."""
    return nn.Sequential(
        nn.Linear(10, 10),
        nn.BatchNorm1d(6),
        nn.ReLU(),
        Then(nn.Identity(), lambda z: z.mean(2)),
        nn.Linear(6, 4),
    )


def unequal(network: nn.Module) -> nn.Module:
    """Layers of very unequal scales, with the same function."""
    with torch.no_grad():
        network[0].weight.mul_(1e3)
        network[0].bias.mul_(1e3)
        network[2].weight.mul_(1e-3)
    return network


def dead(network: nn.Module) -> nn.Module:
    with torch.no_grad():
        network[0].weight[::2] = 0
        network[0].bias[::2] = 0
    return network


def constant(network: nn.Module) -> nn.Module:
    with torch.no_grad():
        network[2].weight.zero_()
    return network


def damaged(network: nn.Module) -> nn.Module:
    with torch.no_grad():
        network[0].weight[1, 2] = torch.nan
    return network


def random() -> nn.Module:
    return Call(lambda self, x: self.body(F.dropout(x, 0.5)), body=mlp(nn.ReLU()))


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(24), nn.ReLU(), nn.Linear(24, 4))


def odd_names() -> nn.Module:
    names = {
        "weight": nn.Linear(12, 24),
        "Größe [λ]": nn.ReLU(),
        "class": nn.Linear(24, 4),
        "new\nline": nn.Identity(),
    }
    network = nn.Module()
    for name, layer in names.items():
        network.add_module(name, layer)
    return Call(lambda self, x: nn.Sequential(*self.inside.children())(x), inside=network)


def frozen() -> nn.Module:
    """A frozen first layer, and a float buffer."""
    network = nn.Sequential(nn.Linear(12, 24).requires_grad_(False), nn.ReLU(), nn.Linear(24, 4))
    network.register_buffer("scale", torch.tensor([0.5, 2.0, 3.0]))
    return network


def gated() -> nn.Module:
    """Data-dependent control flow, which tracing cannot follow."""

    def how(self: Call, x: Tensor) -> Tensor:
        z = self.first(x)
        return self.last(torch.relu(z)) if z.sum() > -1e9 else self.last(z)

    return Call(how, first=nn.Linear(12, 24), last=nn.Linear(24, 4))


def in_place() -> nn.Module:
    return pooled(*conv_norm(3, 12), nn.ReLU(inplace=True), *conv_norm(12, 12), nn.ReLU(inplace=True))


def weightless_norm() -> nn.Module:
    return nn.Sequential(
        nn.Linear(12, 24), nn.BatchNorm1d(24, affine=False), nn.ReLU(), nn.Linear(24, 16),
        nn.BatchNorm1d(16, track_running_stats=False), nn.ReLU(), nn.Linear(16, 4),
    )  # fmt: skip


ODD = [
    Case("hook", changed(hooked), tasks.vectors),
    Case("pre-hook", changed(pre_hooked), tasks.vectors),
    Case("weight norm", changed(parametrizations.weight_norm), tasks.vectors, plain=removed),
    Case("old weight norm", changed(weight_norm), tasks.vectors, plain=removed),
    Case("spectral norm", changed(parametrizations.spectral_norm), tasks.vectors, plain=removed),
    Case("old spectral norm", changed(spectral_norm), tasks.vectors, plain=removed),
    Case("prune", changed(pruned), tasks.vectors, plain=removed),
    Case("standardised weights", changed(centred), tasks.vectors, plain=removed),
    Case("subclass with its own forward", changed(lambda layer: Doubled(12, 24)), tasks.vectors),
    Case("BatchNorm1d on [B, C, L] after Linear", norm_on_channels, lambda: tasks.maps(6, 10)),
    Case(
        "a layer called twice",
        lambda: nn.Sequential(nn.Linear(12, 24), nn.ReLU(), Twice(nn.Linear(24, 24)), nn.Linear(24, 4)),
        tasks.vectors,
    ),
    Case("a BatchNorm called twice", shared_norm, tasks.vectors),
    Case("a bias in two layers", shared_bias, tasks.vectors),
    Case("a weight read elsewhere", read_elsewhere, tasks.vectors),
    Case("BatchNorm without affine parameters or running statistics", weightless_norm, tasks.vectors),
    Case("in-place ReLU", in_place, tasks.images),
    Case("control flow", gated, tasks.vectors),
    Case("frozen layer, float buffer", frozen, tasks.vectors),
    Case("odd names", odd_names, tasks.vectors),
    Case("layers of unequal scales", lambda: mlp(nn.ReLU()), tasks.vectors, finish=unequal),
    Case("dead units", lambda: mlp(nn.ReLU()), tasks.vectors, finish=dead),
    Case("constant outputs", lambda: mlp(nn.ReLU()), tasks.vectors, finish=constant),
    Case("untrained", lambda: mlp(nn.ReLU()), tasks.vectors, train=0),
    Case("random outputs", random, tasks.vectors, refusal=True),
    Case("NaN in a weight", lambda: mlp(nn.ReLU()), tasks.vectors, finish=damaged, refusal=True),
    Case("Lazy module", lazy, tasks.vectors, train=0, refusal=True),
]
