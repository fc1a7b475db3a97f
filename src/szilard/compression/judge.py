"""Score networks on the judging examples, if the user gives no ``evaluate``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from szilard.compression import constant_targets
from szilard.compression.adapter import Adapter, refused
from szilard.compression.batches import Whole, distinct, leaves, length, rows
from szilard.compression.calibration import Calibration
from szilard.compression.outputs import of_output
from szilard.compression.positions import Positions, are_next_tokens, next_tokens, sample
from szilard.errors import SzilardError, SzilardWarning
from szilard.likelihood import Categorical, Choice, Embedding, Likelihood, choose
from szilard.likelihood.outputs import of_length_one
from szilard.networks import WithNoise
from szilard.networks.finite import advice

ENOUGH = 1 << 7  # different examples that are counted at most

Forward = Callable[[nn.Module, Any], Tensor]
FEW = 64  # examples for which outputs are computed twice
SAME = {
    torch.float64: 1e-6,
    torch.float32: 1e-4,
}  # allowed difference between two calls, relative to the largest output
COARSE = 2e-2  # the same for half precision


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of one network.

    Attributes:
        score: the higher the better.
        values: score of each example, float64 ``[N]``, or None if only their mean is known.
        guessing: the score of the best constant prediction, if it is known.
        relative: a drop is a share of the original's score.
        distinct: number of different examples, if they are few; None if it is not known.
        label_probability: of each example (:meth:`szilard.likelihood.Likelihood.label_probability`), or None; without
            labels, the probability of the original's prediction.
        steps: without labels: values change only if the predicted label changes.
        output: name of the judged output; empty if the network returns a tensor, or it is not known.
        vectors: labels are classes, but outputs are vectors of length 1, as embeddings are.
    """

    score: float
    values: Tensor | None = None
    label_probability: Tensor | None = None
    guessing: float | None = None
    relative: bool = False
    distinct: int | None = None
    steps: bool = False
    output: str = ""
    vectors: bool = False


@dataclass(frozen=True, eq=False)
class Judge:
    """Scores networks on the judging examples of a calibration, batch by batch.

    If padding is known, or labels are -100, the score of an example is the mean over its other positions.

    Attributes:
        choice: the likelihood, and why it was chosen.
        wanted: labels of each batch, or the original's outputs.
        positions: positions of each batch that count; None: all of them.
        guessing: the score of the best constant prediction; None without labels.
        output: name of the judged output; empty if the network returns a tensor.
        vectors: as of :class:`Scores`.
    """

    choice: Choice
    inputs: list[Any]
    wanted: list[Tensor]
    positions: list[Positions | None]
    forward: Forward
    guessing: float | None
    output: str = ""
    vectors: bool = False

    def __call__(self, network: nn.Module) -> float:
        return self.scores(network).score

    @property
    def likelihood(self) -> Likelihood:
        """The likelihood of the outputs for a batch, including positions that do not count."""
        found, positions = self.choice.likelihood, self.positions[0]
        return found if positions is None else positions.of_batches(found)

    @cached_property
    def _distinct(self) -> int:
        return distinct(self.inputs, ENOUGH)

    @torch.no_grad()
    def scores(self, network: nn.Module) -> Scores:
        """Scores of one network in eval mode."""
        likelihood, labelled = self.choice.likelihood, self.choice.labelled
        values, probabilities = [], []
        steps = not labelled
        for x, wanted, positions in zip(self.inputs, self.wanted, self.positions, strict=True):
            output = self.forward(network, x)
            count = len(output) if positions is None else positions.examples
            if positions is not None:
                output = positions.of(output)
            if not bool(torch.isfinite(output).all()):
                values.append(torch.full((count,), -torch.inf, dtype=torch.float64))
                continue
            value = (likelihood.values if labelled else likelihood.agreement)(output, wanted)
            targets = wanted if labelled else likelihood.answers(wanted)
            probability = None if targets is None else likelihood.label_probability(output, targets)
            steps &= positions is None and targets is not None and targets.numel() == len(targets)
            if positions is not None:
                value = positions.means(value)
                probability = None if probability is None else positions.means(probability)
            values.append(value.cpu())
            if probability is not None:
                probabilities.append(probability.cpu())
        together = torch.cat(values)
        finer = torch.cat(probabilities) if len(probabilities) == len(values) else None
        return Scores(
            float(together.mean()),
            together,
            finer,
            self.guessing,
            likelihood.relative,
            self._distinct,
            steps,
            self.output,
            self.vectors,
        )


@torch.no_grad()
def judge(
    original: nn.Module, data: Calibration, *, task: str | None = None, forward: Forward | None = None
) -> Judge:
    """The likelihood of a network's outputs (:func:`szilard.likelihood.choose`), and a score by it.

    With labels, accuracy or R²; without, agreement with the original's outputs.

    Args:
        original: in eval mode.
        data: calibration data; its judging examples are used.
        task: one of :data:`szilard.likelihood.TASKS`, or None to infer it.
        forward: calls a network on a batch of the calibration; by default its adapter does.

    Raises:
        SzilardError: labels do not fit the outputs, outputs are NaN, or differ from call to call.
    """
    with of_output("" if forward else data.adapter.judged):
        return _judged(original, data, task, forward)


def _judged(original: nn.Module, data: Calibration, task: str | None, forward: Forward | None) -> Judge:
    name = "" if forward else data.adapter.judged
    forward = forward or data.adapter.call
    _check_repeatable(original, data.judges[0], forward)
    outputs = [_output(original, x, forward) for x in data.judges]
    device = outputs[0].device
    labels = None if data.labels is None else [y.to(device) for y in data.labels]
    shifted = labels is not None and are_next_tokens(data.judges[0], outputs[0], labels[0])
    if labels is not None and shifted:
        labels = [next_tokens(y) for y in labels]
    positions: list[Positions | None] = []
    for number, (x, output) in enumerate(zip(data.judges, outputs, strict=True)):
        y = None if labels is None else labels[number]
        positions.append(Positions.that_count(output, y, data.adapter.mask(x, output)))
    some = next((one for one in positions if one is not None), None)
    if some is not None:
        positions = [
            one or Positions.every(output, some.first) for one, output in zip(positions, outputs, strict=True)
        ]
        outputs = [o if one is None else one.of(o) for o, one in zip(outputs, positions, strict=True)]
        if labels is not None:
            labels = [y if one is None else one.of(y) for y, one in zip(labels, positions, strict=True)]
    noisy = isinstance(original, WithNoise)
    choice = choose(*_unambiguous(outputs, labels), task=task, noisy=noisy)
    if shifted:
        choice = replace(
            choice, reason=f"{choice.reason} that are the input tokens, taken as next-token labels"
        )
    if labels is None or not choice.labelled:
        guess = (
            choice.likelihood.guessing(sample(outputs)) if isinstance(choice.likelihood, Embedding) else None
        )
        return Judge(choice, data.judges, outputs, positions, forward, guess, name)
    for output, y in zip(outputs, labels, strict=True):
        choice.likelihood.check(output, y)
    all_labels = sample(labels)
    note = constant_targets.checked(choice.likelihood, all_labels)
    if note:
        note = f"the judged output {name}: {note}" if name else note
        warnings.warn(note, SzilardWarning, stacklevel=4)
        data.notes.append(note)
    guessing = choice.likelihood.guessing(all_labels)
    vectors = isinstance(choice.likelihood, Categorical) and of_length_one(sample(outputs))
    return Judge(choice, data.judges, labels, positions, forward, guessing, name, vectors)


def _unambiguous(outputs: list[Tensor], labels: list[Tensor] | None) -> tuple[Tensor, Tensor | None]:
    """Outputs and labels from which the task can be inferred.

    Batches of class numbers with as many positions as classes are left out, because the dimensions are ambiguous.
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


def _output(network: nn.Module, x: Any, forward: Forward) -> Tensor:
    """The output for one batch, if it is finite and has a row for each example.

    Raises:
        SzilardError: it does not, or the network does not take the batch.
    """
    try:
        output = forward(network, x)
    except SzilardError:
        raise
    except Exception as error:  # any error of a network on inputs that do not fit
        raise refused(x, error) from error
    if not isinstance(output, Tensor):
        raise SzilardError(f"forward returns {type(output).__name__}; let it return the tensor to be judged")
    count = length(x)
    if output.dim() == 0 or len(output) != count:
        raise SzilardError(
            f"the network returns {list(output.shape)} for {count} examples; the first dimension of outputs must count "
            "the examples: give batches whose first dimension counts the examples, or forward, which returns such "
            "outputs"
        )
    if not bool(torch.isfinite(output).all()):
        raise SzilardError(
            "the network's outputs for the calibration inputs are NaN or infinite; "
            + advice(network, "check inputs and weights")
        )
    return output


def _check_repeatable(network: nn.Module, x: Any, forward: Forward) -> None:
    """Refuse a network whose outputs for the same examples differ.

    Raises:
        SzilardError: they differ.
    """
    few = x if isinstance(x, Whole) else rows(x, slice(0, FEW))
    output, again = _output(network, few, forward), _output(network, few, forward)
    kinds = {t.dtype for t in (output, *leaves(x), *network.parameters()) if t.is_floating_point()}
    most = COARSE if kinds - set(SAME) else max((SAME[kind] for kind in kinds), default=1e-4)
    size = float(output.double().abs().amax()) if output.numel() else 0.0
    gap = float((output.double() - again.double()).abs().amax()) if output.shape == again.shape else torch.inf
    if output.numel() and gap > most * size:
        raise SzilardError(
            "the network's outputs differ each time, even in eval mode; remove what is random, such as dropout by "
            "torch.nn.functional without training=self.training, or give forward, which resets the network's state "
            "between calls"
        )


@torch.no_grad()
def without_labels(
    network: nn.Module, inputs: Sequence[Any], task: str, adapter: Adapter, notes: list[str]
) -> Likelihood | None:
    """The likelihood of a task for outputs on imagined inputs, or None without inputs; adds a note then."""
    if not inputs:
        notes.append(
            f"task={task} has no effect without data: nothing is judged, and no inputs could be imagined"
        )
        return None
    return choose(adapter.call(network, inputs[0]), task=task).likelihood
