"""The likelihood of a network's outputs in training, from the task and from the user's options."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from szilard.errors import SzilardError
from szilard.likelihood import Likelihood, for_training
from szilard.likelihood.targets import DATA_TASKS, TaskName, known, of_data
from szilard.likelihood.weighted import weighted, weighted_pair
from szilard.methods.to_predictive import binary


def named(task: TaskName | Likelihood) -> tuple[TaskName, Likelihood | None]:
    """The name of a task, and the likelihood if one was given.

    Raises:
        SzilardError: an unknown task, or a likelihood that cannot be trained or whose name is no task.
    """
    if isinstance(task, type) and issubclass(task, Likelihood):
        raise SzilardError(f"task is the class {task.__name__}; give an object of it, {task.__name__}(...)")
    if not isinstance(task, Likelihood):
        return of_data(task).name, None  # refuses what it does not know
    if not task.trainable:
        raise SzilardError(
            f"{type(task).__name__} cannot be trained, because it gives no predicted probabilities; use "
            "Categorical, Bernoulli, Gaussian, NoisyGaussian or your own subclass of szilard.likelihood.Likelihood"
        )
    if known(task.name) is None:
        raise SzilardError(
            f"{type(task).__name__}.name is {task.name!r}; set it to what its targets are, one of "
            f"{', '.join(DATA_TASKS)}"
        )
    return cast(TaskName, task.name), task


def likelihood(
    task: TaskName, given: Likelihood | None, class_weights: Tensor | None, output: Tensor | None = None
) -> Likelihood:
    """The likelihood of a task's outputs.

    Args:
        task: name of the task.
        given: the user's likelihood, or None: the default of the task.
        class_weights: ``[C]``, or None.
        output: the output, or None if unknown. One logit ``[B]`` or ``[B, 1, ...]`` means two classes if no likelihood
            was given.

    Raises:
        SzilardError: class weights for a task other than classification.
    """
    if output is not None and of_data(task).has_classes and given is None and binary(output):
        return weighted_pair(class_weights)
    return weighted(given or for_training(task), class_weights)
