"""The interface of all training methods."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from szilard import bayes
from szilard.cost.inputs import Inputs
from szilard.data import Split
from szilard.errors import SzilardError
from szilard.likelihood import Likelihood, NoisyGaussian
from szilard.likelihood.free_energy import free_energy
from szilard.likelihood.targets import TaskName
from szilard.methods import (
    checks,
    decay,
    inputs,
    more_entries,
    optimizers,
    short_runs,
)
from szilard.methods.predicting import Predicting
from szilard.methods.training_state import processes
from szilard.networks import WithNoise
from szilard.networks.takes import call
from szilard.topology.moves import Optimizers, several

_DEFAULT_EPOCHS = 30  # horizon of the schedules if the number of steps is not given


class Method(Predicting):
    """A training method. It works in any training loop::

        network = method.prepare(network)
        optimizer = method.optimizer(network)
        for x, y in batches:
            loss = method.loss(network, x, y)
            loss.backward(); optimizer.step(); optimizer.zero_grad()
            method.after_step(network, optimizer)
        method.finish(network, batches, valid)
        predictive = method.predict(network, x)

    A new method is a subclass in a new file in ``szilard/methods``. If its body assigns ``name`` and ``summary``,
    :func:`szilard.methods.make`, the command line and the documentation include it. These attributes must be
    literals, and so must ``source``, ``order`` and ``baseline`` (:mod:`szilard.catalogue` reads them). Its options are
    the keyword arguments of its ``__init__``; the ``Args`` of its docstring say what they mean.

    Args:
        n_data: N, the number of training examples (the divergence counts once for all of them).
        temperature: T, the factor of the divergence in the loss: 1 gives the Bayesian posterior, less a cold posterior.
        lr: initial learning rate of :meth:`optimizer`.
        lr_log_std: learning rate of log σ as a multiple of ``lr``.
        warmup: fraction of all steps over which T rises linearly from 0.
        optimizer: of :meth:`optimizer`: ``"adam"`` or ``"sgd"``.
        momentum: of SGD.
        seed: seed of the support, of fresh weights and of the noise.
        only: convert these weights only: a pattern for names of modules, or a list of patterns; in Python also a
            function of (name, module).
        except_: weights not to convert, given in the same way as ``only``; these are left out even if ``only`` selects
            them.
        matrices: patterns for names of ``nn.Parameter`` matrices outside of layers, to convert them, too.
        total_steps: optimiser steps of the whole run, over which all schedules run. It can be set until the
            first loss; the default is 30 epochs, counted in batches of the first batch's size.
    """

    name = "method"
    label = "Method"
    #: One-line description; empty for an abstract base class.
    summary = ""
    #: The publication.
    source = ""
    #: Position in lists of methods; ties are sorted by name.
    order = 100
    #: Whether ``szilard fit`` also trains it by default, for comparison. Read from the body of the class.
    baseline = False
    #: Options that the method takes, because all methods do, but does not use, with their default values.
    unused_options: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    #: Whether it trains Gaussian or sparse weights, which :meth:`prepare` creates.
    converts = False
    #: Whether the number of entries of supports changes in training, so that a checkpoint decides it.
    resizes = False

    def __init__(
        self,
        n_data: int,
        *,
        temperature: float = 1.0,
        lr: float = 1e-3,
        lr_log_std: float = 1.0,
        warmup: float = 0.0,
        optimizer: str = "adam",
        momentum: float = 0.9,
        seed: int = 0,
        total_steps: int | None = None,
        only: str | list[str] | Callable[[str, nn.Module], bool] | None = None,
        except_: str | list[str] | Callable[[str, nn.Module], bool] | None = None,
        matrices: str | list[str] | None = None,
    ) -> None:
        checks.options(n_data, temperature, lr, lr_log_std, warmup, total_steps)
        optimizers.check(optimizer, momentum)
        self.optimizer_name, self.momentum = optimizer, momentum
        self.n_data = n_data
        super().__init__(temperature, warmup, total_steps, seed)
        self.lr = lr
        self.lr_log_std = lr_log_std
        self.only, self.except_, self.matrices = only, except_, matrices
        #: Names of the tensors in the file from which a prepared network is loaded; they show which were converted.
        self.stored: Collection[str] = ()
        #: Shape of one example, if :meth:`prepare` was told.
        self.input_shape: Inputs | None = None
        self._inside = ""
        self._eval = False  # whether the last loss with a gradient was of a network in eval mode
        self._warned = False
        self._seen = False  # whether it has computed a loss

    # -- before training ----------------------------------------------------------------------------

    def prepare(
        self,
        network: nn.Module,
        task: TaskName | Likelihood = "classification",
        input_shape: Inputs | None = None,
    ) -> nn.Module:
        """Create the network that this method trains from an ordinary one, which is not changed.

        Args:
            network: returns logits ``[B, C]``, or ``[B, C, ...]`` with labels ``[B, ...]`` (classification; one logit
                ``[B]`` or ``[B, 1]`` means two classes), a logit for each label (multilabel), or ``[B, 1]`` or
                ``[B, 2]`` (regression; for ``[B, 1]`` a noise is learned).
            task: its name, or a likelihood: ``Categorical(last=True)``, ``NoisyGaussian(outputs=k)`` for k targets
                with a learned noise each, ``Gaussian(deviations)`` for known noises.
            input_shape: shape of one example, as in :func:`szilard.cost.count`; ``allocation="flops"`` needs it.

        Raises:
            SzilardError: an unknown task, a likelihood without probabilities, or a method that has trained a network.
        """
        if self._trained:
            raise SzilardError(
                f"this {self.label} has already trained a network, and its schedules have ended; create a new one "
                "for each network"
            )
        self.input_shape = input_shape
        self.set_task(task)
        likelihood = self.likelihood
        self._inside = ""
        if not isinstance(likelihood, NoisyGaussian) or isinstance(network, WithNoise):
            return self._convert(network)
        self._inside = "network."  # WithNoise's prefix of the user's names
        return WithNoise(self._convert(network), outputs=likelihood.outputs)

    def _convert(self, network: nn.Module) -> nn.Module:
        raise NotImplementedError

    @contextmanager
    def _stored_under(self, prefix: str) -> Iterator[None]:
        """Inside, :attr:`stored` holds the names of the tensors of a part of the network, without its prefix."""
        stored = self.stored
        self.stored = [name.removeprefix(prefix) for name in stored if name.startswith(prefix)]
        try:
            yield
        finally:
            self.stored = stored

    def _which(self) -> dict[str, Any]:
        """Arguments of :func:`szilard.bayesianize` that select the weights to convert."""
        return {
            "only": self.only,
            "except_": self.except_,
            "matrices": self.matrices or (),
            "stored": [name.removeprefix(self._inside) for name in self.stored],
        }

    def optimizer(self, network: nn.Module, lr: float | None = None) -> torch.optim.Optimizer:
        """Adam, or SGD with momentum, with log σ in a separate group."""
        lr = self.lr if lr is None else lr
        if self.optimizer_name == "sgd":
            return optimizers.sgd(network, lr, self.lr_log_std, self.momentum)
        return optimizers.adam(network, lr, self.lr_log_std)

    def parameter_groups(
        self, network: nn.Module, *, lr: float | None = None, weight_decay: float = 0.0
    ) -> list[dict[str, Any]]:
        """Groups for your own optimiser: ``torch.optim.AdamW(method.parameter_groups(network, ...))``.

        Weight decay applies to ordinary weights only. On ln σ it would pull σ towards 1, and on the means of Gaussian
        weights it would act as a second prior, in addition to that of the divergence.

        Args:
            network: prepared.
            lr: by default the method's; that of ln σ is ``lr_log_std`` times it.
            weight_decay: of parameters that are not part of a Gaussian weight.

        Returns:
            groups of ordinary parameters, means, and ln σ, without frozen parameters and empty groups.
        """
        return decay.groups(network, self.lr if lr is None else lr, self.lr_log_std, weight_decay)

    # -- training -----------------------------------------------------------------------------------

    def loss(self, network: nn.Module, x: Any, y: Tensor) -> Tensor:
        """Free energy per example in nats, scalar; its two terms are kept in :attr:`last`.

        The likelihood of an example is that of all its labels together (the sum over pixels, tokens, labels or
        targets), and the divergence counts once for ``n_data`` examples, so T has the same meaning for all types of
        targets. On a GPU the values of targets are checked in the first steps and then every 64 steps, their shapes
        always.

        A loss under ``torch.no_grad()`` or of a network in eval mode, such as that of a validation batch, changes
        nothing in the losses that follow.

        Args:
            network: prepared.
            x: a tensor ``[B, ...]``, or a tuple, list or dict of them, as the network takes it.
            y: ``[B]``, or another shape that the likelihood takes.

        Raises:
            SzilardError: targets that do not fit the outputs, a network in float16, or one that :meth:`prepare` has
                not created.
        """
        training = torch.is_grad_enabled() and network.training
        self._eval = torch.is_grad_enabled() and not network.training
        if not self._seen and self.converts:
            checks.prepared(network, self.label)
        self._seen = True
        if self.total_steps is None and training:
            self.total_steps = _DEFAULT_EPOCHS * math.ceil(self.n_data / max(1, inputs.count(x)))
        if training and self._losses == self.step == 0 and self.total_steps is not None:
            self.check_run(self.total_steps, processes(), max(1, inputs.count(x)))
            short_runs.warn(self, network, self.total_steps)
            more_entries.warn(self, network)
        if training and self._losses == 0 and self.step == self.total_steps:
            short_runs.warn_of_end(self)
        self._reset_noise(network)
        self._before_forward(network)
        weight = self.temperature_at(self.step) / self.n_data
        output = checks.run(self._forward, network, x)
        likelihood = self._meant(output)
        checks.targets(likelihood, output, y, self.step)
        self.last = free_energy(output, y, self._divergence(network), task=likelihood, weight=weight)
        if training and self._losses == self.step == 0:
            checks.unreached(self.last.energy, network)
        if training and isinstance(x, Tensor):
            self._dims = x.dim()
        self._losses += training
        return self.last.total

    def _divergence(self, network: nn.Module) -> Tensor:
        return bayes.kl(network)

    def _forward(self, network: nn.Module, x: Tensor) -> Tensor:
        return call(network, x)

    def after_step(self, network: nn.Module, optimizer: Optimizers = None) -> None:
        """Call once after every step, with the optimiser, or with all of them if several share the parameters.

        When a support moves, the optimiser state of its entries moves with it.
        """
        if self._eval and not self._warned:
            self._warned = checks.in_eval_mode(network)
        if self.step == 0:
            checks.trains(network, several(optimizer))
            for one in several(optimizer):
                decay.warn(network, one)
        self.step += 1
        self._losses = 0
        self._trained = True

    # -- after training -----------------------------------------------------------------------------

    def finish(
        self, network: nn.Module, batches: Iterable[tuple[Any, Tensor]], valid: Split | None = None
    ) -> None:
        """Call once after training: computes the BatchNorm statistics for predictions."""
        wanted = getattr(self, "density", None) if self.resizes else None
        if self.converts and self.step == 0 and self._losses > 1:
            short_runs.warn_of_no_step(self, self._losses)
        elif wanted is not None:
            short_runs.warn_of_density(self, network, wanted)
        bayes.reestimate_batchnorm(network, batches)

    @property
    def mean_entries(self) -> Sequence[float]:
        """Mean number of entries of each weight over all steps so far, in their order; empty if it never changes."""
        return ()

    @property
    def explored_entries(self) -> Sequence[float]:
        """Number of entries of each weight that were trained beside those that its forward pass uses; empty if none."""
        return ()

    def match_supports(self, network: nn.Module, state: dict[str, Any]) -> None:
        """Give a prepared network the shapes of a finished network's state dict, if finishing changes shapes."""
