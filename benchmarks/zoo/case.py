"""One network of the zoo: how it is built and trained, its inputs, and the meaning of its outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TRAIN, COMPRESS, JUDGE = (
    1024,
    512,
    512,
)  # numbers of examples: for training, for compression, for its choice of the file
BATCH, STEPS, RATE = 128, 150, 1e-2
KINDS = ("class", "multilabel", "regression", "noisy", "embedding")


@dataclass(frozen=True, eq=False)
class Data:
    """Examples: inputs (a tensor, a tuple or a dict of tensors) and labels, with the same first dimension.

    Attributes:
        kind: type of the labels, one of KINDS.
        given: whether ``compress`` gets the labels; those of embeddings are used for training only.
    """

    x: Any
    y: Tensor
    kind: str
    given: bool = True


@dataclass(frozen=True, eq=False)
class Case:
    """A network and its data.

    Attributes:
        build: makes an untrained network, with the same weights each time.
        finish: applied after training (half precision, TorchScript, damage).
        plain: turns computed weights into ordinary ones with torch's functions, so that a file can be loaded.
        train: steps of Adam; 0 leaves the initial weights.
        refusal: whether the only right result is a refusal.
    """

    name: str
    build: Callable[[], nn.Module]
    data: Callable[[], Data]
    finish: Callable[[nn.Module], nn.Module] = lambda network: network
    plain: Callable[[nn.Module], nn.Module] = lambda network: network
    train: int = STEPS
    refusal: bool = False

    def fresh(self) -> nn.Module:
        """The same architecture with different weights, to load a file into."""
        with torch.random.fork_rng():
            torch.manual_seed(99)
            return self.plain(self.finish(self.build().eval()).eval()).eval()

    def trained(self, data: Data) -> nn.Module:
        """A trained network in eval mode."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = self.build()
            learn(network, data, self.train)
            return self.finish(network.eval()).eval()


def learn(network: nn.Module, data: Data, steps: int) -> None:
    """Train for ``steps`` steps on the first examples."""
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
    """The relevant output: the tensor itself, logits by name, or the first of several outputs."""
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
    """Examples ``start`` to ``stop``."""
    if isinstance(x, Mapping):
        return {name: t[which] for name, t in x.items()}
    return tuple(t[which] for t in x) if isinstance(x, tuple) else x[which]


def part(data: Data, start: int, stop: int) -> Data:
    return dataclasses.replace(data, x=rows(data.x, slice(start, stop)), y=data.y[start:stop])


def calibrating(data: Data) -> Data:
    """The examples for ``compress``: :data:`COMPRESS` and :data:`JUDGE` more; none was used for training."""
    return part(data, TRAIN, TRAIN + COMPRESS + JUDGE)


def judging(data: Data) -> Data:
    """The last :data:`JUDGE` of them, on which ``compress`` measures scores."""
    return part(data, TRAIN + COMPRESS, TRAIN + COMPRESS + JUDGE)


def batches(data: Data) -> Iterator[Any]:
    """Batches as a data loader yields them: x, (x, y), ((a, b), y), or a dict with labels."""
    for start in range(0, len(data.y), 64):
        few = part(data, start, start + 64)
        if not data.given:
            yield few.x
        elif isinstance(few.x, Mapping):
            yield {**few.x, "labels": few.y}
        else:
            yield few.x, few.y


# -- scores, computed independently of the library ------------------------------------------------------


def score(data: Data, output: Tensor, original: Tensor) -> float:
    """Score of outputs on ``data``; compared with the original's outputs if there are no labels.

    Accuracy (over all labels or pixels), R² (mean over columns), or the mean cosine.
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
    """Axes along which outputs have the same unit: all except the columns of ``[B, k]``, or an axis of channels.

    The channel axis is the second or the last one, whichever has the larger ratio of variances, if that is at least 9.
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
