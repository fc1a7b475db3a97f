"""Free tickets: an ensemble of sparse networks from one dynamic run."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from szilard.cost.inputs import Inputs
from szilard.data import Split
from szilard.errors import SzilardError, SzilardWarning
from szilard.likelihood import Likelihood
from szilard.likelihood.targets import TaskName
from szilard.methods import checks, of_draws
from szilard.methods.dynamic import Static
from szilard.methods.method import Method
from szilard.methods.mixture import Mixture
from szilard.metrics import Predictive
from szilard.networks.ensemble import Ensemble, ensemble_in
from szilard.topology.moves import POINT_GROWTHS, Moves, Optimizers
from szilard.topology.refinements import Refinements


class FreeTickets(Static):
    """Train one sparse network and collect several on the way, which predict together (EDST ensemble).

    A phase of exploration with the full learning rate finds a good support. Then come as many phases of refinement as
    members: the rate is ``refinement_lr`` times the full one in the first half of each, and ``refinement_lr``² times in
    the second. At the end of a refinement the network is kept as a member, and a large move leads away from it. Entries
    move as in RigL.

    The publication moves entries until the end of a refinement and keeps its best epoch on validation data; here the
    support rests from ``end`` of the phase on, and the member is the network at its end.

    Args:
        members: number of networks that are collected.
        exploration: length of the phase of exploration, as a fraction of all steps.
        escape: fraction of the entries that are replaced between two refinements.
        refinement_lr: learning rate of a refinement, as a fraction of the full one.
        end: fraction of each refinement after which its support does not change.
        last: fraction of the entries that the last move of a refinement replaces.
        temperature_scaling: not possible: it divides the logits of one network.
    """

    name = "free-tickets"
    label = "free tickets"
    summary = "An ensemble of sparse networks from one run"
    source = "Liu et al. 2021, arXiv:2106.14568"
    order = 31
    unused_options: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {**Static.unused_options, "temperature_scaling": False}
    )

    def __init__(
        self,
        n_data: int,
        *,
        members: int = 3,
        exploration: float = 1 / 3,
        escape: float = 0.8,
        refinement_lr: float = 0.1,
        every: int = 100,
        fraction: float = 0.5,
        end: float = 0.75,
        last: float = 0.5,
        growth_batches: int = 1,
        temperature_scaling: bool = False,
        **options: Any,
    ) -> None:
        if temperature_scaling:
            raise SzilardError(
                "temperature_scaling divides the logits of one network, and free tickets are several; leave it out"
            )
        super().__init__(
            n_data,
            every=every,
            fraction=fraction,
            end=end,
            last=last,
            growth_batches=growth_batches,
            **options,
        )
        if not 0 < refinement_lr <= 1:
            raise SzilardError(
                f"refinement_lr is a fraction of the learning rate and must be in (0, 1], not {refinement_lr:g}"
            )
        self.members, self.exploration, self.escape = members, exploration, escape
        self.refinement_lr = refinement_lr
        self.phases = Refinements(every, fraction, end, last, members, exploration, escape)
        self.moves = Moves(
            self.phases, "magnitude", growth_batches, self.moves.growth, self.seed, POINT_GROWTHS
        )
        if self.total_steps is not None:
            self.phases.check(self.total_steps)

    def check_run(self, total_steps: int, processes: int, batch_size: int) -> None:
        super().check_run(total_steps, processes, batch_size)
        self.phases.check(total_steps)

    def prepare(
        self,
        network: nn.Module,
        task: TaskName | Likelihood = "classification",
        input_shape: Inputs | None = None,
    ) -> nn.Module:
        """Create the ensemble that this method trains; otherwise as for every method.

        Raises:
            SzilardError: also a likelihood whose outputs have no known mixture.
        """
        with self._stored_under(f"members.{self.members - 1}."):
            made = super().prepare(network, task, input_shape)
        return Ensemble(made, self.members, Mixture(self.task, self._given))

    def anneal(self, optimizer: torch.optim.Optimizer) -> None:
        """Set the learning rates for the next step: those of the exploration or of the halves of a refinement."""
        done = None if self.total_steps is None else self.phases.progress(self.step, self.total_steps)
        factor = 1.0 if done is None else self.refinement_lr ** (1 if done < 0.5 else 2)
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor

    def _before_forward(self, network: nn.Module) -> None:
        super()._before_forward(_ensemble(network).current)

    def after_step(self, network: nn.Module, optimizer: Optimizers = None) -> None:
        if self._eval:
            raise SzilardError(
                "the last loss was of a network in eval mode, which is that of all members together; call "
                "network.train() before the loss, and then .eval() on single layers that must stay in eval mode"
            )
        ensemble, total = _ensemble(network), self.total_steps or 0
        Method.after_step(self, ensemble.current, optimizer)
        if self.phases.ends(self.step, total):
            ensemble.collect()  # before the move that leads away from it
        self.moves.apply(ensemble.current, optimizer, self.step, total)

    def finish(
        self, network: nn.Module, batches: Iterable[tuple[Any, Tensor]], valid: Split | None = None
    ) -> None:
        """Call once after training: computes the BatchNorm statistics of all members in one pass over the data."""
        found = _ensemble(network)
        if found.done < self.members:
            warnings.warn(
                f"training of {self.label} ended at step {self.step}, when {found.done} of {self.members} members were "
                f"collected; train all {self.total_steps} steps, or set total_steps to those that you train",
                SzilardWarning,
                stacklevel=2,
            )
        super().finish(network, batches, valid)

    @torch.no_grad()
    def predict(
        self, network: nn.Module, x: Any, samples: int = 32, seed: int = 0, batch_size: int = 1024
    ) -> Predictive:
        """Predictions of the members, one draw each.

        Args:
            network: prepared, or opened from a file.
            x: all inputs, in the form that :meth:`loss` takes.
            samples: of inputs with a category that training has not seen, about as many over all members.
            seed: of these draws.
            batch_size: number of inputs in each forward pass.

        Raises:
            SzilardError: outputs that are not finite, or of a shape that the task does not take.
        """
        checks.batched(x, self._dims)
        members = network.in_use() if isinstance(network, Ensemble) else [network]
        seeds = [seed] * len(members)
        return self.of_outputs(of_draws.of_members(members, x, samples, seeds, batch_size, self.stand_ins))

    def predict_one_pass(
        self, network: nn.Module, x: Any, batch_size: int = 1024, *, variance_factor: float = 1.0
    ) -> Predictive:
        """Not possible: the members are several networks without a variance.

        Raises:
            SzilardError: always.
        """
        raise SzilardError(
            "free tickets are several networks, whose weights have no variance for one pass; predict with the members "
            "(method.predict)"
        )


def _ensemble(network: nn.Module) -> Ensemble:
    found = ensemble_in(network)
    if found is None:
        raise SzilardError(
            "free tickets train an ensemble, and this network is none; train the network that method.prepare(network) "
            "returns"
        )
    return found
