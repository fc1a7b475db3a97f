"""This package's own kernels for one to eight inputs: the whole network in one call of the C++ library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from szilard import bayes
from szilard.deploy.backends.base import Backend, Job, Run
from szilard.deploy.native import pooling, products, shapes
from szilard.deploy.native.choice import Faster
from szilard.deploy.native.layers import lowered
from szilard.deploy.native.sharing import TracedProgram
from szilard.deploy.native.traced import Traced, made
from szilard.deploy.uncertainty import OfClasses, Rule
from szilard.errors import SzilardError, first_line
from szilard.kernels import native
from szilard.kernels.inference import Compiled
from szilard.kernels.inference.uncertainty import MULTIPLE, class_uncertainty

FAMILIES = (products, pooling, shapes)  # importing them fills the table of rules
MOST = 8  # examples of one call; larger batches are several calls


class Native(Backend):
    name = "native"
    summary = "Szilard's own C++ kernels for one to eight inputs"
    checks_inputs = True

    @classmethod
    def missing(cls) -> str | None:
        why = native.why_not()
        return None if why is None else f"{why}; {native.REINSTALL}"

    def compile(self, job: Job) -> Run:
        if job.path is not None:
            raise SzilardError("the native backend writes no file; leave the path out")
        if job.graph.mode not in ("point", "moments"):
            raise SzilardError(f"the native backend has no mode {job.graph.mode}; choose point or moments")
        moments = job.graph.mode == "moments"
        faster = Faster(min(len(job.example), MOST), moments, job.threads)
        network = lowered(job.graph.source[0], moments, faster)
        shape = tuple(job.example.shape[1:])
        programs = _Programs(network, shape, moments, job.threads)
        programs[min(len(job.example), MOST)]
        job.decisions.extend(faster.lines())
        conclude = _conclusion(job.graph.rule.eval(), moments)
        standardise, factor = job.graph.inputs, job.graph.factor

        # Outputs of the library have no gradient, so that no block without gradients is needed, which takes 2 µs.
        def run(x: Tensor) -> tuple[Tensor, ...]:
            x = x if standardise is None else standardise(x)
            size = len(x)
            parts = [x] if size <= MOST else x.split(MOST)
            outputs = [programs[len(part)](part) for part in parts]
            if not moments:
                output = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
                return (*conclude(output, None), output)
            mean, variance = (
                outputs[0] if len(outputs) == 1 else (torch.cat(part) for part in zip(*outputs, strict=True))
            )
            if factor != 1:
                variance = variance * factor
            return (*conclude(mean, variance), mean, variance)

        return run


def _conclusion(rule: Rule, moments: bool) -> Callable[[Tensor, Tensor | None], tuple[Tensor, ...]]:
    """From the outputs to the answer and its uncertainties: a kernel for class probabilities ``[B, C]``."""
    if isinstance(rule, OfClasses) and not rule.last:
        # A point is a Gaussian without variance, for which a few points are enough.
        noise = rule.noise.t().contiguous() if moments else torch.zeros(rule.noise.shape[1], MULTIPLE)
        if noise.shape[1] % MULTIPLE == 0:
            scale = 1 / rule.calibration

            def classes(mean: Tensor, variance: Tensor | None) -> tuple[Tensor, ...]:
                if mean.dim() != 2:
                    return rule.of_point(mean) if variance is None else rule.of_moments(mean, variance)
                if variance is None:
                    answer, aleatoric, nothing = class_uncertainty(mean, torch.zeros_like(mean), noise, scale)
                    return answer, aleatoric, nothing.zero_()
                return class_uncertainty(mean, variance, noise, scale)

            return classes
    return lambda mean, variance: rule.of_point(mean) if variance is None else rule.of_moments(mean, variance)


class _Programs:
    """The program of each batch size, made when it is first needed."""

    def __init__(self, network: nn.Module, shape: tuple[int, ...], moments: bool, threads: int) -> None:
        self._network, self._shape, self._moments, self._threads = network, shape, moments, threads
        self._found: dict[int, Compiled] = {}

    def __getitem__(self, batch: int) -> Compiled:
        if batch not in self._found:
            try:
                program, output = self._traced(batch, False)
                if program.averages and self._moments:  # what positions share matters
                    program, output = self._traced(batch, True)
            except SzilardError:
                raise
            except Exception as error:  # a forward that reads weights, or the values of its input
                raise SzilardError(
                    f"the native backend cannot trace the network: {first_line(error)}; choose another backend"
                ) from error
            if not isinstance(output, Traced):
                raise SzilardError(
                    "the network's output does not depend on its input in a way that can be traced"
                )
            self._found[batch] = program.finish(output.value, self._threads)
        return self._found[batch]

    def _traced(self, batch: int, models: bool) -> tuple[TracedProgram, Any]:
        program = TracedProgram(batch, self._moments, models)
        # Modules that keep their class read their weights as Gaussians in this mode.
        with bayes.mode(self._network, "moments" if self._moments else "mean"):
            return program, self._network(made(program, program.input(self._shape)))
