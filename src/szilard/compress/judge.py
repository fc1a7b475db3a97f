"""How good a compressed network is, where the user does not say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from szilard.compress.answers import call
from szilard.compress.calibration import Calibration
from szilard.errors import SzilardError
from szilard.likelihood import Choice, choose
from szilard.networks import WithNoise

Forward = Callable[[nn.Module, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Scores:
    """What a judge says of one network.

    Attributes:
        score: the higher the better.
        values: what each example adds to it, float64 ``[N]``, or None where only their mean is known.
        guessing: the score of the best constant answer, where it is known.
        relative: a drop is a share of the original's score.
        sureness: a finer figure of each example, or None (:meth:`szilard.likelihood.Likelihood.sureness`).
    """

    score: float
    values: Tensor | None = None
    sureness: Tensor | None = None
    guessing: float | None = None
    relative: bool = False


@dataclass(frozen=True, eq=False)
class Judge:
    """A score of networks on the judges of a calibration.

    Attributes:
        choice: the likelihood, and why it was taken.
        guessing: the score of the best constant answer; None where there are no labels.
    """

    choice: Choice
    inputs: list[Tensor]
    wanted: list[Tensor]  # labels, or the original's outputs
    forward: Forward
    guessing: float | None

    def __call__(self, network: nn.Module) -> float:
        return self.scores(network).score

    @torch.no_grad()
    def scores(self, network: nn.Module) -> Scores:
        """Of one network in eval mode."""
        told, labelled = self.choice.likelihood, self.choice.labelled
        values, sureness = [], []
        for x, wanted in zip(self.inputs, self.wanted, strict=True):
            output = self.forward(network, x)
            if not bool(torch.isfinite(output).all()):
                values.append(torch.full((len(output),), -torch.inf, dtype=torch.float64))
                continue
            values.append((told.values if labelled else told.agreement)(output, wanted).cpu())
            sure = told.sureness(output, wanted) if labelled else None
            if sure is not None:
                sureness.append(sure.cpu())
        together = torch.cat(values)
        finer = torch.cat(sureness) if len(sureness) == len(values) else None
        return Scores(float(together.mean()), together, finer, self.guessing, told.relative)


@torch.no_grad()
def judge(
    original: nn.Module, data: Calibration, *, task: str | None = None, forward: Forward = call
) -> Judge:
    """The likelihood of a network's outputs (:func:`szilard.likelihood.choose`), and a score by it.

    With labels, accuracy or R²; without, agreement with the original's outputs.

    Args:
        original: in eval mode.
        task: one of :data:`szilard.likelihood.TASKS`, or None to find out.

    Raises:
        SzilardError: labels that do not go with the outputs, outputs that are NaN, or that change from call to call.
    """
    outputs = [_steady(original, x, forward) for x in data.judges]
    if len({tuple(output.shape[1:]) for output in outputs}) > 1:
        raise SzilardError(
            "the network's answers to two batches have different shapes; give batches of the same length, or evaluate"
        )
    for x, output in zip(data.judges, outputs, strict=True):
        if output.dim() == 0 or len(output) != len(x):
            raise SzilardError(
                f"the network answers {list(output.shape)} to {len(x)} examples; its first dimension must be theirs"
            )
    labels = None if data.labels is None else torch.cat(data.labels)
    device = outputs[0].device
    labels = None if labels is None else labels.to(device)
    together = torch.cat(outputs)
    choice = choose(together, labels, task=task, noisy=isinstance(original, WithNoise))
    wanted = together if labels is None or not choice.labelled else labels
    guessing = choice.likelihood.guessing(wanted) if choice.labelled else None
    return Judge(choice, data.judges, list(wanted.split([len(x) for x in data.judges])), forward, guessing)


def _steady(network: nn.Module, x: Tensor, forward: Forward) -> Tensor:
    """The answer, if it is finite and the same twice."""
    try:
        output, again = forward(network, x), forward(network, x[:64])
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SzilardError(
            f"the network does not take calibration inputs of shape {list(x.shape)}: {first}; give what it takes"
        ) from error
    if not bool(torch.isfinite(output).all()):
        raise SzilardError(
            "the network answers with NaN or infinite values to the calibration inputs; check inputs and weights"
        )
    if output.is_floating_point() and len(again) == min(64, len(output)):
        size = float(output.float().abs().amax()) if output.numel() else 0.0
        if float((output[:64] - again).float().abs().amax() if again.numel() else 0.0) > 1e-2 * size:
            raise SzilardError(
                "the network answers differently each time, even in eval mode; take out what is random, such as "
                "dropout by torch.nn.functional without training=self.training"
            )
    return output
