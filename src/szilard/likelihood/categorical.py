"""One of several classes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from szilard.errors import SzilardError
from szilard.likelihood.likelihood import Likelihood, by_example

LEAST = 1e-12  # probability
_VOID = ", and give -100 where 255 means no label"


class Categorical(Likelihood):
    """Logits ``[B, C]`` or ``[B, C, ...]``; ``[B, ..., C]`` with ``last=True``. The score is accuracy.

    Args:
        last: classes are the last dimension, as in networks for text.
        probabilities: outputs have gone through a softmax already.
    """

    name = "classification"
    score = "accuracy"
    relative = False

    def __init__(self, *, last: bool = False, probabilities: bool = False) -> None:
        self.last, self.probabilities = last, probabilities

    def logits(self, output: Tensor) -> Tensor:
        """``[B, C, ...]``."""
        moved = output.movedim(-1, 1) if self.last else output
        moved = moved if moved.dtype is torch.float64 else moved.float()
        return moved.clamp_min(LEAST).log() if self.probabilities else moved

    def nll(self, output: Tensor, y: Tensor) -> Tensor:
        soft = y.is_floating_point() and y.shape == output.shape and not self.last
        loss = F.cross_entropy(
            self.logits(output), y if soft else _numbers(output, y, self.last), reduction="none"
        )
        return loss if loss.dim() == 1 else loss.flatten(1).mean(1)

    def values(self, output: Tensor, y: Tensor) -> Tensor:
        return by_example(self.logits(output).argmax(1) == _numbers(output, y, self.last))

    def sureness(self, output: Tensor, y: Tensor) -> Tensor:
        given = self.logits(output).softmax(1).gather(1, _numbers(output, y, self.last).unsqueeze(1))
        return by_example(given)

    def agreement(self, output: Tensor, original: Tensor) -> Tensor:
        """The probability that the original gives to the class that is answered."""
        answered = self.logits(output).argmax(1, keepdim=True)
        return by_example(self.logits(original).softmax(1).gather(1, answered))

    def guessing(self, y: Tensor) -> float:
        if y.is_floating_point():
            y = y.argmax(1)
        return float(y.unique(return_counts=True)[1].max()) / y.numel()

    def direction(self, output: Tensor, softness: float, generator: torch.Generator) -> Tensor:
        """(diag p - p pᵀ)^½ ε, with p at temperature τ."""
        noise = torch.randn(output.shape, generator=generator).to(output)
        if self.probabilities:
            return _through(self.logits, output, lambda z, e: _rooted(z / softness, e, 1), noise)
        return _rooted(output / softness, noise, output.dim() - 1 if self.last else 1)

    def divergence(self, wanted: Tensor, answer: Tensor) -> Tensor:
        p, q = self.logits(wanted).log_softmax(1), self.logits(answer).log_softmax(1)
        loss = F.kl_div(q, p, log_target=True, reduction="sum")
        return loss / max(1, p.numel() // p.shape[1])

    def check(self, output: Tensor, y: Tensor) -> None:
        classes = output.shape[-1 if self.last else 1]
        if y.is_floating_point():
            if y.shape == output.shape:
                return  # one-hot
            raise SzilardError(
                f"labels of classes must be whole numbers, and these are {_name(y)}; give int64 class numbers, or "
                'task="regression"'
            )
        wanted = (*output.shape[:-1],) if self.last else (output.shape[0], *output.shape[2:])
        if tuple(y.shape) not in (wanted, (*wanted, 1)) and y.shape != output.shape:
            raise SzilardError(
                f"labels have shape {list(y.shape)} and outputs {list(output.shape)}; class numbers of shape "
                f"{list(wanted)} go with them"
            )
        if y.numel() and y.shape != output.shape and (int(y.min()) < 0 or int(y.max()) >= classes):
            raise SzilardError(
                f"labels lie between {int(y.min())} and {int(y.max())}, and the network has {classes} classes; number "
                f"them from 0 to {classes - 1}{_VOID if int(y.max()) == 255 else ''}"
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
    """A direction at logits, carried back to the outputs that they are made of."""
    with torch.enable_grad():
        leaf = output.detach().clone().requires_grad_()
        logits = transform(leaf)
        if noise.shape != logits.shape:
            noise = noise.movedim(-1, 1)
        back: Tensor = torch.autograd.grad(logits, leaf, direction(logits.detach(), noise.to(logits)))[0]
    return back


def _numbers(output: Tensor, y: Tensor, last: bool) -> Tensor:
    """Class numbers ``[B, ...]``, from one-hot ones, too."""
    if y.shape == output.shape and (y.is_floating_point() or output.dim() > 1):
        return y.argmax(-1 if last else 1)
    shape = output.shape[:-1] if last else (output.shape[0], *output.shape[2:])
    return y.reshape(shape).long()


def _name(y: Tensor) -> str:
    return str(y.dtype).removeprefix("torch.")
