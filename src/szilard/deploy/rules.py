"""The rule for the uncertainty of a network's outputs, from its task."""

from __future__ import annotations

from torch import Tensor, nn

from szilard.deploy.graph import output_of
from szilard.deploy.uncertainty import OfClasses, Rule, rule_for
from szilard.deploy.units import Standardise, Units, checked
from szilard.likelihood import Likelihood, for_training
from szilard.likelihood.targets import TaskName, of_data
from szilard.metrics.calibration import check_divisor


def rule_of(
    network: nn.Module,
    example: Tensor,
    task: TaskName | Likelihood,
    calibration: float,
    inputs: Units | None,
    targets: Units | None,
) -> Rule:
    """The rule for a network's outputs, whose shape an example shows.

    Args:
        network: in eval mode.
        example: inputs in the user's units.
        task, calibration, inputs, targets: as of :func:`szilard.deploy.compile`.

    Raises:
        SzilardError: outputs that the task does not take, or a calibration that is not positive and finite.
    """
    check_divisor(calibration)
    likelihood = task if isinstance(task, Likelihood) else for_training(task)
    x = example[:2] if inputs is None else Standardise(checked(inputs, example))(example[:2])
    output = output_of(network, x)
    single = output.dim() == 1 or output.shape[1] == 1
    if not isinstance(task, Likelihood) and single and of_data(task).has_classes:
        return OfClasses(1, calibration)
    return rule_for(likelihood, output, calibration, targets)
