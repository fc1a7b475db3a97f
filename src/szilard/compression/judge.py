"""How good a compressed network is, where the user does not say."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from szilard.compression import constants
from szilard.compression.adapter import Adapter, refused
from szilard.compression.answers import of_output
from szilard.compression.batches import Whole, distinct, leaves, length, rows
from szilard.compression.calibration import Calibration
from szilard.compression.positions import Positions, are_next_tokens, next_tokens, sample
from szilard.errors import SzilardError, SzilardWarning
from szilard.likelihood import Choice, Embedding, Likelihood, choose
from szilard.networks import WithNoise
from szilard.networks.finite import advice

ENOUGH = 1 << 7  # different examples; more are not counted

Forward = Callable[[nn.Module, Any], Tensor]
FEW = 64  # examples that are asked for twice
SAME = {
    torch.float64: 1e-6,
    torch.float32: 1e-4,
}  # of the largest answer: a second answer may differ by so much
COARSE = 2e-2  # the same for half precision


@dataclass(frozen=True, eq=False)
class Scores:
    """What a judge says of one network.

    Attributes:
        score: the higher the better.
        values: what each example adds to it, float64 ``[N]``, or None where only their mean is known.
        guessing: the score of the best constant answer, where it is known.
        relative: a drop is a share of the original's score.
        distinct: how many different examples there are, where they are few; None where that is not known.
        sureness: a finer figure of each example, or None (:meth:`szilard.likelihood.Likelihood.sureness`); without
            labels, of what the original answers.
        steps: without labels, values that differ only where another of the original's labels is answered.
        output: name of the one that is judged; empty where the network answers a tensor, or that is not known.
    """

    score: float
    values: Tensor | None = None
    sureness: Tensor | None = None
    guessing: float | None = None
    relative: bool = False
    distinct: int | None = None
    steps: bool = False
    output: str = ""


@dataclass(frozen=True, eq=False)
class Judge:
    """A score of networks on the judges of a calibration, batch by batch.

    Where padding is known, or labels are -100, the score of an example is the mean over its other positions.

    Attributes:
        choice: the likelihood, and why it was taken.
        wanted: labels of each batch, or the original's outputs.
        positions: of each batch, that count; None: all of them.
        guessing: the score of the best constant answer; None where there are no labels.
        output: name of the one that is judged; empty where the network answers a tensor.
    """

    choice: Choice
    inputs: list[Any]
    wanted: list[Tensor]
    positions: list[Positions | None]
    forward: Forward
    guessing: float | None
    output: str = ""

    def __call__(self, network: nn.Module) -> float:
        return self.scores(network).score

    @property
    def likelihood(self) -> Likelihood:
        """Of what the network answers to a batch, positions that do not count included."""
        told, positions = self.choice.likelihood, self.positions[0]
        return told if positions is None else positions.of_batches(told)

    @cached_property
    def _distinct(self) -> int:
        return distinct(self.inputs, ENOUGH)

    @torch.no_grad()
    def scores(self, network: nn.Module) -> Scores:
        """Of one network in eval mode."""
        told, labelled = self.choice.likelihood, self.choice.labelled
        values, sureness = [], []
        steps = not labelled
        for x, wanted, positions in zip(self.inputs, self.wanted, self.positions, strict=True):
            output = self.forward(network, x)
            count = len(output) if positions is None else positions.examples
            if positions is not None:
                output = positions.of(output)
            if not bool(torch.isfinite(output).all()):
                values.append(torch.full((count,), -torch.inf, dtype=torch.float64))
                continue
            value = (told.values if labelled else told.agreement)(output, wanted)
            said = wanted if labelled else told.answers(wanted)
            sure = None if said is None else told.sureness(output, said)
            steps &= positions is None and said is not None and said.numel() == len(said)
            if positions is not None:
                value = positions.means(value)
                sure = None if sure is None else positions.means(sure)
            values.append(value.cpu())
            if sure is not None:
                sureness.append(sure.cpu())
        together = torch.cat(values)
        finer = torch.cat(sureness) if len(sureness) == len(values) else None
        return Scores(
            float(together.mean()),
            together,
            finer,
            self.guessing,
            told.relative,
            self._distinct,
            steps,
            self.output,
        )


@torch.no_grad()
def judge(
    original: nn.Module, data: Calibration, *, task: str | None = None, forward: Forward | None = None
) -> Judge:
    """The likelihood of a network's outputs (:func:`szilard.likelihood.choose`), and a score by it.

    With labels, accuracy or R²; without, agreement with the original's outputs.

    Args:
        original: in eval mode.
        task: one of :data:`szilard.likelihood.TASKS`, or None to find out.
        forward: calls a network on a batch of the calibration; by default its adapter does.

    Raises:
        SzilardError: labels that do not go with the outputs, outputs that are NaN, or that change from call to call.
    """
    with of_output("" if forward else data.adapter.judged):
        return _judged(original, data, task, forward)


def _judged(original: nn.Module, data: Calibration, task: str | None, forward: Forward | None) -> Judge:
    name = "" if forward else data.adapter.judged
    forward = forward or data.adapter.call
    _check_steady(original, data.judges[0], forward)
    outputs = [_answer(original, x, forward) for x in data.judges]
    device = outputs[0].device
    labels = None if data.labels is None else [y.to(device) for y in data.labels]
    shifted = labels is not None and are_next_tokens(data.judges[0], outputs[0], labels[0])
    if labels is not None and shifted:
        labels = [next_tokens(y) for y in labels]
    positions: list[Positions | None] = []
    for number, (x, output) in enumerate(zip(data.judges, outputs, strict=True)):
        y = None if labels is None else labels[number]
        positions.append(Positions.that_count(output, y, data.adapter.mask(x, output)))
    told = next((one for one in positions if one is not None), None)
    if told is not None:
        positions = [
            one or Positions.every(output, told.first) for one, output in zip(positions, outputs, strict=True)
        ]
        outputs = [o if one is None else one.of(o) for o, one in zip(outputs, positions, strict=True)]
        if labels is not None:
            labels = [y if one is None else one.of(y) for y, one in zip(labels, positions, strict=True)]
    noisy = isinstance(original, WithNoise)
    choice = choose(*_told(outputs, labels), task=task, noisy=noisy)
    if shifted:
        choice = replace(choice, reason=f"{choice.reason} that are inputs, and are taken for the next ones")
    if labels is None or not choice.labelled:
        guess = (
            choice.likelihood.guessing(sample(outputs)) if isinstance(choice.likelihood, Embedding) else None
        )
        return Judge(choice, data.judges, outputs, positions, forward, guess, name)
    for output, y in zip(outputs, labels, strict=True):
        choice.likelihood.check(output, y)
    told_labels = sample(labels)
    note = constants.checked(choice.likelihood, told_labels)
    if note:
        note = f"the output {name}, which is judged: {note}" if name else note
        warnings.warn(note, SzilardWarning, stacklevel=4)
        data.notes.append(note)
    guessing = choice.likelihood.guessing(told_labels)
    return Judge(choice, data.judges, labels, positions, forward, guessing, name)


def _told(outputs: list[Tensor], labels: list[Tensor] | None) -> tuple[Tensor, Tensor | None]:
    """Outputs and labels that tell what they are.

    Of batches with class numbers, those are left out that have as many positions as classes: either could be the other.
    """
    if labels is None:
        return sample(outputs), None
    pairs = list(zip(outputs, labels, strict=True))
    if labels[0].is_floating_point():
        return sample(outputs), sample(labels)
    clear = [(o, y) for o, y in pairs if o.dim() < 3 or o.shape[1] != o.shape[-1]] or pairs
    if len({o.shape[1:] for o, _ in clear}) > 1:
        clear = clear[:1]
    return sample([o for o, _ in clear]), sample([y for _, y in clear])


def _answer(network: nn.Module, x: Any, forward: Forward) -> Tensor:
    """The answer to one batch, if it is finite and has a row for each example."""
    try:
        output = forward(network, x)
    except SzilardError:
        raise
    except Exception as error:  # whatever a network does with what it was not made for
        raise refused(x, error) from error
    if not isinstance(output, Tensor):
        raise SzilardError(f"forward gives {type(output).__name__}; let it give the tensor that counts")
    count = length(x)
    if output.dim() == 0 or len(output) != count:
        raise SzilardError(
            f"the network answers {list(output.shape)} to {count} examples; its first dimension must be theirs: give "
            "batches whose first dimension is that of the examples, or forward, which gives such an answer"
        )
    if not bool(torch.isfinite(output).all()):
        raise SzilardError(
            "the network answers with NaN or infinite values to the calibration inputs; "
            + advice(network, "check inputs and weights")
        )
    return output


def _check_steady(network: nn.Module, x: Any, forward: Forward) -> None:
    """Refuse a network whose answers to the same examples differ.

    Raises:
        SzilardError: they do.
    """
    few = x if isinstance(x, Whole) else rows(x, slice(0, FEW))
    output, again = _answer(network, few, forward), _answer(network, few, forward)
    kinds = {t.dtype for t in (output, *leaves(x), *network.parameters()) if t.is_floating_point()}
    most = COARSE if kinds - set(SAME) else max((SAME[kind] for kind in kinds), default=1e-4)
    size = float(output.double().abs().amax()) if output.numel() else 0.0
    gap = float((output.double() - again.double()).abs().amax()) if output.shape == again.shape else torch.inf
    if output.numel() and gap > most * size:
        raise SzilardError(
            "the network answers differently each time, even in eval mode; take out what is random, such as "
            "dropout by torch.nn.functional without training=self.training, or give forward, which resets what the "
            "network remembers between calls"
        )


@torch.no_grad()
def without_labels(
    network: nn.Module, inputs: Sequence[Any], task: str, adapter: Adapter, notes: list[str]
) -> Likelihood | None:
    """What a task says of the answers to imagined inputs, whose curvature is taken."""
    if not inputs:
        notes.append(
            f"task={task} changes nothing without data: nobody judges, and no inputs could be imagined"
        )
        return None
    return choose(adapter.call(network, inputs[0]), task=task).likelihood
