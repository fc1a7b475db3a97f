"""Searchers of policies: the optimum of a toy, equal proposals from equal histories, and the rules of each."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import toy
from policies.chain import chain
from szilard import SzilardError
from szilard.compression.policies.by_name import SEARCHERS, make
from szilard.compression.policies.history import History
from szilard.compression.policies.problem import Problem, Trial
from szilard.compression.policies.running import search
from szilard.compression.policies.searchers import ddpg
from szilard.compression.policies.searchers.actor_critic import ActorCritic, Steps
from szilard.compression.policies.searchers.greedy import Greedy
from szilard.compression.policies.searchers.states import States, action_of, option_of
from szilard.compression.policies.seeded import seeded
from szilard.compression.policies.space import Decision, Space
from szilard.compression.policies.temperature import best
from szilard.compression.policies.uniform import uniform

ENOUGH = {"agent": 25, "evolution": 25, "greedy": 25, "random": 40}


@pytest.mark.parametrize("name", SEARCHERS)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_optimum_of_the_toy_is_found(name, seed):
    one = toy.toy(seed)
    found = search(make(name, one.problem), one.problem, toy.kl, History(), ENOUGH[name])
    assert best(found, one.problem.target).choice == one.optimum


@pytest.mark.parametrize("name", SEARCHERS)
def test_a_new_searcher_with_the_same_history_proposes_the_same(name):
    """Also one that has seen another history before."""
    problem, kl = chain(decisions=6, seed=2)
    living, history = make(name, problem), History()
    confused = make(name, problem)
    for number in range(14):
        proposal = living.propose(history.trials)
        if number in (0, 9, 13):
            assert make(name, problem).propose(history.trials) == proposal
            assert confused.propose(history.trials) == proposal
        if number == 12:
            confused.propose(history.trials[::-1])
        history.append(
            Trial(proposal.choice, kl(proposal.choice), problem.cost(proposal.choice), proposal.actions)
        )


@pytest.mark.parametrize("name", SEARCHERS)
def test_another_seed_gives_other_proposals(name):
    problem, kl = chain(decisions=10, seed=1)
    runs = [
        search(make(name, one), one, kl, History(), 4)
        for one in (problem, replace(problem, seed=problem.seed + 1))
    ]
    assert [trial.choice for trial in runs[0]] != [trial.choice for trial in runs[1]]


@settings(max_examples=15)
@given(st.data())
def test_proposals_meet_the_target_under_costs_that_rise_in_between(data):
    """All searchers but the agent after its warm-up; the next test has that."""
    sizes = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    tables = [[1.0, *(data.draw(st.floats(0.05, 1.1)) for _ in range(size - 1))] for size in sizes]
    problem = rough_problem(tables, data.draw(st.floats(0.05, 1.0)))
    for name in SEARCHERS:
        try:
            found = search(make(name, problem), problem, lambda choice: float(sum(choice)), History(), 3)
        except SzilardError:
            assert sum(map(min, tables)) / len(tables) > problem.target * (1 - 1e-9)
        else:
            assert all(trial.cost <= problem.target for trial in found)


def rough_problem(tables: list[list[float]], target: float) -> Problem:
    decisions = tuple(
        Decision(f"l{i}", "channels", (f"l{i}",), tuple(range(len(row), 0, -1)))
        for i, row in enumerate(tables)
    )
    return Problem(
        Space(decisions, {}),
        [[0.1 * option for option in range(len(row))] for row in tables],
        lambda choice: sum(row[option] for row, option in zip(tables, choice, strict=True)) / len(tables),
        target,
    )


def test_the_agent_meets_the_target_under_costs_that_rise_in_between():
    tables = np.random.default_rng(0).uniform(0.1, 1, (6, 5)).tolist()
    problem = rough_problem(tables, 0.3)
    found = search(make("agent", problem), problem, lambda choice: 0.1 + sum(choice), History(), 16)
    assert all(trial.cost <= 0.3 for trial in found)
    for trial in found:
        assert tuple(option_of(action, 5) for action in trial.actions) == trial.choice


@pytest.mark.parametrize("name", SEARCHERS)
def test_a_space_without_decisions_and_a_target_that_the_original_meets(name):
    empty = Problem(Space((), {}), [], lambda choice: 1.0, 1.0)
    found = search(make(name, empty), empty, lambda choice: 0.0, History(), 13)
    assert {trial.choice for trial in found} == {()}
    easy = toy.toy(target=1.0)
    found = search(make(name, easy.problem), easy.problem, toy.kl, History(), 2)
    assert {trial.choice for trial in found} == {(0, 0, 0)}


def test_greedy_jumps_over_steps_that_save_nothing():
    """From 8 to 7 and 6 channels nothing is saved; one decision that saves a little at once would be worse."""
    tables = [[1.0, 1.0, 1.0, 0.2], [1.0, 0.9, 0.8, 0.7]]
    problem = replace(rough_problem(tables, 0.62), sensitivity=[[0, 0.1, 0.2, 0.3], [0, 0.2, 0.4, 0.6]])
    assert Greedy(problem).propose(()).choice == (3, 0)


def test_greedy_takes_back_what_the_target_does_not_need():
    """The cheap first move is wasted once the second decision has to move anyway."""
    tables = [[1.0, 0.9], [1.0, 0.2]]
    problem = replace(rough_problem(tables, 0.65), sensitivity=[[0, 0.001], [0, 0.4]])
    assert Greedy(problem).propose(()).choice == (0, 1)


def test_greedy_asks_for_few_costs():
    problem, _ = chain()
    asked = []
    counting = replace(problem, cost=lambda choice: asked.append(choice) or problem.cost(choice))
    greedy = Greedy(counting)
    greedy.propose(())
    assert len(asked) < 700
    asked.clear()
    greedy.propose([Trial(problem.space.smallest, 1.0, 0.1)])
    assert len(asked) < 400


def test_evolution_starts_from_the_greedy_and_uniform_policies_and_repeats_none():
    problem, kl = chain(decisions=10)
    found = search(make("evolution", problem), problem, kl, History(), 40)
    choices = [trial.choice for trial in found]
    assert choices[0] == Greedy(problem).propose(()).choice
    for choice in uniform(problem):
        assert any(all(a <= b for a, b in zip(start, choice, strict=True)) for start in choices[1:3])
    assert len(set(choices)) == 40


def test_evolution_is_better_than_random_on_a_long_chain():
    problem, kl = chain()
    runs = {name: search(make(name, problem), problem, kl, History(), 60) for name in ("evolution", "random")}
    lowest = {name: best(run, problem.target).kl for name, run in runs.items()}
    assert lowest["evolution"] < 0.5 * lowest["random"]


def test_actions_share_the_options_equally():
    for options in range(1, 9):
        assert [option_of(action_of(option, options), options) for option in range(options)] == list(
            range(options)
        )
        assert option_of(0.0, options) == 0
        assert option_of(1.0, options) == options - 1
        counts = np.bincount([option_of((i + 0.5) / 840, options) for i in range(840)])
        assert counts.tolist() == [840 // options] * options


def test_noise_is_a_truncated_normal():
    drawn = np.array([ddpg.truncated_normal(0.9, 0.3, (i + 0.5) / 2000) for i in range(2000)])
    # Mean of a normal truncated to [a, b]: mu + sigma (phi(alpha) - phi(beta)) / (Phi(beta) - Phi(alpha))
    alpha, beta = -0.9 / 0.3, 0.1 / 0.3
    density = [math.exp(-z * z / 2) / math.sqrt(2 * math.pi) for z in (alpha, beta)]
    share = [(1 + math.erf(z / math.sqrt(2))) / 2 for z in (alpha, beta)]
    assert drawn.mean() == pytest.approx(
        0.9 + 0.3 * (density[0] - density[1]) / (share[1] - share[0]), abs=1e-4
    )
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert ddpg.truncated_normal(0.3, 0.0, 0.7) == 0.3
    assert 0 <= ddpg.truncated_normal(1.0, 1e-4, 0.0) <= 1


def test_states_hold_the_cost_so_far_and_what_is_missing():
    problem = toy.toy().problem
    states = States(problem, problem.space.smallest)
    before = states.state((3,), (0.2,))
    so_far, least, missing, *recalled = before[-6:].tolist()
    assert so_far == toy.cost((3, 0, 0))
    assert least == toy.cost((3, 15, 3))
    assert missing == pytest.approx(so_far - problem.target)
    assert recalled == [-1.0, -1.0, 0.2]
    assert len(before) == states.size
    episode = states.episode((3, 1, 2), (0.2, 0.1, 0.7))
    assert np.array_equal(episode[1], before)


def test_the_last_step_of_an_episode_has_no_future():
    """With a reward of 1 at each of two steps the critic learns 1 for the last one and 2 for the first."""
    networks = ActorCritic(2, 100, seed=0, hidden=32)
    state = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    networks.remember(
        Steps(
            state, torch.full((2, 1), 0.5), torch.ones(2, 1), state.roll(-1, 0), torch.tensor([[1.0], [0.0]])
        )
    )
    networks.update(350, 0.0, torch.Generator().manual_seed(0))
    values = networks.critic(torch.cat([state, torch.full((2, 1), 0.5)], 1)).detach()
    assert values.ravel().tolist() == pytest.approx([2.0, 1.0], abs=0.3)


def test_the_actor_goes_where_the_reward_is():
    """One decision; the reward of an action is its size."""
    networks, generator = ActorCritic(1, 64, seed=0, hidden=32), torch.Generator().manual_seed(1)
    state = torch.ones(1, 1)
    for number in range(64):
        action = torch.full((1, 1), (number + 0.5) / 64)
        networks.remember(Steps(state, action, action, state, torch.zeros(1, 1)))
    before = networks.act(state[0])
    networks.update(250, 0.5, generator)
    assert 0.45 < before < 0.55
    assert networks.act(state[0]) > 0.6


def test_the_agent_learns_from_the_policy_that_was_tried():
    """Also if another searcher proposed it: its actions are then those in the middle of the options."""
    problem = toy.toy().problem
    tried = [(number, 3, number % 4) for number in range(1, 12)]
    history = [Trial(choice, toy.kl(choice), 0.3) for choice in tried]
    history[-1] = replace(history[-1], actions=(11.9 / 16, 0.99, 3.1 / 4))  # the second is of another option
    agent = ddpg.Agent(problem)
    agent.propose(history)
    last = agent._networks._buffer[-1]
    assert len(agent._networks._buffer) == 11
    assert last.action.ravel().tolist() == pytest.approx([11.9 / 16, 3.5 / 16, 3.1 / 4])
    assert last.reward.ravel().tolist() == pytest.approx([-math.log(toy.kl(tried[-1])) / 3] * 3)
    assert last.goes_on.ravel().tolist() == [1.0, 1.0, 0.0]
    assert torch.equal(last.next_state[:2], last.state[1:])
    warm = torch.cat([steps.state for steps in agent._networks._buffer[:10]])
    assert warm.mean(0).abs().max() < 1e-5  # the standardisation is of the warm-up
    assert set(warm.std(0, correction=0).round(decimals=4).tolist()) == {0.0, 1.0}


def test_the_oldest_episodes_are_forgotten():
    networks = ActorCritic(1, 6, seed=0)
    for number in range(5):
        one = torch.full((2, 1), float(number))
        networks.remember(Steps(one, one, one, one, one))
    assert [int(steps.state[0]) for steps in networks._buffer] == [2, 3, 4]


def test_draws_of_a_trial_are_its_own():
    first = seeded(3, 5).random(4).tolist()
    assert seeded(3, 5).random(4).tolist() == first
    assert (
        len(
            {
                tuple(seeded(*key).random(4))
                for key in ((3, 5, 0), (3, 6, 0), (4, 5, 0), (3, 5, 1), (-3, 5, 0))
            }
        )
        == 5
    )
