"""Train a compressed network on the outputs of the original: distillation, with labels if there are any.

The loss is τ² KL(original ‖ student) of predictions at softmax temperature τ (Hinton, Vinyals and Dean 2015), with the
student's own BatchNorm statistics of each batch. Rounded weights are trained through the rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from szilard.compression.mirrored_images import are_images
from szilard.compression.outputs import call
from szilard.compression.policies import integers
from szilard.compression.policies.divergence import likelihood_of, outputs_of
from szilard.data.augment import crop_flip
from szilard.errors import SzilardError
from szilard.likelihood import Bernoulli, Categorical, Likelihood
from szilard.networks import copied
from szilard.networks.evaluating import evaluating

Augment = Callable[[Tensor, torch.Generator], Tensor]

SMALL_IMAGES = 64  # pixels; images up to this size are shifted, as those of CIFAR are in the literature
RANGES = 512  # inputs from which the ranges of activations are measured again
SEEN = 256  # outputs of the original from which their meaning is seen
CLIP = 5.0  # norm of the gradient, for the first steps behind a hard cut


def train(
    student: nn.Module,
    teacher: nn.Module,
    inputs: Tensor,
    *,
    labels: Tensor | None = None,
    epochs: float = 1.0,
    steps: int | None = None,
    batch_size: int = 128,
    lr: float = 0.02,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    warm_up: float = 0.05,
    temperature: float = 3.0,
    label_share: float = 0.5,
    likelihood: Likelihood | None = None,
    augment: Augment | None = None,
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> list[float]:
    """Train a student in place by SGD with Nesterov's momentum; the rate rises linearly and falls as a cosine.

    Args:
        student: as :func:`szilard.compression.policies.applied.apply` makes it; in eval mode afterwards. The ranges of
            its integers are measured again after every epoch and at the end.
        teacher: the original network; it is not changed, and runs in eval mode.
        inputs: ``[N, ...]``; no labels are needed.
        labels: targets of the likelihood for all inputs, ``[N]`` or ``[N, ...]``, or None.
        epochs: passes over the inputs, if ``steps`` is None.
        steps: of the optimiser.
        batch_size, lr, momentum, weight_decay: of the optimiser; only matrices and kernels decay.
        warm_up: share of the steps in which the rate rises.
        temperature: τ, which divides logits; outputs of other kinds are compared as they are.
        label_share: share of the labels' loss in the loss, if there are labels.
        likelihood: of the outputs; None: seen from the teacher's.
        augment: changes a batch ``[B, ...]`` with a generator; None: :func:`default_augment`; :func:`unchanged` for
            none.
        seed: of order and augmentation.
        progress: called with the number of steps done and of all.

    Returns:
        mean loss of each epoch, nats per example.

    Raises:
        SzilardError: no inputs, labels that do not fit, or a loss that is not finite.
    """
    if len(inputs) < 2:
        raise SzilardError(
            f"training needs at least two inputs, and there are {len(inputs)}; give more inputs"
        )
    if labels is not None and len(labels) != len(inputs):
        raise SzilardError(f"there are {len(labels)} labels for {len(inputs)} inputs; give one for each")
    change = augment or default_augment(inputs)
    generator = torch.Generator().manual_seed(seed)
    known = likelihood or likelihood_of(_answers(teacher, inputs[:SEEN]))
    fixed = _answers(teacher, inputs) if change is unchanged else None
    total = max(1, round(epochs * math.ceil(len(inputs) / batch_size))) if steps is None else steps
    optimizer = torch.optim.SGD(_groups(student, weight_decay), lr, momentum, nesterov=momentum > 0)
    losses: list[list[float]] = []
    order: list[Tensor] = []
    with _innermost(student, teacher, inputs) as (teaching, layout):
        _to_learn(student)
        for step in range(total):
            if not order:
                order = _batches(len(inputs), batch_size, generator)
                losses.append([])
                if step:
                    integers.recalibrate(student, inputs[:RANGES])
            rows = order.pop(0)
            x = change(inputs[rows], generator).contiguous(memory_format=layout)
            wanted = _answers(teaching, x) if fixed is None else fixed[rows]
            for group in optimizer.param_groups:
                group["lr"] = lr * share_of_rate(step, total, warm_up)
            with torch.enable_grad():
                output = call(student, x)
                loss = distance(known, wanted, output, temperature)
                if labels is not None:
                    loss = loss.lerp(known.loss(output, labels[rows]).mean().to(loss), label_share)
            losses[-1].append(_step(student, optimizer, loss, step))
            if progress is not None:
                progress(step + 1, total)
    integers.recalibrate(student, inputs[:RANGES])
    return [sum(epoch) / len(epoch) for epoch in losses]


def distance(likelihood: Likelihood, wanted: Tensor, output: Tensor, temperature: float) -> Tensor:
    """τ² KL of predictions at temperature τ, nats per example; outputs without logits are compared as they are."""
    if isinstance(likelihood, Categorical | Bernoulli) and not likelihood.probabilities:
        return temperature**2 * likelihood.divergence(wanted / temperature, output / temperature)
    return likelihood.divergence(wanted, output)


def default_augment(inputs: Tensor) -> Augment:
    """How inputs are varied: images ``[N, 3, H, W]`` are mirrored, and shifted by up to 4 pixels if they are small."""
    if not are_images(inputs):
        return unchanged
    return crop_flip if max(inputs.shape[2:]) <= SMALL_IMAGES else mirrored


def mirrored(x: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of the images ``[B, C, H, W]``."""
    chosen = torch.randint(2, (len(x), 1, 1, 1), generator=generator).bool().to(x.device)
    return torch.where(chosen, x.flip(3), x)


def unchanged(x: Tensor, generator: torch.Generator) -> Tensor:
    """The inputs as they are."""
    return x


def share_of_rate(step: int, steps: int, warm_up: float) -> float:
    """The learning rate of a step as a share of the largest: linear up, then half a cosine down to nearly 0."""
    first = max(1.0, warm_up * steps)
    if step < first:
        return min(1.0, (step + 1) / first)
    return 0.5 * (1 + math.cos(math.pi * (step - first) / max(1.0, steps - first)))


@contextmanager
def _innermost(
    student: nn.Module, teacher: nn.Module, inputs: Tensor
) -> Iterator[tuple[nn.Module, torch.memory_format]]:
    """Train with the channels of images innermost, which is a quarter faster, if the networks take that.

    Afterwards the student is in eval mode, in the usual layout, and without gradients.

    Yields:
        a copy of the teacher, and the layout of the inputs.
    """
    layout, teaching = torch.contiguous_format, teacher
    if inputs.dim() == 4:
        layout, teaching = torch.channels_last, copied(teacher)
        try:
            for network in (student, teaching):
                network.to(memory_format=layout)  # type: ignore[call-overload]
                _answers(network, inputs[:2].contiguous(memory_format=layout))
        except RuntimeError:  # a forward with .view, which wants the usual layout
            layout, teaching = torch.contiguous_format, teacher
            student.to(memory_format=layout)  # type: ignore[call-overload]
    try:
        yield teaching, layout
    finally:
        student.eval()
        for p in student.parameters():
            p.grad = None
        if layout is not torch.contiguous_format:
            student.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


@torch.no_grad()
def _answers(teacher: nn.Module, x: Tensor) -> Tensor:
    with evaluating(teacher):
        return outputs_of(teacher, x)


def _step(student: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, step: int) -> float:
    value = float(loss.detach())
    if not math.isfinite(value):
        raise SzilardError(
            f"the loss of training step {step + 1} is NaN or infinite; give a smaller learning rate"
        )
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(student.parameters(), CLIP)
    optimizer.step()
    return value


def _batches(count: int, size: int, generator: torch.Generator) -> list[Tensor]:
    """The rows of an epoch in random order; a last batch of one joins the one before, for BatchNorm's sake."""
    parts = list(torch.randperm(count, generator=generator).split(size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def _groups(student: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    for p in student.parameters():
        p.requires_grad_(p.is_floating_point())
    decaying = [p for p in student.parameters() if p.dim() > 1]
    others = [p for p in student.parameters() if p.dim() <= 1]
    groups = [{"params": decaying, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def _to_learn(student: nn.Module) -> None:
    """BatchNorm uses and follows the statistics of batches; dropout stays off."""
    student.eval()
    for module in student.modules():
        if isinstance(module, _BatchNorm):
            module.train()
