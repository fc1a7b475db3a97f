"""One network of the zoo: how it is built and trained, what it takes, and what its answers mean."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TRAIN, COMPRESS, JUDGE = 1024, 512, 512  # examples: to learn from, to compress with, to judge by
BATCH, STEPS, RATE = 128, 150, 1e-2
KINDS = ("class", "multilabel", "regression", "noisy", "embedding")


@dataclass(frozen=True, eq=False)
class Data:
    """Examples: inputs (a tensor, a tuple or a dict of tensors) and labels, with the same first dimension.

    Attributes:
        kind: what the labels are, one of KINDS.
        given: whether labels go to ``compress``; those of embeddings are for training only.
    """

    x: Any
    y: Tensor
    kind: str
    given: bool = True


@dataclass(frozen=True, eq=False)
class Case:
    """A network and its data.

    Attributes:
        build: an untrained network; the same each time.
        finish: what is done after training (half precision, TorchScript, damage).
        plain: turns computed weights into ordinary ones by torch's own means, to load a file into.
        train: steps of Adam; 0 leaves the initial weights.
        refusal: whether nothing else than a refusal is right.
    """

    name: str
    build: Callable[[], nn.Module]
    data: Callable[[], Data]
    finish: Callable[[nn.Module], nn.Module] = lambda network: network
    plain: Callable[[nn.Module], nn.Module] = lambda network: network
    train: int = STEPS
    refusal: bool = False

    def fresh(self) -> nn.Module:
        """The same architecture with other weights, ready to take those of a file."""
        with torch.random.fork_rng():
            torch.manual_seed(99)
            return self.plain(self.finish(self.build().eval()).eval()).eval()

    def trained(self, data: Data) -> nn.Module:
        """In eval mode."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = self.build()
            learn(network, data, self.train)
            return self.finish(network.eval()).eval()


def learn(network: nn.Module, data: Data, steps: int) -> None:
    """A short training on the first examples."""
    if not steps:
        return
    optimiser = torch.optim.Adam(network.parameters(), RATE)
    generator = torch.Generator().manual_seed(0)
    network.train()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1 - step / steps)
        picked = torch.randint(TRAIN, (BATCH,), generator=generator)
        loss = objective(data.kind, ask(network, rows(data.x, picked)), data.y[picked])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def objective(  # noqa: PLR0911 - one for each kind
    kind: str, output: Tensor, y: Tensor
) -> Tensor:
    """Mean loss of a batch."""
    if kind == "class":
        if bool(((output >= 0) & (output <= 1)).all()) and bool((output.sum(1) - 1).abs().max() < 1e-3):
            return F.nll_loss(output.clamp_min(1e-6).log(), y)
        wanted = y.argmax(1) if y.is_floating_point() else y
        if wanted.shape == output.shape[:-1] and output.dim() > 2:
            return F.cross_entropy(output.movedim(-1, 1), wanted)
        return F.cross_entropy(output, wanted)
    if kind == "multilabel":
        return F.binary_cross_entropy_with_logits(output, y.reshape(output.shape))
    if kind == "embedding":
        return (1 - F.cosine_similarity(output, y, dim=-1)).mean()
    if kind == "noisy":
        return (output[:, 1] + 0.5 * ((y - output[:, 0]) / output[:, 1].exp()).square()).mean()
    scale = y.std() or 1.0
    return ((output - y.reshape(output.shape)) / scale).square().mean()


def ask(network: nn.Module, x: Any) -> Tensor:
    """What counts in the answer: the tensor itself, logits by name, or the first of several."""
    if isinstance(x, Mapping):
        return first(network(**x))
    return first(network(*x) if isinstance(x, tuple) else network(x))


def first(output: Any) -> Tensor:
    if isinstance(output, Tensor):
        return output
    if dataclasses.is_dataclass(output):
        output = vars(output)
    if isinstance(output, Mapping):
        return first(output.get("logits", next(iter(output.values()))))
    return first(output[0])


def rows(x: Any, which: Any) -> Any:
    """Some of the examples."""
    if isinstance(x, Mapping):
        return {name: t[which] for name, t in x.items()}
    return tuple(t[which] for t in x) if isinstance(x, tuple) else x[which]


def part(data: Data, start: int, stop: int) -> Data:
    return dataclasses.replace(data, x=rows(data.x, slice(start, stop)), y=data.y[start:stop])


def calibrating(data: Data) -> Data:
    """What ``compress`` is given: :data:`COMPRESS` examples and :data:`JUDGE` more; none was trained on."""
    return part(data, TRAIN, TRAIN + COMPRESS + JUDGE)


def judging(data: Data) -> Data:
    """The last :data:`JUDGE` of them, by which it judges."""
    return part(data, TRAIN + COMPRESS, TRAIN + COMPRESS + JUDGE)


def batches(data: Data) -> Iterator[Any]:
    """As a loader gives them: x, (x, y), ((a, b), y), or a dict with labels in it."""
    for start in range(0, len(data.y), 64):
        few = part(data, start, start + 64)
        if not data.given:
            yield few.x
        elif isinstance(few.x, Mapping):
            yield {**few.x, "labels": few.y}
        else:
            yield few.x, few.y


# -- scores, by formulas of our own ---------------------------------------------------------------------


def score(data: Data, output: Tensor, original: Tensor) -> float:
    """Of outputs on ``data``; against the original's outputs where no labels are given.

    Accuracy (for several labels or pixels, of each), R² (of each column, averaged), or the mean cosine.
    """
    a, b, y = output.double(), original.double(), data.y
    if data.kind == "embedding":
        return float(((a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1))).mean())
    if data.kind == "multilabel":
        return float(((a > 0) == (y.reshape(a.shape) > 0.5)).double().mean())
    if data.kind == "class":
        wanted = y.argmax(1) if y.is_floating_point() else y
        axis = -1 if wanted.shape == a.shape[:-1] else 1
        return float((a.argmax(axis) == wanted).double().mean())
    if data.kind == "noisy":
        a, b = a[:, 0], b[:, 0]
    wanted = y.reshape(a.shape).double() if data.given else b
    axes = alike(wanted)
    variance = (wanted - wanted.mean(0)).square().mean(axes)
    return float((1 - (a - wanted).square().mean(axes) / variance).mean())


def alike(wanted: Tensor) -> tuple[int, ...]:
    """Axes whose places have one unit: all but the columns of ``[B, k]``, or but an axis of unlike channels.

    Channels are the second axis or the last one, whichever has the larger ratio of variances, if that is at least 9.
    """
    if wanted.dim() < 3:
        return (0,)
    every = set(range(wanted.dim()))
    squares = (wanted - wanted.mean(0)).square()
    found = {}
    for axis in (1, wanted.dim() - 1):
        by_channel = squares.mean(tuple(every - {axis}))
        by_channel = by_channel[by_channel > 0]
        found[axis] = float(by_channel.max() / by_channel.min()) if len(by_channel) > 1 else 1.0
    best = max(found, key=lambda axis: found[axis])
    return tuple(every - {best}) if found[best] >= 9 else tuple(every)
