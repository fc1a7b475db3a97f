"""An ensemble of networks that one method trains one after another, from different weights."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from szilard import catalogue
from szilard.bayes.noise import mix
from szilard.cost.inputs import Inputs
from szilard.data import Split
from szilard.errors import SzilardError
from szilard.likelihood import Likelihood
from szilard.likelihood.targets import TaskName
from szilard.methods import checks, of_draws
from szilard.methods.deterministic import Deterministic
from szilard.methods.method import Method
from szilard.methods.mixture import Mixture
from szilard.metrics import Predictive
from szilard.networks import copied
from szilard.networks.ensemble import Ensemble, ensemble_in
from szilard.topology.moves import Optimizers, several

_START = 0x6D62  # separates the random numbers of a member's first weights from others


class DeepEnsemble(Method):
    """Train several networks from different weights; their predictions are averaged (Lakshminarayanan et al. 2017).

    The steps of the run are divided among the members, so that an ensemble costs as much training as one network, and
    as much memory and inference as all of them. Ask for more epochs to train each as long as one.

    Args:
        of: method that trains each member, by name: one that keeps one network and needs no work after training.
        members: number of networks.
        density: fraction of weights that exist in each member; by default that of the method.
    """

    name = "ensemble"
    label = "ensemble"
    summary = "Networks of any method, from different weights"
    source = "Lakshminarayanan et al. 2017, arXiv:1612.01474"
    order = 50

    def __init__(
        self,
        n_data: int,
        *,
        of: str = "deterministic",
        members: int = 5,
        density: float | None = None,
        temperature: float | None = None,
        lr: float | None = None,
        total_steps: int | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        if members < 1:
            raise SzilardError(f"members must be at least 1, not {members}")
        known = [entry.name for entry in catalogue.entries(catalogue.METHODS) if entry.name != self.name]
        if of not in known:
            raise SzilardError(f"there is no method {of!r} for the members; choose one of {', '.join(known)}")
        given = {"temperature": temperature, "lr": lr}
        self._options = options | {name: value for name, value in given.items() if value is not None}
        self.of, self.members = of, members
        self._n_data, self._first_seed = n_data, seed
        self.inner = self._inner(0, None)
        if density is not None and hasattr(self.inner, "density"):
            self._options["density"] = density
            self.inner = self._inner(0, None)
        elif density not in (None, 1.0):
            raise SzilardError(
                f"{self.inner.label} trains all weights and takes no density; leave density out"
            )
        self.density: float = getattr(self.inner, "density", 1.0)
        if not _finishes_plainly(self.inner):
            raise SzilardError(
                f"{self.inner.label} keeps several networks or works on its network after training, so that it cannot "
                "train the members of an ensemble; choose another method, such as deterministic or ssvi"
            )
        super().__init__(
            n_data, temperature=self.inner.temperature, lr=self.inner.lr, lr_log_std=self.inner.lr_log_std,
            seed=seed, total_steps=total_steps, only=self.inner.only, except_=self.inner.except_,
            matrices=self.inner.matrices,
        )  # fmt: skip
        self._plain: nn.Module | None = None

    @property
    def converts(self) -> bool:  # type: ignore[override]
        """As the members' method."""
        return self.inner.converts

    def _inner(self, member: int, steps: int | None) -> Method:
        """The method of a member."""
        seed = self._first_seed if member == 0 else mix(self._first_seed, _START, member) % (1 << 31)
        entry = next(one for one in catalogue.entries(catalogue.METHODS) if one.name == self.of)
        made: Method = entry.load()(self._n_data, total_steps=steps, seed=seed, **self._options)
        return made

    def check_run(self, total_steps: int, processes: int, batch_size: int) -> None:
        super().check_run(total_steps, processes, batch_size)
        if total_steps < self.members:
            raise SzilardError(
                f"{total_steps} steps are too few for {self.members} members; train for more epochs"
            )
        self.inner.check_run(self._end(0) - self._start(0), processes, batch_size)

    def _start(self, member: int) -> int:
        return round(member * (self.total_steps or self.members) / self.members)

    def _end(self, member: int) -> int:
        return self._start(member + 1)

    # -- the networks -------------------------------------------------------------------------------

    def prepare(
        self,
        network: nn.Module,
        task: TaskName | Likelihood = "classification",
        input_shape: Inputs | None = None,
    ) -> nn.Module:
        """Create the ensemble; otherwise as for every method.

        Raises:
            SzilardError: also a likelihood whose outputs have no known mixture.
        """
        self.set_task(task)
        self.input_shape = input_shape
        prefix = f"members.{self.members - 1}."
        self.inner = self._inner(0, None)
        self.inner.stored = [name.removeprefix(prefix) for name in self.stored if name.startswith(prefix)]
        self._plain = copied(network)
        made = self.inner.prepare(network, task, input_shape)
        return Ensemble(made, self.members, Mixture(self.task, self._given))

    def _convert(self, network: nn.Module) -> nn.Module:
        return network

    def optimizer(self, network: nn.Module, lr: float | None = None) -> torch.optim.Optimizer:
        """That of the members' method."""
        return self.inner.optimizer(_ensemble(network).current, lr)

    def _follow(self) -> Method:
        """The method of the member in training, at its step."""
        self.inner.total_steps = (
            None if self.total_steps is None else self._end(self._member) - self._start(self._member)
        )
        return self.inner

    @property
    def _member(self) -> int:
        """Number of the member in training; at the end the last one."""
        if self.total_steps is None:
            return 0
        return next((n for n in range(self.members) if self.step < self._end(n)), self.members - 1)

    # -- training -----------------------------------------------------------------------------------

    def anneal(self, optimizer: torch.optim.Optimizer) -> None:
        """Set the learning rates for the next step: those of a member's own run."""
        self.annealed = True
        self._follow().anneal(optimizer)

    def loss(self, network: nn.Module, x: Any, y: Tensor) -> Tensor:
        if self.total_steps is None and torch.is_grad_enabled() and network.training:
            self.total_steps = 30 * math.ceil(self.n_data / max(1, len(y))) * self.members
        inner = self._follow()
        inner.class_weights = self.class_weights
        value = inner.loss(_ensemble(network).current, x, y)
        self.last, self._dims = inner.last, inner._dims
        return value

    def after_step(self, network: nn.Module, optimizer: Optimizers = None) -> None:
        held, member = _ensemble(network), self._member
        self._follow().after_step(held.current, optimizer)
        self.step += 1
        self._trained = True
        if self.step != self._end(member):
            return
        held.collect()
        if member + 1 < self.members:
            self._begin(held, member + 1, optimizer)

    @torch.no_grad()
    def _begin(self, held: Ensemble, member: int, optimizer: Optimizers) -> None:
        """Start values, supports and optimiser of another member."""
        assert self._plain is not None
        self.inner = self._inner(member, None)
        self.inner.class_weights = self.class_weights
        fresh = self.inner.prepare(
            _reset(self._plain, self.inner.seed), self._given or self.task, self.input_shape
        )
        held.current.load_state_dict(fresh.state_dict())
        for one in several(optimizer):
            one.state.clear()

    # -- after training -----------------------------------------------------------------------------

    def finish(
        self, network: nn.Module, batches: Iterable[tuple[Any, Tensor]], valid: Split | None = None
    ) -> None:
        """Call once after training: computes the BatchNorm statistics of all members in one pass over the data.

        Raises:
            SzilardError: training ended before all members were trained.
        """
        held = _ensemble(network)
        if held.done < self.members:
            raise SzilardError(
                f"training of the ensemble ended at step {self.step}, when {held.done} of {self.members} members were "
                f"trained; train all {self.total_steps} steps, or set total_steps to those that you train"
            )
        super().finish(network, batches, valid)

    @torch.no_grad()
    def predict(
        self, network: nn.Module, x: Any, samples: int = 32, seed: int = 0, batch_size: int = 1024
    ) -> Predictive:
        """Predictions of the members, each with its share of the draws.

        Args:
            network: prepared, or opened from a file.
            x: all inputs, in the form that :meth:`loss` takes.
            samples: draws of all members together, at least one of each.
            seed: of these draws.
            batch_size: number of inputs in each forward pass.

        Raises:
            SzilardError: outputs that are not finite, or of a shape that the task does not take.
        """
        checks.batched(x, self._dims)
        members = network.in_use() if isinstance(network, Ensemble) else [network]
        seeds = [mix(seed, number) if number else seed for number in range(len(members))]
        return self.of_outputs(of_draws.of_members(members, x, samples, seeds, batch_size, self.stand_ins))

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "inner": self.inner.state_dict(), "member": self._member}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        checks.state(state, {"inner": None, "member": None}, self.label)
        super().load_state_dict(state)
        self.inner = self._inner(state["member"], None)
        self.inner.set_task(self._given or self.task)
        self.inner.load_state_dict(state["inner"])

    def invalid_part(self, state: dict[str, Any], network: nn.Module) -> str:
        member, found, expected = state["member"], state["inner"], self.inner.state_dict()
        if type(member) is not int or not 0 <= member < self.members:
            return "member"
        if not isinstance(found, dict) or set(found) != set(expected):
            return "inner"
        whole = (found["step"], 0 if found["total_steps"] is None else found["total_steps"])
        if any(type(one) is not int or one < 0 for one in whole) or found["task"] != self.task:
            return "inner"
        return "inner" if not isinstance(found.get("moves", {}), dict) else ""


def _finishes_plainly(method: Method) -> bool:
    return (
        type(method).finish in (Method.finish, Deterministic.finish)
        and type(method).predict is Method.predict
        and not method.resizes
        and not getattr(method, "temperature_scaling", False)
        and getattr(method, "allocation", "") != "global"
    )


@torch.no_grad()
def _reset(network: nn.Module, seed: int) -> nn.Module:
    """A copy with new weights, as its modules initialise them; torch's generator is as before afterwards."""
    made = copied(network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in made.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
    return made


def _ensemble(network: nn.Module) -> Ensemble:
    found = ensemble_in(network)
    if found is None:
        raise SzilardError(
            "the members of an ensemble need their places, and this network has none; train the network that "
            "method.prepare(network) returns"
        )
    return found
