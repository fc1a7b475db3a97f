"""Deep deterministic policy gradient (Lillicrap et al., 2016): actor, critic, their targets and the replay buffer."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_ACTOR_RATE, _CRITIC_RATE = 1e-4, 1e-3
_CRITIC_DECAY = 1e-2
_TAU = 0.01
_BATCH = 64


@dataclass(frozen=True)
class Steps:
    """Transitions of an episode, all float32.

    Attributes:
        state: before each decision ``[D, S]``, standardised.
        action: ``[D, 1]``.
        reward: ``[D, 1]``; the baseline is not subtracted.
        next_state: ``[D, S]``; of the last decision anything, as it is masked.
        goes_on: 0 for the last decision and 1 for the others ``[D, 1]``.
    """

    state: Tensor
    action: Tensor
    reward: Tensor
    next_state: Tensor
    goes_on: Tensor


class ActorCritic:
    """Both networks, trained from what they did.

    The actor is S-300-300-1 with a sigmoid; the critic adds the state and the action in its first layer of 300, and has
    one output. Outputs start near 0 (weights uniform within 3·10⁻³ and 3·10⁻⁴). Both are trained by Adam on 64
    transitions, with discount 1, and their targets follow by 1 % an update.

    Args:
        states: length of a state.
        capacity: transitions that are remembered.
        seed: of the weights.
        hidden: width of both hidden layers.
    """

    def __init__(self, states: int, capacity: int, seed: int, hidden: int = 300) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.actor = _network([states, hidden, hidden, 1], 3e-3, generator)
        self.actor.append(nn.Sigmoid())
        # One layer of the joined vector is W_s s + W_a a + b.
        self.critic = _network([states + 1, hidden, hidden, 1], 3e-4, generator)
        self._actor_target, self._critic_target = copy.deepcopy(self.actor), copy.deepcopy(self.critic)
        self._actor_steps = torch.optim.Adam(self.actor.parameters(), lr=_ACTOR_RATE, fused=True)
        self._critic_steps = torch.optim.Adam(
            self.critic.parameters(), lr=_CRITIC_RATE, weight_decay=_CRITIC_DECAY, fused=True
        )
        self._capacity = capacity
        self._buffer: list[Steps] = []

    def act(self, state: Tensor) -> float:
        """The action for a state ``[S]``, in [0, 1]."""
        with torch.inference_mode():
            return float(self.actor(state))

    def remember(self, steps: Steps) -> None:
        """Put an episode into the buffer; the oldest episodes leave it."""
        self._buffer.append(steps)
        while (len(self._buffer) - 1) * len(steps.state) >= self._capacity:
            self._buffer.pop(0)

    def update(self, count: int, baseline: float, generator: torch.Generator) -> None:
        """Train both networks.

        Args:
            count: of updates.
            baseline: is subtracted from the reward of every transition.
            generator: draws the transitions.
        """
        state, action, reward, next_state, goes_on = (
            torch.cat([getattr(steps, name) for steps in self._buffer])
            for name in ("state", "action", "reward", "next_state", "goes_on")
        )
        for drawn in torch.randint(len(state), (count, _BATCH), generator=generator):
            after, seen = next_state[drawn], state[drawn]
            with torch.no_grad():
                future = self._critic_target(torch.cat([after, self._actor_target(after)], 1))
                goal = reward[drawn] - baseline + goes_on[drawn] * future
            self._critic_steps.zero_grad()
            ((self.critic(torch.cat([seen, action[drawn]], 1)) - goal) ** 2).mean().backward()
            self._critic_steps.step()
            self.critic.requires_grad_(False)
            self._actor_steps.zero_grad()
            (-self.critic(torch.cat([seen, self.actor(seen)], 1)).mean()).backward()
            self._actor_steps.step()
            self.critic.requires_grad_(True)
            _follow(self._actor_target, self.actor)
            _follow(self._critic_target, self.critic)


def _network(sizes: list[int], last: float, generator: torch.Generator) -> nn.Sequential:
    """Linear layers with ReLUs between; weights of the usual size from an own generator, the last ones small."""
    layers: list[nn.Module] = []
    for number, (inputs, outputs) in enumerate(itertools.pairwise(sizes), 2):
        layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
        bound = last if number == len(sizes) else inputs**-0.5
        with torch.no_grad():
            layer.weight.uniform_(-bound, bound, generator=generator)
            layer.bias.uniform_(-bound, bound, generator=generator)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _follow(target: nn.Module, source: nn.Module) -> None:
    with torch.no_grad():
        torch._foreach_lerp_(list(target.parameters()), list(source.parameters()), _TAU)
