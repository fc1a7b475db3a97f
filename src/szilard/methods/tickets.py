"""Lottery tickets: iterative magnitude pruning with rewinding."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from szilard import bayes
from szilard.bayes.noise import mix
from szilard.bayes.weight import Weight
from szilard.errors import SzilardError
from szilard.methods import checks, shared, unused
from szilard.methods.deterministic import Deterministic
from szilard.methods.method import Method
from szilard.methods.resizing import Resizing, dense_entries, trained
from szilard.sparse.one_threshold import largest_of_all
from szilard.topology.elastic_blocks import Ticket
from szilard.topology.levels import Levels
from szilard.topology.moves import Optimizers
from szilard.topology.resized import resize
from szilard.topology.rewind import rewind, snapshot
from szilard.topology.scores import SCORES

_MASKS = ("magnitude", "random")
_INITS = ("rewind", "random")
_MASK, _INIT = 0x6D61, 0x696E  # separate the random numbers of the two controls


class Tickets(Resizing, Method):
    """Find a lottery ticket: train, prune by global magnitude, rewind the weights that are left, and train again.

    All levels are phases of one run: its steps are divided equally among them. At the end of a phase the entries of
    smallest |w| of the whole network are removed, all other values (biases and BatchNorm with its statistics, too)
    return to those of the rewind step, and the optimiser starts afresh. The learning rate follows a cosine in each
    phase. The network of the last phase is the result.

    Args:
        density: final fraction of weights that exist. The number of levels follows.
        prune: fraction of the remaining weights that each level removes.
        rewind: step whose values the weights return to, as a fraction of a phase; 0 is the initialisation.
        mask: of the last level: ``"magnitude"``, or as a control ``"random"``, with as many entries in each layer.
        init: of the last level: ``"rewind"``, or as a control ``"random"``: each weight gets the rewound value of a
            random place in the dense weight of its layer, which at ``rewind=0`` is a fresh initialisation.
        one_shot: remove all in a single level, as a control.
        score: ``"magnitude"``; other scores need Gaussian weights, as those of ``posterior-tickets``.
        pretrained: start from the network's own weights instead of fresh ones.
    """

    name = "tickets"
    label = "lottery ticket"
    summary = "Trains and prunes in levels, and rewinds the weights left"
    source = "Frankle and Carbin 2019, arXiv:1803.03635; rewinding: Frankle et al. 2020, arXiv:1912.05671"
    order = 27
    unused_options = Deterministic.unused_options

    def __init__(
        self,
        n_data: int,
        *,
        density: float = 0.05,
        prune: float = 0.2,
        rewind: float = 0.05,
        mask: str = "magnitude",
        init: str = "rewind",
        one_shot: bool = False,
        score: str = "magnitude",
        pretrained: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(n_data, **options)
        unused.warn("a lottery ticket", options, self.unused_options, "which has no divergence and no σ")
        self.budget = Levels(density, prune, rewind, one_shot)
        for name, value, known in (("mask", mask, _MASKS), ("init", init, _INITS)):
            if value not in known:
                raise SzilardError(f"{name} of a lottery ticket must be {' or '.join(known)}, not {value!r}")
        self._check_score(score)
        self.density, self.prune, self.rewind, self.one_shot = density, prune, rewind, one_shot
        self.mask, self.init, self.score, self.pretrained = mask, init, score, pretrained
        self._rewound: dict[str, Tensor] = {}  # all values of the rewind step, once it is reached
        if self.total_steps is not None:
            self.budget.check(self.total_steps)

    def _check_score(self, score: str) -> None:
        if score != "magnitude":
            raise SzilardError(
                f"the weights of a lottery ticket are points without σ, so that its only score is magnitude, not "
                f"{score!r}; leave score out, or use --method posterior-tickets"
            )

    def _dense(self, network: nn.Module) -> nn.Module:
        """The network with weights on full supports."""
        return bayes.bayesianize(
            network, point=True, fresh=not self.pretrained, seed=self.seed, **self._which()
        )

    def _convert(self, network: nn.Module) -> nn.Module:
        network = self._dense(network)
        weights = trained(network)
        checks.reachable(self.density, len(weights), dense_entries(weights))
        return network

    def check_run(self, total_steps: int, processes: int, batch_size: int) -> None:
        super().check_run(total_steps, processes, batch_size)
        self.budget.check(total_steps)

    def anneal(self, optimizer: torch.optim.Optimizer) -> None:
        """Set the learning rates for the next step: a cosine to zero in each phase, from the rewind step's rate on."""
        done = 0.0 if self.total_steps is None else self.budget.progress(self.step, self.total_steps)
        for group in optimizer.param_groups:
            initial = group.setdefault("initial_lr", group["lr"])
            group["lr"] = initial * 0.5 * (1 + math.cos(math.pi * done))

    def _before_forward(self, network: nn.Module) -> None:
        super()._before_forward(network)
        total = self.total_steps
        if self._rewound or total is None or not torch.is_grad_enabled():
            return
        if self.step == self.budget.rewind_step(total):
            self._rewound = snapshot(network)

    def after_step(self, network: nn.Module, optimizer: Optimizers = None) -> None:
        self._count_entries(network)
        super().after_step(network, optimizer)
        total = self.total_steps or 0
        if self.budget.changes(self.step, total):
            last = self.budget.level_at(self.step, total) == self.budget.count
            self._next_level(network, optimizer, self.budget.density_at(self.step, total), last)

    @torch.no_grad()
    def _next_level(self, network: nn.Module, optimizer: Optimizers, density: float, last: bool) -> None:
        weights = trained(network)
        optimizers = checks.with_optimizer(self.label, optimizer, weights)
        left, wanted = sum(weight.support.nnz for weight in weights), self._kept(weights, density)
        if left < wanted:
            raise SzilardError(
                f"the network has {left:,} weights at step {self.step} of {self.label}, and {wanted:,} should be left "
                "after this level: it belongs to a later step, so load the state of the method that was saved with it"
            )
        scores = [SCORES[self.score](weight.mean, weight.std) for weight in weights]
        kept = largest_of_all(scores, self._kept(weights, density))
        for number, (weight, mask) in enumerate(zip(weights, kept, strict=True)):
            flat = weight.support.flat()[mask]
            if last and self.mask == "random":
                drawn = self._permutation(weight, _MASK, number)[: len(flat)]
                flat = drawn.sort().values
            resize(weight, flat, optimizers)
        shared.check_supports(weights, self.label)
        rewind(network, self._rewound)
        if last and self.init == "random":
            self._draw(network, weights)
        for one in optimizers:
            one.state.clear()

    def _draw(self, network: nn.Module, weights: list[Weight]) -> None:
        # As in the snapshot: the names of a state dict, because a wrapper of several processes changes the others.
        names = {id(value): name for name, value in network.state_dict(keep_vars=True).items()}
        for number, weight in enumerate(weights):
            dense = self._rewound[names[id(weight.mean)]]
            weight.mean.copy_(dense[self._permutation(weight, _INIT, number)][weight.support.flat()])

    def _permutation(self, weight: Weight, which: int, number: int) -> Tensor:
        """Of all places in a dense weight."""
        generator = torch.Generator().manual_seed(mix(self.seed, which, number))
        return torch.randperm(dense_entries([weight]), generator=generator).to(weight.mean.device)

    def _kept(self, weights: list[Weight], density: float) -> int:
        return round(density * dense_entries(weights))

    def ticket(self, network: nn.Module) -> Ticket:
        """The entries that are left, and the values of the rewind step, to train them elsewhere (``elastic-ticket``).

        Args:
            network: prepared and trained by this method.

        Raises:
            SzilardError: training has not reached the rewind step.
        """
        if not self._rewound:
            raise SzilardError("there is no ticket before the rewind step; train the network first")
        state = network.state_dict()
        indices = {name: state[name] for name in state if name.rpartition(".")[0].endswith("support")}
        return Ticket(network, {**self._rewound, **indices})

    def state_dict(self) -> dict[str, Any]:
        """As of every method, with all values of the rewind step.

        They stay after the last level, too: the ticket of a finished run is read from them, and ``elastic-ticket``
        with a random mask needs those of all places, not of the ticket's alone.
        """
        return {**super().state_dict(), "rewind": dict(self._rewound)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        checks.state(state, {"rewind": None}, self.label)
        super().load_state_dict(state)
        self._rewound = dict(state["rewind"])
        if not self._rewound and self.step > self.budget.rewind_step(self.total_steps or 0):
            raise SzilardError(
                f"this state of a lottery ticket at step {self.step} holds no weights to rewind to; load a state that "
                "the same method has saved"
            )
