"""Methods with a sparse topology that changes: budgets, determinism, and the state of a run."""

from __future__ import annotations

import functools
import hashlib
import warnings
from itertools import pairwise

import pytest
import torch
from torch import nn

from szilard import bayes, cost, methods
from szilard.errors import SzilardError, SzilardWarning
from szilard.training import total_cost

STEPS = 40
#: Every method below, with moves frequent enough for a short run.
FAST = {
    "static": {}, "set": {"every": 4}, "rigl": {"every": 4}, "itop": {"every": 4}, "gradual": {"every": 4},
    "granet": {"every": 4}, "srigl": {"every": 4}, "tickets": {}, "snfs": {"every": 4}, "acdc": {},
}  # fmt: skip


@functools.cache
def batches():
    """One for each step; nothing changes them."""
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(16, 12, generator=generator) for _ in range(STEPS)]
    return [(x, (x[:, :3].sum(1) > 0).long() + (x[:, 3] > 1).long()) for x in inputs]


def plain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 3))


def start(name, optimizer="sgd", **options):
    method = methods.make(
        name,
        200,
        density=0.2,
        seed=1,
        total_steps=STEPS,
        lr=0.05,
        optimizer=optimizer,
        **FAST[name],
        **options,
    )
    network = method.prepare(plain()).train()
    return method, network, method.optimizer(network)


def train(method, network, optimizer, count, skip=0):
    assert skip + count <= STEPS
    for x, y in batches()[skip : skip + count]:
        method.loss(network, x, y).backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(network, optimizer)


def entries(network):
    return sum(weight.support.nnz for weight in bayes.weights(network).values())


def digest(network):
    found = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        found.update(name.encode() + value.contiguous().numpy().tobytes())
    return found.hexdigest()


DENSE = 12 * 20 + 20 * 20 + 20 * 3
#: Whole fan-ins of 47, 59 and 34 entries in 20, 20 and 3 rows: 2, 3 and 12, whose total is the nearest to 140.
BUDGETS = {"srigl": 2 * 20 + 3 * 20 + 12 * 3}


def budget(name):
    return BUDGETS.get(name, round(0.2 * DENSE))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", FAST)
def test_a_network_ends_at_its_density(name, optimizer):
    method, network, made = start(name, optimizer)
    train(method, network, made, STEPS)
    assert entries(network) == budget(name)
    parameters = {id(parameter) for parameter in network.parameters()}
    assert {id(p) for group in made.param_groups for p in group["params"]} == parameters
    for weight in bayes.weights(network).values():
        weight.support.check()
        dense = weight.support.scatter(weight.mean.detach())
        assert bool((dense[~weight.support.mask()] == 0).all())


@pytest.mark.parametrize("name", [name for name in FAST if name != "acdc"])
def test_the_budget_of_every_step(name):
    """Constant, or that of the cubic to the nearest entry."""
    method, network, made = start(name)
    before, seen = entries(network), []
    for step in range(STEPS):
        train(method, network, made, 1, step)
        seen.append(entries(network))
    if not hasattr(method, "budget"):
        assert set(seen) == {before} == {budget(name)}
        return
    for step, found in enumerate(seen, 1):
        if method.budget.changes(step, STEPS):
            assert found == round(method.budget.density_at(step, STEPS) * DENSE)
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) > 3
    mean = sum([before, *seen[:-1]]) / STEPS
    assert sum(method.mean_entries) == pytest.approx(mean)


@pytest.mark.parametrize("name", FAST)
def test_moves_explore_and_a_static_mask_does_not(name):
    method, network, made = start(name)
    masks = []
    for step in range(STEPS):
        train(method, network, made, 1, step)
        masks.append([weight.support.mask().clone() for weight in bayes.weights(network).values()])
    grown = sum(
        int((after & ~before).sum())
        for one, two in pairwise(masks)
        for before, after in zip(one, two, strict=True)
    )
    assert (grown > 0) == (name not in ("static", "gradual", "tickets"))


@pytest.mark.parametrize("name", FAST)
def test_a_run_in_two_halves_equals_a_run_in_one(name):
    whole, network, made = start(name)
    train(whole, network, made, STEPS)
    first, half, optimizer = start(name)
    train(first, half, optimizer, 18)
    kept = first.state_dict(), half.state_dict(), optimizer.state_dict()
    second, again, fresh = start(name)
    if second.resizes:
        second.match_supports(again, kept[1])
        fresh = second.optimizer(again)
    again.load_state_dict(kept[1])
    fresh.load_state_dict(kept[2])
    second.load_state_dict(kept[0])
    train(second, again, fresh, STEPS - 18, 18)
    assert digest(again) == digest(network)


def test_random_growth_computes_no_dense_gradient():
    counted = {}
    for name in ("set", "rigl"):
        method, network, made = start(name)
        train(method, network, made, STEPS)
        counted[name] = method.moves.gradient_examples([1], STEPS, STEPS)
    assert counted == {"set": 0, "rigl": 7}  # before the steps 4, 8, ..., 28 of 30


@pytest.mark.parametrize("name", ["static", "set", "itop", "snfs", "ssvi", "sparse-deterministic"])
def test_these_methods_start_on_the_entries_of_rigl(name):
    def entries(name, **options):
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 9, 3), nn.Flatten(), nn.Linear(36, 5)
        )
        prepared = methods.make(name, 9, density=0.2, seed=3, **options).prepare(network)
        return [weight.support.flat().tolist() for weight in bayes.weights(prepared).values()]

    others = {"allocation": "erk", "dense_stem": False} if name in ("ssvi", "sparse-deterministic") else {}
    assert entries(name, **others) == entries("rigl")


def test_training_flops_count_the_examples_of_each_growth_batch():
    method = methods.make("rigl", 39, density=0.2, every=4, end=1.0, total_steps=13)
    network = method.prepare(plain())
    method.step = 12
    spent = total_cost.of_run(network, (12,), method, batches=[16, 16, 7], seconds=1.0, peak_bytes=0)
    # moves after 4, 8 and 12 steps: the first, second and third batch of an epoch
    known = cost.training_flops(network, (12,), examples=4 * 39, growth_examples=16 + 16 + 7)
    assert spent.train_flops == known
    method.step = 8
    spent = total_cost.of_run(network, (12,), method, batches=[16, 16, 7], seconds=1.0, peak_bytes=0)
    assert spent.train_flops == cost.training_flops(network, (12,), examples=2 * 39 + 32, growth_examples=32)


def test_training_flops_follow_the_number_of_entries():
    method, network, made = start("gradual")
    train(method, network, made, STEPS)
    entries_by_layer = dict(zip(bayes.weights(network), method.mean_entries, strict=True))
    found = cost.training_flops(network, (12,), examples=100, mean_entries=entries_by_layer)
    assert found == round(3 * 2 * 100 * sum(method.mean_entries))
    assert cost.training_flops(network, (12,), examples=100) == 3 * 2 * 100 * entries(network)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gradual", {"pattern": "block4"}, "takes no pattern block4"),
        ("gradual", {"density": 0.9, "initial_density": 0.5}, "densities must fall"),
        ("granet", {"begin": 0.8}, "0 <= begin < end"),
        ("set", {"last": 0.5}, "never become larger"),
        ("rigl", {"growth": "nearest"}, "growth must be one of"),
        ("rigl", {"optimizer": "lion"}, "unknown optimizer 'lion'"),
        ("rigl", {"optimizer": "sgd", "momentum": 1.0}, "momentum must be in"),
    ],
)
def test_invalid_options_are_refused(name, options, message):
    with pytest.raises(SzilardError, match=message):
        methods.make(name, 100, **options)


def images():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3)
    )


@pytest.mark.parametrize("stem", [True, False])
@pytest.mark.parametrize(("name", "initial"), [("gradual", 1.0), ("granet", 1.0), ("granet", 0.5)])
def test_a_dense_stem_is_not_pruned(name, initial, stem):
    method = methods.make(
        name, 200, density=0.1, initial_density=initial, dense_stem=stem, every=2, total_steps=40
    )
    network = method.prepare(images()).train()
    optimizer = method.optimizer(network)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SzilardWarning)
        for x, y in batches():
            method.loss(network, x[:, :1].expand(-1, 36).reshape(-1, 1, 6, 6), y).backward()
            optimizer.step()
            optimizer.zero_grad()
            method.after_step(network, optimizer)
        method.finish(network, [])
    first, *rest = bayes.weights(network).values()
    found = bayes.density(network)
    assert first.stem == stem
    if stem:
        assert first.support.is_full
        assert (found.stem, found.converted) == (54, 324 + 72)
        assert sum(weight.support.nnz for weight in rest) == found.existing == round(0.1 * 396)
    else:
        assert not first.support.is_full
        assert (found.stem, found.existing, found.converted) == (0, 45, 450)
