"""What holds for every sparse method and pattern after every step: counts, order, fresh entries and optimiser state."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from szilard import bayes, methods
from szilard.bayes.draws import Draws
from szilard.networks import Ensemble
from szilard.sparse import Support
from szilard.topology import RandomGrowth, drop_and_grow, explored
from szilard.topology.replace import SECOND_MOMENTS

STEPS, PATTERNS = 4, ("unstructured", "block4", "neuron", "2:4", "fan-in", "fan-in:0.3")
#: Methods that move or remove entries in training; all patterns with RigL, others with σ and with random growth.
OTHERS = {
    "rigl": PATTERNS,
    "free-tickets": PATTERNS,
    "ssvi": ("unstructured", "block4"),
    "set": ("neuron",),
    "srigl": ("fan-in:0.3",),
}
#: Without those that are dense by default, move as another one does, or move weights when a chain begins to sample.
SPARSE = [
    (name, pattern)
    for name in methods.names()
    if methods.uses(name, "density") and name not in ("deterministic", "ensemble", "swag", "dial")
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
        "members": 2,
        "chains": 1,
        "draws": 1,
        "descent": 0.75,
        "burn": 0.0,
    }
    known = methods.options(name)
    options |= {key: value for key, value in wanted.items() if key in known}
    torch.manual_seed(seed)
    method = methods.make(name, 100, **options)
    network = method.prepare(
        nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    )
    return method, network.train(), method.optimizer(network)


def trained_part(network):
    """The network that is trained: of an ensemble, the last copy, or the one that a chain moves."""
    return network.current if isinstance(network, Ensemble) else network


def seen(network, optimizer):
    """Of each weight its entries, and of each of its parameters the values and the optimiser's state of them.

    Entries that are trained beside those of the forward pass count as those of the same weight.
    """
    found = []
    for weight in bayes.weights(trained_part(network)).values():
        more = explored.explored_of(weight)
        flat = torch.cat([weight.support.flat()] + ([more.support.flat()] if more else []))
        flat, order = flat.sort()
        values = {}
        for leaf, parameter in weight.named_parameters(recurse=False):
            parts = [parameter] + ([more.values] if more else [])
            states = [optimizer.state.get(part, {}) for part in parts]
            state = {
                key: torch.cat([one[key] for one in states])[order]
                if len(states) > 1 and t.dim()
                else t.clone()
                for key, t in states[0].items()
                if torch.is_tensor(t)
            }
            values[leaf] = {"value": torch.cat([part.detach() for part in parts])[order], **state}
        found.append((flat, values))
    return found


def check_move(before, after, resized, reserve=None):
    """Fresh entries start at zero or at those of ``reserve``, without momentum; all others keep value and state."""
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
                start = 0 if reserve is None or kind != "value" else reserve[new[fresh]]
                assert bool((now[fresh] == start).all()), kind


def check_members(network, before, trained):
    """A member that is kept does not change, and one that is new is the network that was trained."""
    if isinstance(network, Draws):
        return  # tests/bayes/test_draws_network.py
    for number, member in enumerate(network.members[:-1]):
        old = {name: before[f"members.{number}.{name}"] for name in trained}
        now = member.state_dict()
        assert any(all(torch.equal(now[name], one[name]) for name in now) for one in (old, trained))


@pytest.mark.parametrize(("name", "pattern"), SPARSE)
@given(st.integers(0, 99), st.sampled_from(["sgd", "adam"]))
@settings(max_examples=2, deadline=None)
def test_every_step_keeps_the_invariants(name, pattern, seed, optimizer):
    method, network, trained = started(name, pattern, seed, optimizer)
    rewinds = isinstance(method, methods.Tickets)
    counts = [m.nnz for m in trained_part(network).modules() if isinstance(m, Support)]
    y = torch.arange(16) % 4
    for _ in range(STEPS):
        method.loss(network, DATA, y).backward()
        trained.step()
        trained.zero_grad()
        before, reserve = seen(network, trained), copy.deepcopy(getattr(method, "_reserve", None))
        others, now = [copy.deepcopy(one.state_dict()) for one in (network, trained_part(network))]
        method.after_step(network, trained)
        after = seen(network, trained)
        if isinstance(network, Ensemble):
            check_members(network, others, now)
        for weight in bayes.weights(trained_part(network)).values():
            weight.support.check()  # ascending, without duplicates, within the shape, of the pattern
            assert all(len(parameter) == weight.support.nnz for parameter in weight.parameters(recurse=False))
            more = explored.explored_of(weight)
            if more:
                more.support.check()
                assert not bool(torch.isin(more.support.flat(), weight.support.flat()).any())
        now = [m.nnz for m in trained_part(network).modules() if isinstance(m, Support)]
        assert now == counts or method.resizes
        assert sum(now) <= sum(counts) or name == "acdc"  # which lets all return
        counts = now
        held = {id(p) for group in trained.param_groups for p in group["params"]}
        assert held == {id(parameter) for parameter in trained_part(network).parameters()}
        if rewinds:
            continue
        for number, (one, two) in enumerate(zip(before, after, strict=True)):
            check_move(one, two, method.resizes, reserve and reserve[number])


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
