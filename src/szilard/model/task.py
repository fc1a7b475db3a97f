"""What a method is told of a data set's task."""

from __future__ import annotations

from szilard.data import Task
from szilard.likelihood import Likelihood, NoisyGaussian


def task(name: Task, n_outputs: int) -> Task | Likelihood:
    """For :meth:`szilard.methods.Method.prepare`: several targets of a regression have a noise each."""
    return NoisyGaussian(outputs=n_outputs) if name == "regression" and n_outputs > 1 else name
