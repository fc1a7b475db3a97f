"""What holds for every sparse method and pattern after every step: counts, order, fresh entries and optimiser state."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from szilard import bayes, methods
from szilard.sparse import Support
from szilard.topology import RandomGrowth, drop_and_grow
from szilard.topology.replace import SECOND_MOMENTS

STEPS, PATTERNS = 4, ("unstructured", "block4", "neuron", "2:4", "fan-in", "fan-in:0.3")
#: Methods that move or remove entries in training; all patterns with RigL, others with σ and with random growth.
OTHERS = {"rigl": PATTERNS, "ssvi": ("unstructured", "block4"), "set": ("neuron",), "srigl": ("fan-in:0.3",)}
#: Dense by default; with weights that are trained and not used; of several networks, which move as with RigL.
APART = ("deterministic", "topkast", "free-tickets")
SPARSE = [
    (name, pattern)
    for name in methods.names()
    if methods.uses(name, "density") and name not in APART
    for pattern in OTHERS.get(name, PATTERNS[:1])
]
DATA = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))


def started(name, pattern, seed, optimizer):
    """A method on a small network, which moves after every step if it moves at all."""
    options = {"density": 0.5, "seed": seed, "optimizer": optimizer, "lr": 0.05, "total_steps": STEPS}
    wanted = {
        "every": 1,
        "allocation": "uniform",
        "prune": 0.3,
        "pattern": pattern,
        "cycles": 1,
        "first": 0.25,
    }
    known = methods.options(name)
    options |= {key: value for key, value in wanted.items() if key in known}
    torch.manual_seed(seed)
    method = methods.make(name, 100, **options)
    network = method.prepare(
        nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    )
    return method, network.train(), method.optimizer(network)


def seen(network, optimizer):
    """Of each weight its entries, and of each of its parameters the values and the optimiser's state of them."""
    found = []
    for weight in bayes.weights(network).values():
        values = {}
        for leaf, parameter in weight.named_parameters(recurse=False):
            state = {
                key: t.clone() for key, t in optimizer.state.get(parameter, {}).items() if torch.is_tensor(t)
            }
            values[leaf] = {"value": parameter.detach().clone(), **state}
        found.append((weight.support.flat(), values))
    return found


def check_move(before, after, resized):
    """Fresh entries start at zero without momentum; all others keep value and state."""
    old, values = before
    new, found = after
    fresh = ~torch.isin(new, old)
    if resized and not bool(fresh.any()) and len(new) == len(old):
        return
    place = torch.searchsorted(old, new).clamp_(max=len(old) - 1)
    for leaf, kinds in found.items():
        for kind, now in kinds.items():
            was = values[leaf].get(kind)
            if was is None or was.shape != old.shape:
                continue
            carried = now == was[place]
            if resized:  # an entry can be removed, and grown again in the same step
                carried |= now == 0
            assert bool((carried | fresh).all()), (leaf, kind)
            if leaf == "mean" and kind not in SECOND_MOMENTS:
                assert bool((now[fresh] == 0).all()), kind


@pytest.mark.parametrize(("name", "pattern"), SPARSE)
@given(st.integers(0, 99), st.sampled_from(["sgd", "adam"]))
@settings(max_examples=2, deadline=None)
def test_every_step_keeps_the_invariants(name, pattern, seed, optimizer):
    method, network, trained = started(name, pattern, seed, optimizer)
    rewinds = isinstance(method, methods.Tickets)
    counts = [weight.support.nnz for weight in bayes.weights(network).values()]
    y = torch.arange(16) % 4
    for _ in range(STEPS):
        method.loss(network, DATA, y).backward()
        trained.step()
        trained.zero_grad()
        before = seen(network, trained)
        method.after_step(network, trained)
        after = seen(network, trained)
        for weight in bayes.weights(network).values():
            weight.support.check()  # ascending, without duplicates, within the shape, of the pattern
            assert all(len(parameter) == weight.support.nnz for parameter in weight.parameters(recurse=False))
        now = [weight.support.nnz for weight in bayes.weights(network).values()]
        assert now == counts or method.resizes
        assert sum(now) <= sum(counts) or name == "acdc"  # which lets all return
        counts = now
        held = {id(p) for group in trained.param_groups for p in group["params"]}
        assert held == {id(parameter) for parameter in network.parameters()}
        if rewinds:
            continue
        for one, two in zip(before, after, strict=True):
            check_move(one, two, method.resizes)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_are_exact_after_a_hundred_moves(pattern):
    generator = torch.Generator().manual_seed(0)
    support = Support.random((12, 16), 96, generator, pattern)
    entries, moved = support.nnz, 0
    for number in range(100):
        score = torch.rand(entries, generator=generator)
        moved += drop_and_grow(support, score, RandomGrowth(number), 0.3).dropped
    support.check()
    assert support.nnz == entries
    assert moved > 5 * entries
    mask = support.mask()
    if pattern == "2:4":
        assert bool((mask.view(12, 4, 4).sum(2) == 2).all())
    if pattern.startswith("fan-in"):
        rows = mask.sum(1)
        assert set(rows[rows > 0].tolist()) == {entries // int((rows > 0).sum())}
    if pattern == "block4":
        assert set(mask.view(3, 4, 4, 4).sum((1, 3)).flatten().tolist()) <= {0, 16}
    if pattern == "neuron":
        assert math.prod((int(mask.any(1).sum()), int(mask.any(0).sum()))) == entries
