"""The agent: reinforcement learning of one action for each decision, as Galen and AMC publish it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.special import ndtr, ndtri

from szilard.compression.policies.budget import cheapest, fitted
from szilard.compression.policies.cost_memo import with_memo
from szilard.compression.policies.problem import Problem, Proposal, Trial
from szilard.compression.policies.searchers.actor_critic import ActorCritic, Steps
from szilard.compression.policies.searchers.states import States, action_of, option_of
from szilard.compression.policies.seeded import seeded
from szilard.compression.policies.space import Choice

_WARM_UP = 10  # episodes
_SIGMA, _DECAY = 0.5, 0.95
_REMEMBERED = 100  # episodes
_BASELINE = 0.1  # weight of an episode in the moving average
_LEAST_KL = 1e-6  # nats
_TRIES, _WIDENED = 8, 1.5  # for a policy that was not tried before; growth of the deviation from try to try


class Agent:
    """DDPG over the decisions of a policy, one episode for each trial.

    The published agents for pruning, quantisation and both are this class on spaces with decisions over channels, over
    bits, or both. Before each decision the agent sees a state (see
    :class:`~szilard.compression.policies.searchers.states.States`), and answers with an action in [0, 1], whose parts
    of equal length are the decision's options, from the original on.

    **Warm-up**: the first 10 episodes are random policies that fit the target. Mean and deviation of their states then
    standardise all states.

    **Target**: the policy of the actor is made to fit the target by random moves that also use what is left of the
    budget (see :func:`~szilard.compression.policies.budget.fitted`), and its actions are replaced where an option
    changed, so that the agent learns from what was tried. HAQ (Wang et al., 2019) lowers bits in the same place, in a
    fixed order. A penalty in the reward, which Galen uses, needs a weight, and spends evaluations on policies that miss
    the target, although the predicted cost is known before anything is evaluated. A wall that limits each action to
    what the later ones can still make up for, as in AMC (He et al., 2018), leaves what the first decisions do not save
    to the last ones; in two chains of 40 decisions, it was as good in one, and in the other the median KL of 150 trials
    was half as large again. As all trials are within the target, T·cost would only reward saving more than was asked
    for, and the reward leaves it out.

    **Reward**: -log KL, minus its moving average. The KL of policies spans orders of magnitude, and the critic would
    spend itself on the worst ones; the best policy is the same. As published, all steps of an episode get the same
    reward; it is divided by their number.

    **Exploration**: a normal distribution around the actor's output, truncated to [0, 1], with deviation
    0.5·0.95^(episodes after the warm-up). A policy that was tried is drawn again with 1.5 times the deviation, at most
    seven times, because trying it again tells nothing.

    What else differs from the published code: the standardisation is frozen and not a running one, so that old
    transitions keep their meaning; the last step has no next state; targets follow by 0.01 (not 0.001) and there are as
    many updates after an episode as decisions (not one), so that they move at all; the discount is 1; the critic has
    one output; and options that a device cannot run do not exist instead of having a sensitivity of 1000.

    An agent that is given a history learns from all of its trials in their order, and is then bit for bit the agent
    that proposed them, on the same machine with as many threads. Trials of other searchers can be part of it.

    Sources: Galen (Krieger et al., arXiv 2302.07259), AMC (He et al., arXiv 1802.03494), HAQ (Wang et al., arXiv
    1811.08886), DDPG (Lillicrap et al., arXiv 1509.02971).

    Args:
        problem: what is searched.
    """

    name = "agent"
    summary = "Reinforcement learning (DDPG) of one action for each decision"

    def __init__(self, problem: Problem) -> None:
        self.problem = with_memo(problem)
        self._sizes = [len(one.options) for one in self.problem.space.decisions]
        self._states: States | None = None
        self._forget()

    def propose(self, history: Sequence[Trial]) -> Proposal:
        """The next choice and its actions, see :class:`~szilard.compression.policies.problem.Searcher`.

        Raises:
            SzilardError: no choice meets the target.
        """
        if self._states is None:
            self._states = States(self.problem, cheapest(self.problem))
        lived = [(trial.choice, trial.kl, trial.actions) for trial in history]
        if lived[: len(self._lived)] != self._lived:
            self._forget()
        for one in lived[len(self._lived) :]:
            self._learn(*one)
            self._lived.append(one)
        generator = seeded(self.problem.seed, len(history))
        tried = {trial.choice for trial in history}
        sigma = _SIGMA * _DECAY ** (len(history) - _WARM_UP)
        for _ in range(_TRIES):
            proposal = self._proposal(sigma if len(history) >= _WARM_UP else None, generator)
            if proposal.choice not in tried:
                break
            sigma *= _WIDENED
        return proposal

    def _proposal(self, sigma: float | None, generator: np.random.Generator) -> Proposal:
        """A policy of the actor with noise, or a random one if there is no deviation."""
        if sigma is None or not self._sizes:
            choice = tuple(int(generator.integers(size)) for size in self._sizes)
            actions: tuple[float, ...] = ()
        else:
            choice, actions = self._episode(sigma, generator)
        choice = fitted(self.problem, choice, generator)
        return Proposal(choice, self._actions(choice, actions))

    def _forget(self) -> None:
        self._lived: list[tuple[Choice, float, tuple[float, ...]]] = []
        self._warm: list[tuple[np.ndarray, tuple[float, ...], float]] = []
        self._networks: ActorCritic | None = None
        self._baseline: float | None = None
        self._worst = 0.0

    def _actions(self, choice: Choice, actions: tuple[float, ...]) -> tuple[float, ...]:
        """The actions of a choice: the given ones where they lead to its options, else those in the middle."""
        given = actions if len(actions) == len(choice) else (math.nan,) * len(choice)
        return tuple(
            action if 0 <= action <= 1 and option_of(action, size) == option else action_of(option, size)
            for option, action, size in zip(choice, given, self._sizes, strict=True)
        )

    def _episode(self, sigma: float, generator: np.random.Generator) -> tuple[Choice, tuple[float, ...]]:
        """A choice and its actions, one decision after the other."""
        assert self._networks is not None
        assert self._states is not None
        choice: Choice = ()
        actions: tuple[float, ...] = ()
        for size, uniform in zip(self._sizes, generator.random(len(self._sizes)).tolist(), strict=True):
            mean = self._networks.act(self._standard(self._states.state(choice, actions)))
            action = truncated_normal(mean, sigma, uniform)
            choice, actions = (*choice, option_of(action, size)), (*actions, action)
        return choice, actions

    def _standard(self, states: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(((states - self._mean) / self._deviation).astype(np.float32))

    def _learn(self, choice: Choice, kl: float, actions: tuple[float, ...]) -> None:
        """Take in one trial: the networks are made after the warm-up, and trained after each later episode."""
        assert self._states is not None
        if not self._sizes:
            return
        episode = len(self._lived)
        if math.isfinite(kl):
            self._worst = max(self._worst, kl)
        reward = -math.log(max(kl if math.isfinite(kl) else self._worst, _LEAST_KL))
        done = self._actions(choice, actions)
        step = self._states.episode(choice, done), done, reward
        before = reward if self._baseline is None else self._baseline
        self._baseline = before + _BASELINE * (reward - before)
        if self._networks is None:
            self._warm.append(step)
            if len(self._warm) < _WARM_UP:
                return
            every = np.concatenate([states for states, _, _ in self._warm])
            self._mean, deviation = every.mean(0), every.std(0)
            self._deviation = np.where(deviation > 1e-9, deviation, 1.0)
            count = len(self._sizes)
            self._networks = ActorCritic(self._states.size, _REMEMBERED * count, self._seed(0, 1))
            for one in self._warm:
                self._remember(*one)
            self._warm = []
        else:
            self._remember(*step)
        drawing = torch.Generator().manual_seed(self._seed(episode, 2))
        self._networks.update(len(self._sizes), self._baseline / len(self._sizes), drawing)

    def _remember(self, states: np.ndarray, actions: tuple[float, ...], reward: float) -> None:
        assert self._networks is not None
        state, count = self._standard(states), len(actions)
        goes_on = torch.ones(count, 1)
        goes_on[-1] = 0.0
        self._networks.remember(
            Steps(
                state=state,
                action=torch.tensor(actions, dtype=torch.float32)[:, None],
                reward=torch.full((count, 1), reward / count),
                next_state=state.roll(-1, 0),
                goes_on=goes_on,
            )
        )

    def _seed(self, trial: int, use: int) -> int:
        return int(seeded(self.problem.seed, trial, use).integers(1 << 62))


def truncated_normal(mean: float, sigma: float, uniform: float) -> float:
    """A number of a normal distribution truncated to [0, 1], from a uniform one.

    Args:
        mean: of the distribution that is not truncated, in [0, 1].
        sigma: its deviation; 0 gives the mean.
        uniform: in [0, 1).
    """
    if sigma <= 0:
        return mean
    low, high = ndtr(-mean / sigma), ndtr((1 - mean) / sigma)
    return float(np.clip(mean + sigma * ndtri(low + uniform * (high - low)), 0.0, 1.0))
