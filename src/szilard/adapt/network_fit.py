"""Fits of a Gaussian belief about a network's numbers to one batch, and their evidence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from szilard import bayes
from szilard.adapt.network_entries import NetworkEntries
from szilard.bayes.noise import mix
from szilard.errors import SzilardError
from szilard.likelihood import Likelihood
from szilard.likelihood.targets import of_data
from szilard.methods.task_likelihood import likelihood, named
from szilard.methods.to_predictive import binary, predictive_of, two_classes
from szilard.metrics import Predictive


@dataclass(frozen=True)
class FitOptions:
    """How a batch is fitted; see :class:`szilard.adapt.NetworkFilter`."""

    steps: int
    lr: float
    lr_log_std: float
    batch_size: int | None
    draws: int
    temperature: float
    seed: int


@dataclass(frozen=True)
class Gaussian:
    """Independent Gaussians: mean and ln σ, both ``[n]``."""

    mean: Tensor
    log_std: Tensor


def divergence(q: Gaussian, prior: Gaussian) -> Tensor:
    """KL(q ‖ prior) in nats, scalar: Σ ln(s/σ) + (σ² + (μ - m)²) / (2 s²) - 1/2."""
    precision = (-2 * prior.log_std).exp()
    moment = ((2 * q.log_std).exp() + (q.mean - prior.mean).square()) * precision
    return (prior.log_std - q.log_std + 0.5 * moment - 0.5).sum()


class NetworkFit:
    """The network in a fit: its likelihood, its random numbers and its passes.

    The network stays in eval mode: no dropout, and fixed statistics of BatchNorm. Random numbers depend on (seed,
    batch, step) alone, so all hypotheses see the same ones, and a filter that resumes repeats what it would have done.
    """

    def __init__(
        self, network: nn.Module, task: str | Likelihood, entries: NetworkEntries, options: FitOptions
    ) -> None:
        self.network, self.entries, self.options = network.eval(), entries, options
        self.task, self.given = named(task)  # type: ignore[arg-type]
        parameter = next(network.parameters())
        self.device, self.dtype = parameter.device, parameter.dtype
        self._streams = bayes.streams(network)
        target_type = of_data(self.task)
        self.in_units = target_type.in_units
        self._one_logit = target_type.has_classes and self.given is None

    def predictive(self, outputs: Tensor) -> Predictive:
        """The predictions of outputs ``[S, N, ...]`` of S draws."""
        if self._one_logit and binary(outputs[0]):
            return two_classes(outputs, 1.0)
        return predictive_of(self._likelihood(outputs[0]), outputs)

    def fit(self, prior: Gaussian, start: Gaussian, x: Tensor, y: Tensor, batch: int) -> Gaussian:
        """The Gaussian that minimises E_q[-ln p(batch)] + T KL(q ‖ prior), from ``start`` by Adam.

        Weights are drawn by local reparametrisation. The learning rate falls linearly to zero, and the result is the
        mean over the second half of the steps, whose noise is less than that of the last step.

        Raises:
            SzilardError: values that are not finite.
        """
        options, entries = self.options, self.entries
        mean, log_std = (values.clone().requires_grad_() for values in (start.mean, start.log_std))
        groups: list[dict[str, Any]] = [
            {"params": [mean]},
            {"params": [log_std], "lr": options.lr * options.lr_log_std},
        ]
        optimizer = torch.optim.Adam(groups, lr=options.lr)
        decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / options.steps)
        minibatches = self._minibatches(len(x), batch)
        first = options.steps // 2
        sums = [torch.zeros_like(mean), torch.zeros_like(log_std)]
        with bayes.mode(self.network, "local"):
            for step in range(options.steps):
                rows = next(minibatches)
                parameters = entries.gaussian(mean, log_std, self._noise(batch, step))
                for stream in self._streams:
                    stream.reset(options.seed, batch, step)
                part, labels = (x, y) if rows is None else (x[rows], y[rows])
                nll = self._nll(parameters, part, labels).sum() * (len(x) / len(part))
                loss = nll + options.temperature * divergence(Gaussian(mean, log_std), prior)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                decay.step()
                if step >= first:
                    sums = [total + one.detach() for total, one in zip(sums, (mean, log_std), strict=True)]
        q = Gaussian(*(total / (options.steps - first) for total in sums))
        if not bool(torch.isfinite(q.mean).all() and torch.isfinite(q.log_std).all()):
            raise SzilardError(
                f"the fit of batch {batch} diverged; choose a smaller lr, or check the inputs for huge values"
            )
        return q

    @torch.no_grad()
    def evidence(self, q: Gaussian, prior: Gaussian, x: Tensor, y: Tensor, batch: int) -> float:
        """A bound on the log evidence of the whole batch, nats: E_q[ln p(batch)] / T - KL(q ‖ prior).

        It is a sum over all examples, from draws of all weights that every hypothesis shares. With T ≠ 1 it is the
        evidence of the likelihood to the power 1 / T, which is what the fit uses.
        """
        total = 0.0
        for values in self.draws(q, self.options.seed, batch, _EVIDENCE):
            parameters = self.entries.drawn(values)
            with bayes.mode(self.network, "mean"):
                total -= sum(float(self._nll(parameters, *part).double().sum()) for part in self._parts(x, y))
        exact = [Gaussian(one.mean.double(), one.log_std.double()) for one in (q, prior)]
        return total / (self.options.draws * self.options.temperature) - float(divergence(*exact))

    @torch.no_grad()
    def outputs(self, q: Gaussian, x: Tensor, batch: int) -> Tensor:
        """Outputs ``[S, N, ...]`` of S draws of all weights."""
        found = []
        for values in self.draws(q, self.options.seed, batch, _PREDICTION):
            parameters = self.entries.drawn(values)
            with bayes.mode(self.network, "mean"):
                found.append(torch.cat([self._forward(parameters, part) for part in self._chunks(x)]))
        return torch.stack(found)

    def draws(self, q: Gaussian, *counter: int) -> Iterator[Tensor]:
        """Draws ``[n]`` from a Gaussian; those of a counter use the same noise for every Gaussian."""
        for draw in range(self.options.draws):
            yield q.mean + q.log_std.exp() * self._noise(*counter, draw)

    def _noise(self, *counter: int) -> Tensor:
        generator = torch.Generator().manual_seed(mix(self.options.seed, _OTHERS, *counter))
        return torch.randn(len(self.entries), generator=generator).to(self.device, self.dtype)

    def _minibatches(self, count: int, batch: int) -> Iterator[Tensor | None]:
        """Rows of each step: None for all of them, else parts of permutations."""
        size = self.options.batch_size
        if size is None or size >= count:
            while True:
                yield None
        generator = torch.Generator().manual_seed(mix(self.options.seed, _ORDER, batch))
        while True:
            order = torch.randperm(count, generator=generator).to(self.device)
            yield from order[: count // size * size].split(size)

    def _chunks(self, values: Tensor) -> tuple[Tensor, ...]:
        return values.split(self.options.batch_size or max(len(values), 1))

    def _parts(self, x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self._chunks(x), self._chunks(y), strict=True)

    def _forward(self, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        output: Tensor = functional_call(self.network, parameters, (x,))
        return output

    def _likelihood(self, output: Tensor) -> Likelihood:
        return likelihood(self.task, self.given, None, output)

    def _nll(self, parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        output = self._forward(parameters, x)
        found = self._likelihood(output)
        found.check(output, y)
        return found.nll(output, y)


# Separate random numbers for each purpose.
_OTHERS, _ORDER, _EVIDENCE, _PREDICTION = 1, 2, 3, 4
