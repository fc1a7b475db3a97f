"""AC/DC: phases, counts of every step, values and optimiser state where phases begin, and its cost."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from szilard import bayes, methods
from szilard.errors import SzilardError
from szilard.topology import Alternating
from szilard.training import total_cost

DENSE = 12 * 20 + 20 * 3
STEPS = 20  # dense up to 2, sparse to 5, dense to 8, sparse to 11, dense to 14, sparse
STARTS = [2, 5, 8, 11, 14]


def start(optimizer="sgd", **options):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(12, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 3))
    given = {
        "density": 0.1,
        "cycles": 2,
        "first": 0.1,
        "final": 0.3,
        "total_steps": STEPS,
        "lr": 0.05,
        "seed": 1,
    }
    method = methods.ACDC(200, optimizer=optimizer, **{**given, **options})
    network = method.prepare(plain).train()
    return method, network, method.optimizer(network)


def update(method, network, optimizer):
    x = torch.randn(16, 12, generator=torch.Generator().manual_seed(method.step))
    method.anneal(optimizer)
    method.loss(network, x, (x[:, 0] > 0).long()).backward()
    optimizer.step()
    optimizer.zero_grad()


def train(method, network, optimizer, count):
    for _ in range(count):
        update(method, network, optimizer)
        method.after_step(network, optimizer)


def entries(network):
    return sum(weight.support.nnz for weight in bayes.weights(network).values())


# -- phases --------------------------------------------------------------------------------------------------


def test_published_schedules():
    """Epochs at which phases start: CIFAR-100 (200 epochs) and ImageNet (100 epochs) of the publication."""
    assert Alternating(4, 0.05, 0.15).starts(200) == [10, 30, 50, 70, 90, 110, 130, 150, 170]
    assert Alternating(6, 0.1, 0.3).starts(100) == list(range(10, 71, 5))


@given(st.integers(1, 8), st.floats(0.01, 0.6), st.floats(0.01, 0.39), st.integers(1, 2000))
@settings(max_examples=60)
def test_a_checked_schedule_begins_dense_and_ends_sparse(cycles, first, final, total):
    made = Alternating(cycles, first, final)
    try:
        made.check(total)
    except SzilardError:
        assert total < 400 * cycles  # phases are at least 1/1600 of all steps
        return
    sparse = [made.is_sparse(step, total) for step in range(total + 1)]
    assert not sparse[0]
    assert sparse[-1]
    assert [step for step in range(1, total) if sparse[step] != sparse[step - 1]] == made.starts(total)
    assert [step for step in range(total + 1) if made.changes(step, total)] == made.starts(total)
    lengths = [after - before for before, after in pairwise(made.starts(total))]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_number_of_entries_of_every_step(optimizer):
    method, network, made = start(optimizer)
    seen = []
    for _ in range(STEPS):
        seen.append(entries(network))
        train(method, network, made, 1)
    lengths = [after - before for before, after in pairwise([0, *STARTS, STEPS])]
    assert seen == [
        count for number, length in enumerate(lengths) for count in [30 if number % 2 else DENSE] * length
    ]
    assert entries(network) == 30
    held = {id(p) for group in made.param_groups for p in group["params"]}
    assert held == {id(p) for p in network.parameters()}


def test_a_sparse_phase_keeps_the_largest_weights_and_their_momenta():
    method, network, optimizer = start()
    train(method, network, optimizer, 1)
    update(method, network, optimizer)
    before = [weight.mean.detach().clone() for weight in bayes.weights(network).values()]
    momenta = [
        optimizer.state[weight.mean]["momentum_buffer"].clone() for weight in bayes.weights(network).values()
    ]
    method.after_step(network, optimizer)
    kept = []
    for weight, value, momentum in zip(bayes.weights(network).values(), before, momenta, strict=True):
        flat = weight.support.flat()
        assert torch.equal(weight.mean, value[flat])
        assert torch.equal(optimizer.state[weight.mean]["momentum_buffer"], momentum[flat])
        kept.append(weight.support.mask().flatten())
    there, sizes = torch.cat(kept), torch.cat(before).abs()
    assert sizes[there].min() >= sizes[~there].max()


def test_a_dense_phase_begins_with_zeros_and_an_empty_optimizer():
    method, network, optimizer = start("adam")
    train(method, network, optimizer, 4)
    update(method, network, optimizer)
    assert optimizer.state
    before = {name: (w.support.mask(), w.dense_mean()) for name, w in bayes.weights(network).items()}
    method.after_step(network, optimizer)
    assert not optimizer.state
    for name, weight in bayes.weights(network).items():
        mask, value = before[name]
        assert weight.support.is_full
        assert torch.equal(weight.dense_mean(), value)
        assert bool((weight.dense_mean()[~mask] == 0).all())
    train(method, network, optimizer, 1)
    returned = network[0].weight.dense_mean()[~before["0"][0]]
    assert bool((returned != 0).any())


def test_frozen_weights_stay():
    method, network, optimizer = start()
    network[0].weight.requires_grad_(False)
    train(method, network, optimizer, STEPS)
    assert [weight.support.nnz for weight in bayes.weights(network).values()] == [240, 6]


def test_training_flops_are_those_of_the_phases():
    method, network, optimizer = start()
    train(method, network, optimizer, STEPS)
    spent = total_cost.of_run(network, (12,), method, batches=[16], seconds=1.0, peak_bytes=0)
    dense_steps = 2 + 3 + 3
    per_step = dense_steps * DENSE + (STEPS - dense_steps) * 30
    assert spent.train_flops == 3 * 2 * 16 * per_step


# -- errors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"density": 1.0}, "sparse phases of AC/DC need a density below 1"),
        ({"cycles": 0}, "cycles of sparse and dense phases must be at least 1, not 0"),
        ({"first": 0.0}, "first and final are fractions of all steps above 0"),
        ({"first": 0.5, "final": 0.5}, "leave some for the phases between"),
        ({"total_steps": 5}, "5 steps are too few for 6 phases"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(SzilardError, match=message):
        start(**options)


def test_an_unreachable_density_is_refused():
    with pytest.raises(SzilardError, match="leaves 1 entries, and each of the 2 weights keeps at least one"):
        start(density=0.004)


@pytest.mark.parametrize("name", ["acdc", "gradual"])
def test_a_step_without_its_optimizer_is_refused(name):
    made = methods.make(
        name, 200, density=0.2, total_steps=STEPS, **({"every": 2} if name == "gradual" else {})
    )
    network = made.prepare(nn.Sequential(nn.Linear(12, 3))).train()
    optimizer = made.optimizer(network)
    train(made, network, optimizer, 1)
    update(made, network, optimizer)
    with pytest.raises(SzilardError, match=r"call method\.after_step\(network, optimizer\) "):
        made.after_step(network)
