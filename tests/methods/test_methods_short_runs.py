"""What a sparse method says of a run that is too short, of a missing optimiser, and of a density it has not reached."""

from __future__ import annotations

import re
import warnings

import pytest
import torch

from szilard import SzilardError, methods, networks
from szilard.bayes.network_weights import weights
from szilard.errors import SzilardWarning
from szilard.methods import more_entries

X = torch.randn(32, 10, generator=torch.Generator().manual_seed(0))
Y = X[:, :3].argmax(1)


def _start(name, **options):
    method = methods.make(name, 320, **({"density": 0.2, "seed": 1} | options))
    return method, method.prepare(networks.build("mlp:16", (10,), 3, seed=0)).train()


def _train(method, network, steps, optimizer=None):
    optimizer = method.optimizer(network) if optimizer is None else optimizer
    several = optimizer if isinstance(optimizer, list) else [optimizer]
    for _ in range(steps):
        method.loss(network, X, Y).backward()
        for one in several:
            one.step()
            one.zero_grad()
        method.after_step(network, optimizer)


def _density(network):
    held = weights(network).values()
    return sum(w.support.nnz for w in held) / sum(w.support.rows * w.support.cols for w in held)


@pytest.mark.parametrize("name", ["itop", "rigl", "set", "srigl", "ssvi"])
def test_a_run_without_a_move_is_a_warning(name):
    method, network = _start(name, every=60, total_steps=40)
    with pytest.warns(SzilardWarning, match="moves entries every 60 steps .* none moves in this run"):
        _train(method, network, 1)


@pytest.mark.parametrize("name", ["static", "deterministic"])
def test_methods_that_never_move_say_nothing(name):
    options = {} if name == "static" else {"density": 1.0}
    method = methods.make(
        name, 320, total_steps=4, **({"density": 0.2} | options if name == "static" else {})
    )
    network = method.prepare(networks.build("mlp:16", (10,), 3, seed=0)).train()
    with warnings.catch_warnings():
        warnings.simplefilter("error", SzilardWarning)
        _train(method, network, 1)


def test_few_changes_of_a_falling_density_are_a_warning():
    method, network = _start("gradual", every=100, total_steps=270)
    with pytest.warns(
        SzilardWarning, match=r"removes weights in 3 changes only, 100 steps apart, .* at most 20,"
    ):
        _train(method, network, 1)


@pytest.mark.parametrize(
    ("name", "total", "every"),
    [("gradual", 270, 10), ("granet", 270, 6), ("gradual", 100_000, 100), ("granet", 8, 1)],
)
def test_the_default_interval_fits_the_run(name, total, every):
    method, _ = _start(name, total_steps=total)
    assert method.budget.every == method.moves.schedule.every == every
    later, network = _start(name)  # the number of steps is set later
    later.total_steps = total
    later.loss(network, X, Y)
    assert later.budget.every == every


def test_a_loaded_state_has_the_same_interval():
    method, network = _start("granet", total_steps=60)
    _train(method, network, 10)
    other, _ = _start("granet")
    other.load_state_dict(method.state_dict())
    assert other.budget.every == method.budget.every == 1


@pytest.mark.parametrize("name", ["gradual", "granet", "acdc", "tickets"])
def test_an_optimiser_that_is_left_out(name):
    method, network = _start(name, total_steps=40, **({"prune": 0.5} if name == "tickets" else {}))
    first, second = (weight.mean for weight in weights(network).values())
    rest = [p for p in network.parameters() if p is not first and p is not second]
    one, other = torch.optim.SGD([first, *rest], 0.1), torch.optim.SGD([second], 0.1)

    def train():
        for _ in range(40):
            method.loss(network, X, Y).backward()
            one.step()
            other.step()
            method.after_step(network, one)

    with pytest.raises(SzilardError, match="no optimiser given to after_step holds that of 1 of them"):
        train()


def test_all_optimisers_in_a_list():
    method, network = _start("gradual", total_steps=40)
    first, second = (weight.mean for weight in weights(network).values())
    rest = [p for p in network.parameters() if p is not first and p is not second]
    _train(method, network, 40, [torch.optim.SGD([first, *rest], 0.1), torch.optim.SGD([second], 0.1)])
    assert _density(network) == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("name", ["rigl", "ssvi", "gradual"])
def test_an_optimiser_of_another_network(name):
    method, network = _start(name, total_steps=40)
    optimizer = torch.optim.SGD(networks.build("mlp:16", (10,), 3).parameters(), 0.1)
    method.loss(network, X, Y).backward()
    with pytest.raises(SzilardError, match=r"holds no parameter of this network|holds those of 2 of them"):
        method.after_step(network, optimizer)


@pytest.mark.parametrize("name", ["gradual", "granet", "tickets", "acdc"])
def test_training_that_stopped_early_is_a_warning(name):
    options = {"prune": 0.5} if name == "tickets" else {}
    method, network = _start(name, total_steps=400, **options)
    _train(method, network, 3)
    with pytest.warns(
        SzilardWarning, match="stopped after 3 of 400 steps; train to the end, or make it with total"
    ):
        method.finish(network, [(X, Y)])


def test_frozen_weights_that_keep_their_entries_are_a_warning():
    method, network = _start("gradual", total_steps=30)
    next(iter(weights(network).values())).mean.requires_grad_(False)
    _train(method, network, 30, torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 0.1))
    with pytest.warns(SzilardWarning, match="% of its weights, not 20 %: 1 of its 2 weights are frozen"):
        method.finish(network, [(X, Y)])


@pytest.mark.parametrize("name", ["gradual", "granet", "tickets", "acdc", "snfs"])
def test_a_density_that_was_reached_is_no_warning(name):
    options = {"prune": 0.5} if name == "tickets" else {}
    method, network = _start(name, total_steps=40, **options)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*of its weights, not", SzilardWarning)
        _train(method, network, 40)
        method.finish(network, [(X, Y)])
    assert _density(network) == pytest.approx(0.2, abs=0.01)


def test_a_network_of_a_later_step_than_the_method():
    method, network = _start("tickets", prune=0.5, total_steps=12)
    _train(method, network, 8)
    fresh, _ = _start("tickets", prune=0.5, total_steps=12)
    with pytest.raises(SzilardError, match="load the state of the method that was saved with it"):
        _train(fresh, network, 12)


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("rigl", {"pattern": "block200"}, "because units of pattern block200 are too large"),
        ("rigl", {"pattern": "block4"}, None),
        ("rigl", {}, None),
        ("rigl", {"except_": "1"}, None),  # a layer that stays dense on request does not count
        ("rigl", {"density": 1e-4}, "has 0.034 % of its weights, where density 0.0001 was asked for"),
        ("snfs", {"density": 1e-4}, "will have 0.034 % .* because every layer keeps at least one entry"),
        ("gradual", {"density": 1e-3}, None),
    ],
)
def test_more_weights_than_asked_for(name, options, why):
    method = methods.make(name, 100, **{"density": 0.05, **options})
    network = method.prepare(networks.build("mlp:64,64", (64,), 10))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        more_entries.warn(method, network)
    assert [bool(re.search(why, str(one.message))) for one in seen] == ([True] if why else [])


def test_a_loop_is_told_of_more_weights_than_asked_for():
    method, network = _start("rigl", density=1e-3, total_steps=100, every=10)
    with pytest.warns(
        SzilardWarning, match="RigL has .* % of its weights, where density 0.001 was asked for"
    ):
        _train(method, network, 1)


@pytest.mark.parametrize("name", ["rigl", "gradual", "ssvi", "topkast"])
def test_a_loop_without_after_step_is_told_at_the_end(name):
    method, network = _start(name, total_steps=4)
    optimizer = method.optimizer(network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(4):
            method.loss(network, X, Y).backward()
            optimizer.step()
    with pytest.warns(SzilardWarning, match="4 losses and no step of training was counted.*after_step"):
        method.finish(network, [(X, Y)])


@pytest.mark.parametrize(
    ("name", "anneals", "told"),
    [
        ("rigl", False, 1),
        ("gradual", False, 1),
        ("static", False, 0),
        ("static", True, 1),
        ("ssvi", False, 1),
    ],
)
def test_a_loop_past_the_schedules_is_told_once(name, anneals, told):
    method, network = _start(name, total_steps=20)
    optimizer = method.optimizer(network)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(24):
            if anneals:
                method.anneal(optimizer)
            _train(method, network, 1, optimizer)
    past = [str(one.message) for one in seen if "more than total_steps=20" in str(one.message)]
    assert len(past) == told
    assert all(("learning rates stay at zero" in text) == anneals for text in past)
