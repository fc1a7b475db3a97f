"""The output that class numbers belong to, if a network returns several."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from szilard.compression.adapter import Adapter
from szilard.compression.batches import length, mapped, rows
from szilard.compression.other_outputs import numeric_outputs
from szilard.compression.outputs import at, output_name
from szilard.likelihood import Categorical, choose

EVIDENCE = 256  # examples that decide
CLEARLY = 2.0  # standard errors by which accuracy must be better than guessing


@torch.no_grad()
def with_output_of_labels(found: Adapter, network: nn.Module, batch: Any) -> Adapter:
    """The adapter, with another judged output if labels are class numbers that only that one predicts.

    The chosen output stays if it is the only one, or predicts the labels better than a constant does.
    """
    if not found.path or not found.divided:
        return found
    try:
        inputs, labels = found.split(rows(batch, slice(0, EVIDENCE)))
        if not isinstance(labels, Tensor) or labels.dim() == 0 or labels.is_floating_point():
            return found
        output = found.outputs(network, mapped(inputs, Tensor.clone))
        if len(labels) != length(inputs) or predicts(at(output, found.path, 0), labels):
            return found
        others = [
            path
            for path, tensor in numeric_outputs(output)
            if path != found.path and predicts(tensor, labels, classes=True)
        ]
    except Exception:  # any error of a network that does not take a part of a batch
        return found
    if len(others) != 1:
        return found
    name, old = output_name(others[0]), output_name(found.path)
    found.notes.append(
        f"the output {name} is judged, because labels are class numbers that it predicts and the output {old} does "
        "not; give forward to judge another one"
    )
    return replace(found, path=others[0])


def predicts(output: Tensor, labels: Tensor, *, classes: bool = False) -> bool:
    """Whether an output predicts labels better than a constant does.

    Args:
        classes: they must be numbers of the output's classes.
    """
    try:
        labels = labels.to(output.device)
        likelihood = choose(output, labels).likelihood
        if classes and not isinstance(likelihood, Categorical):
            return False
        values = likelihood.values(output, labels)
        return bool(values.mean() > likelihood.guessing(labels) + CLEARLY * values.std() / len(values) ** 0.5)
    except Exception:  # any error from labels that do not fit the output
        return False
