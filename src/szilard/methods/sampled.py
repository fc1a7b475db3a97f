"""What all methods have in common whose posterior is draws of Markov chains."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from szilard import bayes
from szilard.bayes.draws import Draws, put_values
from szilard.bayes.log_prior import log_prior, parameter_priors
from szilard.bayes.noise import mix
from szilard.cost.inputs import Inputs
from szilard.data import Split
from szilard.errors import SzilardError
from szilard.likelihood import Likelihood
from szilard.likelihood.free_energy import free_energy
from szilard.likelihood.targets import TaskName
from szilard.methods import checks, inputs, of_draws
from szilard.methods.method import Method
from szilard.methods.mixture import Mixture
from szilard.methods.stored_supports import match_supports
from szilard.metrics import Predictive
from szilard.networks.ensemble import ensemble_in
from szilard.sampling.chains import Chains, Place
from szilard.sampling.descend_and_sample import DescendAndSample
from szilard.sampling.laplace import curvature_diagonal, posterior_scales
from szilard.sampling.largest_curvature import largest_curvature
from szilard.sparse import check_density, make_pattern
from szilard.sparse.patterns import checked_pattern
from szilard.topology.first_steps import FirstSteps
from szilard.topology.moves import POINT_GROWTHS, GrowthFactory, Moves, Optimizers

_START = 0x7374  # separates the random numbers of a chain's start from others
_CURVATURE = 0x6376  # those of random gradients
_SAFE = 10.0  # a chain whose loss is so many times that at its start, plus 1 nat, has diverged
LOWEST_RATE = 0.05  # of the descent's learning rate, at its end


class Sampled(Method):
    """Draws from the posterior p(θ|D) ∝ p(D|θ)^(1/T) p(θ)^(1/T), by chains that run one after another.

    Each chain starts at weights of its own, descends to a mode by Adam, and samples from there; coordinates are scaled
    by the mode's curvature. The first chain starts at the network's own weights if all weights exist. With a density
    below 1 the support moves in its descent as in RigL, and all draws have the support that it finds.

    Args:
        density: fraction of weights that exist.
        chains: number of chains; R̂ needs two.
        draws: networks that are kept of each chain.
        descent: fraction of a chain in which it descends.
        burn: fraction of the other steps whose positions are not kept.
        step_size: h² λ, the step of the sampler for the direction of largest curvature λ; stable below 4.
        every_curvature: steps after which λ is measured again.
        prior: ``"fan-in"`` (N(0, s²/existing fan-in)) or ``"fixed"`` (N(0, s²)); biases have N(0, 1).
        prior_scale: s.
        temperature: T; 1 is the posterior, less is colder.
        lr: learning rate of the descent.
        allocation: ``"uniform"``, ``"erk"`` (small layers denser, same total), ``"flops"`` (as erk, and the density is
            that of multiply-adds), or ``"global"`` (the largest pretrained weights of all layers).
        dense_stem: leave the first layer dense if it is a convolution.
        pattern: in which units weights exist: ``"unstructured"``, blocks such as ``"block32"``, ``"neuron"``, n of m
            columns such as ``"2:4"``, or ``"fan-in"``.
        every: optimiser steps between two moves of the support.
        fraction: fraction of the entries that the first move replaces.
        growth: where entries grow: by the ``"gradient"``, its ``"momentum"``, or at ``"random"``.
        growth_batches: batches over which the growth gradient is averaged.
    """

    converts = True
    unused_options: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {"lr_log_std": 1.0, "warmup": 0.0, "optimizer": "adam", "momentum": 0.9}
    )
    #: c of the sampler: the share of the velocity that a step keeps.
    keeps_velocity = 0.0

    def __init__(
        self,
        n_data: int,
        *,
        density: float = 1.0,
        chains: int = 4,
        draws: int = 8,
        descent: float = 0.4,
        burn: float = 0.2,
        step_size: float = 0.5,
        every_curvature: int = 200,
        prior: str = "fan-in",
        prior_scale: float = 1.0,
        allocation: str = "uniform",
        dense_stem: bool = True,
        pattern: str = "unstructured",
        every: int = 50,
        fraction: float = 0.3,
        growth: str | GrowthFactory = "gradient",
        growth_batches: int = 8,
        **options: Any,
    ) -> None:
        super().__init__(n_data, **options)
        check_density(density)
        if prior not in ("fan-in", "fixed"):
            raise SzilardError(f"a chain samples the prior fan-in or fixed, not {prior!r}")
        bayes.make_prior(prior, prior_scale)
        if not 0 < step_size < 4:
            raise SzilardError(
                f"step_size must be above 0 and below 4, where a sampler is unstable, not {step_size:g}"
            )
        if every_curvature < 1:
            raise SzilardError(f"every_curvature must be at least 1, not {every_curvature}")
        self.density, self.prior, self.prior_scale = density, prior, prior_scale
        self.chains, self.draws, self.descent, self.burn = chains, draws, descent, burn
        self.step_size, self.every_curvature = step_size, every_curvature
        self.allocation, self.dense_stem = allocation, dense_stem
        self.pattern = checked_pattern(pattern, density, allocation).name
        self.phases = self._phases()
        schedule = FirstSteps(every, fraction, 0.75, 0.0, lambda total: self.phases.bounds(0, total)[1])
        self.moves = Moves(schedule, "magnitude", growth_batches, growth, self.seed, POINT_GROWTHS)
        #: How often a chain diverged, went back and shortened its step.
        self.diverged = 0
        self._batch: tuple[Any, Tensor] | None = None
        self._reference = math.inf  # loss at the start of the sampling
        self._went_back = False
        if self.total_steps is not None:
            self.phases.check(self.total_steps)

    def _phases(self) -> Chains:
        return Chains(self.chains, self.draws, self.descent, self.burn)

    @property
    def count(self) -> int:
        """Networks that are kept of all chains."""
        return self.chains * self.draws

    def check_run(self, total_steps: int, processes: int, batch_size: int) -> None:
        super().check_run(total_steps, processes, batch_size)
        self.phases.check(total_steps)

    # -- the network --------------------------------------------------------------------------------

    def prepare(
        self,
        network: nn.Module,
        task: TaskName | Likelihood = "classification",
        input_shape: Inputs | None = None,
    ) -> nn.Module:
        """Create the network that a chain moves, and the places of its draws; otherwise as for every method.

        Raises:
            SzilardError: also a likelihood whose outputs have no known mixture.
        """
        with self._stored_under("chain."):
            made = super().prepare(network, task, input_shape)
        return Draws(made, self.count, Mixture(self.task, self._given))

    def _convert(self, network: nn.Module) -> nn.Module:
        made = self._on_supports(network, point=True)
        for weight in bayes.weights(made).values():
            weight.set_prior(bayes.make_prior(self.prior, self.prior_scale))
        return made

    def _on_supports(self, network: nn.Module, *, point: bool, **more: Any) -> nn.Module:
        return bayes.bayesianize(
            network,
            self.density,
            fresh=self.density < 1,
            allocation=self.allocation,
            input_shape=self.input_shape,
            dense_stem=self.dense_stem,
            pattern=self.pattern,
            point=point,
            seed=self.seed,
            **more,
            **self._which(),
        )

    def optimizer(self, network: nn.Module, lr: float | None = None) -> DescendAndSample:
        """Adam that becomes a sampler (:class:`~szilard.sampling.descend_and_sample.DescendAndSample`)."""
        trained = [p for p in draws_of(network).chain.parameters() if p.requires_grad]
        if not trained:
            raise SzilardError(
                "all parameters of the network are frozen; call requires_grad_(True) on those to sample"
            )
        return DescendAndSample(
            trained, self.lr if lr is None else lr, 1.0, self.n_data, momentum=self.keeps_velocity,
            temperature=self.temperature, seed=self.seed,
        )  # fmt: skip

    # -- training -----------------------------------------------------------------------------------

    def temperature_at(self, step: int) -> float:
        """The factor of the negative log prior in the loss, which is that of the likelihood; T is in the noise."""
        return 1.0

    def anneal(self, optimizer: torch.optim.Optimizer) -> None:
        """Set the learning rate of the descent, or what changes within the sampling."""
        self.annealed = True
        place = self._place()
        for group in optimizer.param_groups:
            initial = group.setdefault("initial_lr", group["lr"])
            if place.descends:
                fall = 0.5 * (1 + math.cos(math.pi * place.done))
                group["lr"] = initial * (LOWEST_RATE + (1 - LOWEST_RATE) * fall)
            else:
                self._vary(group, place.done)

    def _vary(self, group: dict[str, Any], done: float) -> None:
        """Hook for subclasses: change the step or the temperature after a fraction of the sampling."""

    def loss(self, network: nn.Module, x: Any, y: Tensor) -> Tensor:
        """Negative log posterior per example up to a constant, nats, scalar; otherwise as for every method."""
        value = super().loss(network, x, y)
        if not (torch.is_grad_enabled() and network.training):
            return value
        self._batch = (x, y)
        place = self._place()
        if place.descends:
            return value
        now = float(self.last.total.detach())
        if self._reference == math.inf:
            self._reference = now
        limit = _SAFE * abs(self._reference) + 1 + self._reference
        if not now <= limit and not self._went_back:
            self._go_back(network)
            return super().loss(network, x, y)
        return value

    def _go_back(self, network: nn.Module) -> None:
        """Return to the last draw of the chain, or to the start of its sampling."""
        self._went_back = True
        self.diverged += 1
        held = draws_of(network)
        last = (
            held.done - 1 if held.done % self.draws else held.done
        )  # the start waits in the next draw's place
        put_values(held.members[min(last, len(held.members) - 1)], held.chain)

    def _divergence(self, network: nn.Module) -> Tensor:
        return -log_prior(parameter_priors(draws_of(network).chain))

    def _before_forward(self, network: nn.Module) -> None:
        super()._before_forward(network)
        self.moves.listen(draws_of(network).chain, self.step, self.total_steps or 0)

    def after_step(self, network: nn.Module, optimizer: Optimizers = None) -> None:
        held, total = draws_of(network), self.total_steps or 0
        sampler = self._sampler(optimizer)
        super().after_step(held.chain, optimizer)
        self.moves.apply(held.chain, optimizer, self.step, total)
        if self._went_back:
            sampler.restart_velocities()
            for group in sampler.param_groups:
                group["step_size"] *= 0.5
                group["largest_step"] *= 0.5
            self._went_back = False
        if self.phases.keeps(self.step, total):
            self._keep(held, sampler)
        chain = self.phases.starts(self.step, total)
        if chain is not None:
            self._begin(held, chain)
            sampler.restart(chain)
        place = self._place()
        if place.descends or self.step >= total:
            return
        if sampler.descends:
            self._begin_sampling(held, sampler)
        if self._since(place) % self.every_curvature == 0:
            self._set_step(held, sampler)

    def _keep(self, held: Draws, sampler: DescendAndSample) -> None:
        """Keep the position of the chain as a draw."""
        held.collect()

    def _begin(self, held: Draws, chain: int) -> None:
        """Start values of a chain: weights drawn anew at their initial size, everything else as it was initially."""
        put_values(held.members[-1], held.chain)  # the last draw's place still has the initial values
        weights = {id(weight.mean) for weight in bayes.weights(held.chain).values()}
        for number, parameter in enumerate(held.chain.parameters()):
            if id(parameter) in weights or parameter.dim() > 1:
                generator = torch.Generator(parameter.device).manual_seed(
                    mix(self.seed, _START, chain, number)
                )
                size = parameter.detach().square().mean().sqrt()
                with torch.no_grad():
                    parameter.normal_(generator=generator).mul_(size)

    def _begin_sampling(self, held: Draws, sampler: DescendAndSample) -> None:
        sampler.sample(self._scales(held))
        put_values(held.chain, held.members[held.done])  # where a chain that diverges goes back to
        self._reference = math.inf

    def _scales(self, held: Draws) -> dict[Tensor, Tensor | float]:
        """s of the parameters that are sampled: those of a Laplace approximation where the chain is."""
        assert self._batch is not None
        x, _ = self._batch
        priors = parameter_priors(held.chain)
        generator = torch.Generator().manual_seed(mix(self.seed, _CURVATURE, self.step))
        parameters = [one.parameter for one in priors]
        with self._same_buffers(held):
            found = curvature_diagonal(lambda: self._forward(held, x), self.likelihood, parameters, generator)
        scales = posterior_scales(found, [one.std for one in priors], self.n_data, inputs.count(x))
        return dict(zip(parameters, scales, strict=True))

    def _set_step(self, held: Draws, sampler: DescendAndSample) -> None:
        """Give the sampler the largest step that the curvature allows."""
        parameters = [
            p for group in sampler.param_groups for p in group["params"] if "scale" in sampler.state[p]
        ]
        scales = [sampler.state[p]["scale"] for p in parameters]
        largest = largest_curvature(self._gradient(held, parameters), parameters, scales, seed=self.seed)
        largest = self._curvature_of_target(largest)
        if 0 < largest < math.inf:
            for group in sampler.param_groups:
                group["step_size"] = group["largest_step"] = self.step_size * 0.5**self.diverged / largest

    def _curvature_of_target(self, largest: float) -> float:
        """The largest curvature of what is sampled, from that of the posterior, in scaled coordinates."""
        return largest

    def _gradient(self, held: Draws, parameters: Sequence[nn.Parameter]) -> Callable[[], Sequence[Tensor]]:
        """The gradients of the loss of the last batch; buffers and random numbers are those of the first call."""
        assert self._batch is not None
        x, y = self._batch

        def gradient() -> Sequence[Tensor]:
            with self._same_buffers(held), torch.enable_grad():
                output = self._forward(held, x)
                meant, weight = self._meant(output), 1 / self.n_data
                value = free_energy(output, y, self._divergence(held), task=meant, weight=weight).total
                found = torch.autograd.grad(value, parameters, allow_unused=True)
            return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]

        return gradient

    @contextmanager
    def _same_buffers(self, held: Draws) -> Iterator[None]:
        """Inside, random layers repeat themselves; afterwards statistics are as before."""
        buffers = [(buffer, buffer.clone()) for buffer in held.chain.buffers()]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mix(self.seed, self.step))
            yield
        for buffer, before in buffers:
            buffer.copy_(before)

    def _sampler(self, optimizer: Optimizers) -> DescendAndSample:
        if not isinstance(optimizer, DescendAndSample):
            raise SzilardError(
                f"{self.label} samples by its own optimiser; train with that of method.optimizer(network), and call "
                "method.after_step(network, optimizer) with it"
            )
        return optimizer

    def _place(self) -> Place:
        return self.phases.place(self.step, self.total_steps or 1)

    def _since(self, place: Place) -> int:
        """Steps since the sampling of this chain began."""
        return self.step - self.phases.bounds(place.chain, self.total_steps or 1)[1]

    # -- after training -----------------------------------------------------------------------------

    def finish(
        self, network: nn.Module, batches: Iterable[tuple[Any, Tensor]], valid: Split | None = None
    ) -> None:
        """Call once after training: computes the BatchNorm statistics of all draws in one pass over the data.

        Raises:
            SzilardError: training ended before all draws were kept.
        """
        held = draws_of(network)
        if held.done < self.count:
            raise SzilardError(
                f"training of {self.label} ended at step {self.step}, when {held.done} of {self.count} draws "
                f"were kept; train all {self.total_steps} steps, or set total_steps to those that you train"
            )
        super().finish(network, batches, valid)

    @torch.no_grad()
    def predict(
        self, network: nn.Module, x: Any, samples: int = 32, seed: int = 0, batch_size: int = 1024
    ) -> Predictive:
        """Predictions of the draws.

        Args:
            network: prepared, or opened from a file.
            x: all inputs, in the form that :meth:`loss` takes.
            samples: at most so many draws are used, at equal distances.
            seed: of replacements for categories that training has not seen.
            batch_size: number of inputs in each forward pass.

        Raises:
            SzilardError: outputs that are not finite, or of a shape that the task does not take.
        """
        checks.batched(x, self._dims)
        found, weights = of_draws.outputs(network, x, samples, seed, batch_size, self.stand_ins)
        return self.of_outputs(found).weighted(weights)

    def predict_one_pass(
        self, network: nn.Module, x: Any, batch_size: int = 1024, *, variance_factor: float = 1.0
    ) -> Predictive:
        """Not possible: draws are several networks without a variance.

        Raises:
            SzilardError: always.
        """
        raise SzilardError(
            f"the posterior of {self.label} is a set of networks, whose weights have no variance for one pass; predict "
            "with the draws (method.predict)"
        )

    def match_supports(self, network: nn.Module, state: dict[str, Any]) -> None:
        if self.allocation == "global":  # an outline does not know the weights
            match_supports(network, state, make_pattern(self.pattern))

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(), "moves": self.moves.state_dict(), "diverged": self.diverged,
            "reference": self._reference,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        checks.state(state, {"moves": None, "diverged": None, "reference": None}, self.label)
        super().load_state_dict(state)
        self.moves.load_state_dict(state["moves"])
        self.diverged, self._reference = state["diverged"], state["reference"]

    def invalid_part(self, state: dict[str, Any], network: nn.Module) -> str:
        if type(state["diverged"]) is not int or state["diverged"] < 0:
            return "diverged"
        return "" if type(state["reference"]) is float and not math.isnan(state["reference"]) else "reference"


def draws_of(network: nn.Module) -> Draws:
    """The posterior of draws that a network is or contains.

    Raises:
        SzilardError: there is none.
    """
    found = ensemble_in(network)
    if not isinstance(found, Draws):
        raise SzilardError(
            "chains need places for their draws, and this network has none; train the network that "
            "method.prepare(network) returns"
        )
    return found
