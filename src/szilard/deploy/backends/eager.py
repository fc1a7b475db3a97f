"""Plain PyTorch, without a compiler: the reference of the other backends."""

from __future__ import annotations

import torch
from torch import Tensor

from szilard.deploy.backends.base import Backend, Job, Run


class Eager(Backend):
    name = "eager"
    summary = "plain PyTorch, without compiling"
    floats = ()

    def compile(self, job: Job) -> Run:
        graph = job.graph.eval()

        @torch.no_grad()
        def run(x: Tensor) -> tuple[Tensor, ...]:
            found: tuple[Tensor, ...] = graph(x)
            return found

        return run
