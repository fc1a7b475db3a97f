"""Classification into one of several classes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from szilard.errors import SzilardError
from szilard.likelihood.likelihood import Likelihood, by_example, precise

LEAST = 1e-12  # probability
_VOID = ", and give -100 where 255 means no label"
IGNORED = -100  # the label that torch's cross-entropy and most collators ignore
_SUM = 0.02  # tolerance of the sum of class probabilities, which is less exact in half precision


class Categorical(Likelihood):
    """Logits ``[B, C]`` or ``[B, C, ...]``; ``[B, ..., C]`` with ``last=True``. The score is accuracy.

    Labels are class numbers ``[B]`` or ``[B, ...]``, one for each position, or class probabilities of the output's
    shape. The likelihood of an example is the product over its positions.

    Args:
        last: classes are the last dimension, as in networks for text.
        probabilities: the outputs are probabilities, after a softmax.
        ignore: the label of positions to leave out, such as -100; None: there are none.
    """

    name = "classification"
    score = "accuracy"
    relative = False
    unlabelled = "the original's probability of the predicted class"

    def __init__(self, *, last: bool = False, probabilities: bool = False, ignore: int | None = None) -> None:
        self.last, self.probabilities, self.ignore = last, probabilities, ignore

    def logits(self, output: Tensor) -> Tensor:
        """``[B, C, ...]``."""
        moved = precise(output.movedim(-1, 1) if self.last else output)
        return moved.clamp_min(LEAST).log() if self.probabilities else moved

    def nll(self, output: Tensor, y: Tensor) -> Tensor:
        """The sum over an example's positions."""
        soft = y.is_floating_point() and y.shape == output.shape
        z = self.logits(output)
        if soft:
            wanted = (y.movedim(-1, 1) if self.last else y).to(z)
            loss = F.cross_entropy(z, wanted, self._weights(z), reduction="none")
        else:
            ignored = IGNORED if self.ignore is None else self.ignore
            wanted = _numbers(output, y, self.last)
            loss = F.cross_entropy(z, wanted, self._weights(z), reduction="none", ignore_index=ignored)
        return loss if loss.dim() == 1 else loss.flatten(1).sum(1)

    def _weights(self, logits: Tensor) -> Tensor | None:
        """Weights of the classes in the loss, ``[C]``; None: all 1."""
        return None

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        counted = self._counted(output, y)
        positions = self.logits(output)[:, 0].numel() // max(1, len(output))
        count: Tensor | int = positions if counted is None else counted.flatten(1).sum(1).clamp_min(1)
        return self.nll(output, y) / count

    def labelled(self, output: Tensor, y: Tensor) -> Tensor | None:
        counted = self._counted(output, y)
        return counted if counted is None or counted.dim() == 1 else counted.flatten(1).any(1)

    def _counted(self, output: Tensor, y: Tensor) -> Tensor | None:
        """Positions that have a label, bool ``[B, ...]``; None: all."""
        if self.ignore is None or (y.shape == output.shape and output.dim() > 1):
            return None
        return _numbers(output, y, self.last) != self.ignore

    def _mean(self, output: Tensor, y: Tensor, values: Tensor) -> Tensor:
        counted = self._counted(output, y)
        if counted is None:
            return by_example(values)
        counted, values = counted.reshape(len(values), -1), values.double().reshape(len(values), -1)
        return (values * counted).sum(1) / counted.sum(1).clamp_min(1)

    def values(self, output: Tensor, y: Tensor) -> Tensor:
        return self._mean(output, y, self.logits(output).argmax(1) == _numbers(output, y, self.last))

    def answers(self, output: Tensor) -> Tensor:
        return self.logits(output).argmax(1)

    def label_probability(self, output: Tensor, y: Tensor) -> Tensor:
        numbers = _numbers(output, y, self.last).clamp_min(0)  # ignored ones are left out of the mean
        given = self.logits(output).softmax(1).gather(1, numbers.unsqueeze(1))
        return self._mean(output, y, given.squeeze(1))

    def agreement(self, output: Tensor, original: Tensor) -> Tensor:
        """The original's probability of the predicted class."""
        answered = self.logits(output).argmax(1, keepdim=True)
        return by_example(self.logits(original).softmax(1).gather(1, answered))

    def guessing(self, y: Tensor) -> float:
        if y.is_floating_point():
            y = y.argmax(1)
        if self.ignore is not None:
            y = y[y != self.ignore]
        return float(y.unique(return_counts=True)[1].max()) / y.numel() if y.numel() else 0.0

    def direction(self, output: Tensor, softness: float, generator: torch.Generator) -> Tensor:
        """(diag p - p pᵀ)^½ ε, with p at temperature τ."""
        noise = torch.randn(output.shape, generator=generator).to(output)
        if self.probabilities:
            return _through(self.logits, output, lambda z, e: _rooted(z / softness, e, 1), noise)
        return _rooted(output / softness, noise, output.dim() - 1 if self.last else 1)

    def divergence(self, wanted: Tensor, answer: Tensor) -> Tensor:
        """Mean over positions."""
        p, q = self.logits(wanted).log_softmax(1), self.logits(answer).log_softmax(1)
        loss = F.kl_div(q, p, log_target=True, reduction="sum")
        return loss / max(1, p.numel() // p.shape[1])

    def check_shape(self, output: Tensor, y: Tensor) -> None:
        if output.dim() < 2:
            raise SzilardError(
                f"the network returns {list(output.shape)}, and classes need logits [B, C]; let it return one logit "
                'for each class, or give task="multilabel" if it has one logit for yes or no'
            )
        if output.shape[-1 if self.last else 1] == 1:
            raise SzilardError(
                f"the network returns {list(output.shape)}, a single class, which is always right; let it return one "
                'logit for each class, or give task="multilabel" if its one logit means yes or no'
            )
        if y.shape == output.shape and (y.is_floating_point() or not y.is_complex()):
            return  # one-hot, or probabilities
        if y.is_floating_point() or y.is_complex():
            raise SzilardError(
                f"class labels must be integers, and these are {_name(y)}; give int64 class numbers, or "
                'task="regression"'
            )
        wanted = (*output.shape[:-1],) if self.last else (output.shape[0], *output.shape[2:])
        if tuple(y.shape) not in (wanted, (*wanted, 1), (wanted[0], 1, *wanted[1:])):
            last = ""
            if not self.last and output.dim() > 2 and y.shape == output.shape[:-1]:
                last = ", or Categorical(last=True) if its last dimension is that of the classes"
            raise SzilardError(
                f"labels have shape {list(y.shape)} and outputs {list(output.shape)}; give class numbers of shape "
                f"{list(wanted)}{last}"
            )

    def check_values(self, output: Tensor, y: Tensor) -> None:
        if not y.numel():
            return
        axis = -1 if self.last else 1
        if y.shape == output.shape:
            sums = y.sum(axis, dtype=torch.float64 if y.dtype is torch.float64 else torch.float32)
            if not bool((y >= 0).all()) or not bool(((sums - 1).abs() <= _SUM).all()):
                raise SzilardError(
                    f"labels have the outputs' shape {list(y.shape)} but are not class probabilities, which are at "
                    'least 0 and add up to 1; give class numbers, or task="multilabel" if several labels can be true '
                    "at once"
                )
            return
        classes = output.shape[axis]
        numbers = y.long()
        if self.ignore is not None:
            numbers = numbers[numbers != self.ignore]
        if numbers.numel():
            low, high = (int(value) for value in numbers.aminmax())
            if low < 0 or high >= classes:
                hint = ""
                if self.ignore is None and low == IGNORED:
                    hint = f", or give Categorical(ignore={IGNORED}) if {IGNORED} means no label"
                elif high == 255:
                    hint = _VOID
                raise SzilardError(
                    f"labels are between {low} and {high}, and the network has {classes} classes; number "
                    f"them from 0 to {classes - 1}{hint}"
                )


def _rooted(logits: Tensor, noise: Tensor, axis: int) -> Tensor:
    p = logits.softmax(axis)
    root = p.sqrt()
    return root * noise - p * (root * noise).sum(axis, keepdim=True)


def _through(
    transform: Callable[[Tensor], Tensor],
    output: Tensor,
    direction: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
) -> Tensor:
    """A direction at the logits, propagated back to the outputs from which they are computed."""
    with torch.enable_grad():
        leaf = output.detach().clone().requires_grad_()
        logits = transform(leaf)
        if noise.shape != logits.shape:
            noise = noise.movedim(-1, 1)
        back: Tensor = torch.autograd.grad(logits, leaf, direction(logits.detach(), noise.to(logits)))[0]
    return back


def _numbers(output: Tensor, y: Tensor, last: bool) -> Tensor:
    """Class numbers ``[B, ...]``, also from one-hot labels."""
    if y.shape == output.shape and (y.is_floating_point() or output.dim() > 1):
        return (y if y.is_floating_point() else y.long()).argmax(-1 if last else 1)
    shape = output.shape[:-1] if last else (output.shape[0], *output.shape[2:])
    return y.reshape(shape).long()


def _name(y: Tensor) -> str:
    return str(y.dtype).removeprefix("torch.")
