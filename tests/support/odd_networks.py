"""Networks with modified layers, layers called twice, and tensors used in several places."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}


class Tanh2(nn.Linear):
    """A subclass with a forward of its own."""

    def forward(self, x):
        return 2 * super().forward(x).tanh()


class Standardised(nn.Module):
    """A parametrisation."""

    def forward(self, weight):
        return weight - weight.mean(1, keepdim=True)


class Twice(nn.Module):
    """A layer and a following module, applied twice."""

    def __init__(self, layer, after):
        super().__init__()
        self.layer, self.after = layer, after

    def forward(self, x):
        return self.after(self.layer(torch.relu(self.after(self.layer(x)))))


class Added(nn.Module):
    """The sum of two branches, of the input and of twice the input."""

    def __init__(self, a, b):
        super().__init__()
        self.a, self.b = a, b

    def forward(self, x):
        return self.a(x) + self.b(2 * x)


class Read(nn.Module):
    """A tensor of a layer of the body is also used outside that layer."""

    def __init__(self, body, path):
        super().__init__()
        self.body, self.path = body, path

    def forward(self, x):
        module, _, leaf = self.path.rpartition(".")
        return self.body(x) + getattr(self.body.get_submodule(module), leaf).sum()


class Hidden(nn.Module):
    """Uses a tensor that it does not own, which tracing cannot detect."""

    def __init__(self, tensor):
        super().__init__()
        self.tensor = [tensor]

    def forward(self, x):
        return x + self.tensor[0].sum()

    def __deepcopy__(self, memo):
        copied = Hidden(memo.get(id(self.tensor[0]), self.tensor[0]))
        copied.training = self.training
        return copied


class Residual(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return x + self.body(x)


def hooked(layer):
    layer.register_forward_hook(lambda module, given, output: output.clamp(-1, 1))
    return layer


def pre_hooked(layer):
    layer.register_forward_pre_hook(lambda module, given: (given[0] * 2,))
    return layer


def replaced(layer):
    forward = layer.forward
    layer.forward = lambda x: forward(x) * x.mean().sigmoid()
    return layer


def parametrised(layer):
    parametrize.register_parametrization(layer, "weight", Standardised())
    return layer


def pruned(layer):
    return prune.random_structured(layer, "weight", 0.5, dim=0)


#: Modifications of a layer; each returns the layer to use instead.
ODD = {
    "hook": hooked,
    "pre-hook": pre_hooked,
    "forward of its own": replaced,
    "parametrisation": parametrised,
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "old weight norm": weight_norm,
    "old spectral norm": spectral_norm,
    "prune": pruned,
}


def settled(network, x, seed=0):
    """The network in eval mode, with non-initial statistics, scales and offsets."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
                module.weight.copy_(torch.randn(module.weight.shape, generator=generator) + 0.2)
                module.bias.copy_(torch.randn(module.bias.shape, generator=generator))
        network.train()
        for _ in range(3):
            network(1 + 2 * x)
    return network.eval()
