"""Short training runs: the same seed, full density, a fixed mask, and the memory of a step."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from identities.check import Check, generator, relative
from szilard import bayes
from szilard.methods import SSVI, MeanField, Method
from szilard.sparse import ops


def toy(n: int = 256, features: int = 20, classes: int = 4) -> tuple[Tensor, Tensor]:
    g = generator(6)
    x = torch.randn(n, features, generator=g)
    return x, (x @ torch.randn(features, classes, generator=g)).argmax(1)


def small_network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))


def train(
    method: Method,
    network: nn.Module,
    steps: int,
    watch: Callable[[nn.Module, torch.optim.Optimizer], None] | None = None,
) -> nn.Module:
    x, y = toy()
    x = x.to(next(network.parameters()).dtype)
    method.total_steps = steps
    network = method.prepare(network)
    optimizer = method.optimizer(network)
    g = generator(7)
    for _ in range(steps):
        batch = torch.randint(len(x), (64,), generator=g)
        method.loss(network, x[batch], y[batch]).backward()
        if watch:
            watch(network, optimizer)
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(network, optimizer)
    return network


def same_state(a: nn.Module, b: nn.Module) -> float:
    """Largest difference between two networks' states; infinite where their keys differ."""
    left, right = a.state_dict(), b.state_dict()
    if left.keys() != right.keys():
        return math.inf
    return max(float((left[k].double() - right[k].double()).abs().max()) for k in left)


def same_seed() -> Check:
    a = train(SSVI(256, density=0.2, every=10, seed=3), small_network(), 60)
    b = train(SSVI(256, density=0.2, every=10, seed=3), small_network(), 60)
    other = train(SSVI(256, density=0.2, every=10, seed=4), small_network(), 60)
    distinct = same_state(a, other) > 0
    return Check("same seed, same run, bit for bit", same_state(a, b) if distinct else math.inf, 0.0)


def full_density() -> Check:
    options: dict[str, Any] = {"lr": 1e-3, "initial_std": 0.3, "temperature": 0.1, "seed": 1}
    a = train(SSVI(256, density=1.0, **options), small_network(), 60)
    b = train(MeanField(256, **options), small_network(), 60)
    return Check("density 1 equals dense mean-field", same_state(a, b), 0.0)


def static_twin(steps: int = 50) -> Check:
    """With moves off, SSVI equals mean-field inference under a fixed mask, written in plain dense torch."""
    method = SSVI(
        256,
        density=0.2,
        fraction=0.0,
        lr=1e-3,
        lr_log_std=1.0,
        temperature=0.5,
        prior="fixed",
        prior_scale=0.3,
    )
    start = copy.deepcopy(small_network()).double()
    sparse = method.prepare(start)
    layers = list(bayes.weights(sparse).values())
    masks = [w.support.mask().double() for w in layers]
    means = [w.support.scatter(w.mean.detach()).requires_grad_() for w in layers]
    rhos = [w.support.scatter(w.log_std.detach()).requires_grad_() for w in layers]
    biases = [b.detach().clone().requires_grad_() for n, b in sparse.named_parameters() if n.endswith("bias")]
    adam = torch.optim.Adam([*means, *rhos, *biases], lr=1e-3)
    noise, g = bayes.Noise(), generator(7)
    x, y = toy()
    x = x.double()
    for step in range(steps):
        batch = torch.randint(len(x), (64,), generator=g)
        noise.reset(method.seed, step, 0, 0, 0)
        h, kl = x[batch], torch.zeros((), dtype=torch.float64)
        for number, (mask, mean, rho, bias) in enumerate(zip(masks, means, rhos, biases, strict=True)):
            std = rho.exp() * mask
            deviation = (h.square() @ std.square().t() + ops.TINY).sqrt()
            out = h @ (mean * mask).t() + deviation * noise.normal((mask.shape[0], len(h)), h).t() + bias
            h = out.relu() if number == 0 else out
            kl = kl + (mask * (math.log(0.3) - rho + (std.square() + mean.square()) / (2 * 0.09) - 0.5)).sum()
        loss = F.cross_entropy(h, y[batch]) + 0.5 / 256 * kl
        adam.zero_grad()
        loss.backward()
        adam.step()
    trained = train(method, start, steps)
    error = max(
        relative(w.support.scatter(w.mean.detach()), m.detach() * k)
        for w, m, k in zip(bayes.weights(trained).values(), means, masks, strict=True)
    )
    return Check(
        "moves off equals static-mask mean-field", error, 1e-9, f"relative error after {steps} steps, fp64"
    )


def largest_allocation(size: int = 2048) -> Check:
    """No tensor of the dense weight's size is allocated in a step, a move included (bytes / dense bytes)."""
    from torch.profiler import ProfilerActivity, profile

    network = nn.Sequential(nn.Linear(size, size))
    method = SSVI(1000, density=0.01, every=2, total_steps=100)
    network = method.prepare(network)
    optimizer = method.optimizer(network)
    x, y = torch.randn(16, size, generator=generator(8)), torch.zeros(16, dtype=torch.long)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        for _ in range(4):
            method.loss(network, x, y).backward()
            optimizer.step()
            optimizer.zero_grad()
            method.after_step(network, optimizer)
    largest = max(e.nbytes() for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]")
    return Check(
        "largest allocation in four steps and two moves",
        largest / (4 * size * size),
        0.999,
        "x the dense weight",
    )
