"""Contribution of each part of the compression: bytes at equal loss, with one part left out at a time.

The loss is KL(original ‖ compressed) in nats on held-out images. Each variant is run at several λ; its bytes are
interpolated on a line through (log loss, log bytes), at the geometric mean of the losses of the full method.
Distillation is not part of the full method here, because it is trained on the loss and would hide the effect of the
other parts; it has its own row.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import szilard
from files.pretrained import Case
from szilard.compression import (
    CanonicalBatchNorm,
    Correct,
    Curvature,
    Distil,
    Draft,
    Pass,
    Quantise,
    QuantiseVectors,
    Setting,
    curvatures,
    sequential_rounding,
)
from szilard.compression.curvature import Layer

WHOLE = "full method, without distillation"
COLUMNS = ["", "bytes at equal loss", "change %", "bytes along λ", "KL along λ, millinats"]
OCTAVES = (-1.0, 0.0, 1.0)
BATCH = 64


class Loss:
    """KL(original ‖ network) in nats per image, on its own images; the negative KL is a score."""

    def __init__(self, original: nn.Module, x: Tensor) -> None:
        self.batches = x.split(500)
        with torch.inference_mode():
            self.wanted = [original(batch).log_softmax(1) for batch in self.batches]

    def __call__(self, network: nn.Module) -> float:
        with torch.inference_mode():
            total = sum(
                F.kl_div(network(x).log_softmax(1), wanted, log_target=True, reduction="sum").item()
                for x, wanted in zip(self.batches, self.wanted, strict=True)
            )
        return total / sum(len(x) for x in self.batches)


class Priced(Quantise):
    """Quantisation with a different weight of the rate term; steps, curvature and error feedback are unchanged."""

    def __init__(self, known: dict[str, Curvature], lasting: float) -> None:
        super().__init__(curvature=known)
        self.lasting = lasting

    def __call__(self, draft: Draft, setting: Setting) -> None:
        assert self.curvature is not None
        for name, known in self.curvature.items():
            tensor = draft.tensor(name).detach()
            matrix = tensor.reshape(len(tensor), -1)
            draft.set(
                name,
                sequential_rounding.quantise(
                    matrix, known.inputs, known.outputs, setting.lam, lasting=self.lasting
                ),
            )


def canonical(case: Case) -> Draft:
    """The network after the pass ``CanonicalBatchNorm``."""
    draft = Draft(copy.deepcopy(case.network))
    CanonicalBatchNorm()(draft, Setting(1.0, [], case.network))
    return draft


def measured(network: nn.Module, x: Tensor, softness: float = 4.0) -> dict[str, Curvature]:
    """Curvature of every layer's weight on images, by the weight's name."""
    found = curvatures(network, x.split(BATCH), lambda net, batch: net(batch), softness=softness)
    modules = dict(network.named_modules())
    return {
        name: one
        for name, one in found.items()
        if name.endswith(".weight") and isinstance(modules[name.removesuffix(".weight")], Layer)
    }


def one_scale(known: Mapping[str, Curvature]) -> dict[str, Curvature]:
    """The curvature with the same sensitivity for all rows of a layer, their mean."""
    return {
        name: Curvature(c.inputs, c.outputs.mean().expand_as(c.outputs).clone(), c.offset)
        for name, c in known.items()
    }


def no_feedback(known: Mapping[str, Curvature]) -> dict[str, Curvature]:
    """The curvature without coupling between columns, so that no column can compensate the error of another."""
    return {
        name: Curvature(c.inputs.diagonal(dim1=1, dim2=2).clone(), c.outputs, c.offset)
        for name, c in known.items()
    }


def levelled(known: Mapping[str, Curvature], like: Mapping[str, Curvature]) -> dict[str, Curvature]:
    """Curvatures scaled by one factor, so that the mean of their logarithms equals that of ``others``.

    λ is the price of a bit in the curvature's unit; only the relative curvatures are compared.
    """

    def size(curvature: Curvature) -> float:
        return float((curvature.outputs.sum() * curvature.inputs.diagonal(dim1=1, dim2=2).mean()).log())

    factor = float(np.exp(np.mean([size(like[name]) - size(known[name]) for name in known])))
    return {name: Curvature(c.inputs, factor * c.outputs, factor * c.offset) for name, c in known.items()}


def incoherent(network: nn.Module, x: Tensor, known: Mapping[str, Curvature]) -> dict[str, Curvature]:
    """The curvature with A = E[x xᵀ]: gradients at different positions are treated as independent."""
    sums: dict[str, Any] = dict.fromkeys(known, 0.0)

    def hook(name: str) -> Callable[..., None]:
        def after(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
            patches = given[0].flatten(1)[:, :, None]
            if isinstance(module, nn.Conv2d):
                patches = F.unfold(
                    given[0],
                    module.kernel_size,
                    module.dilation,
                    module.padding,
                    module.stride,  # type: ignore[arg-type]
                )
            sums[name] = sums[name] + torch.einsum("bip,bjp->ij", patches, patches).double()

        return after

    modules = dict(network.named_modules())
    handles = [modules[name.removesuffix(".weight")].register_forward_hook(hook(name)) for name in known]
    try:
        with torch.no_grad():
            for batch in x.split(BATCH):
                network(batch)
    finally:
        for handle in handles:
            handle.remove()
    return {name: Curvature((sums[name] / len(x))[None], c.outputs, c.offset) for name, c in known.items()}


def variants(case: Case) -> dict[str, Callable[[], list[Pass]]]:
    """Passes of the full method and of each variant, by the part that is missing.

    For networks without grouped convolutions, like those of this benchmark.
    """
    draft = canonical(case)
    x = case.calibration
    known = measured(draft.network, x)
    plain = measured(case.network, x)
    sharp = measured(draft.network, x, softness=1.0)

    def passes(quantise: Quantise, *more: Pass, norm: bool = True, correct: bool = True) -> list[Pass]:
        first: list[Pass] = [CanonicalBatchNorm()] if norm else []
        return [*first, quantise, *([Correct()] if correct else []), *more, QuantiseVectors(quantise)]

    def with_curvature(curvature: dict[str, Curvature]) -> Callable[[], list[Pass]]:
        return lambda: passes(Quantise(curvature=curvature))

    return {
        WHOLE: with_curvature(known),
        "− row-specific curvature": with_curvature(one_scale(known)),
        "− error feedback": with_curvature(no_feedback(known)),
        "− rate in the rounding": lambda: passes(Priced(known, 1e-9)),
        "full rate in the rounding": lambda: passes(Priced(known, 1.0)),
        "− canonical BatchNorm": lambda: passes(Quantise(curvature=plain), norm=False),
        "− correlation of gradients between positions": with_curvature(
            levelled(incoherent(draft.network, x, known), known)
        ),
        "− temperature 4 in the curvature": with_curvature(levelled(sharp, known)),
        "− correction of means": lambda: passes(Quantise(curvature=known), correct=False),
        "+ distillation": lambda: passes(Quantise(curvature=known), Distil()),
    }


def measure(
    case: Case, loss: Loss, lam: float, quick: bool, progress: Callable[[str], None]
) -> list[dict[str, Any]]:
    """One row for each variant."""
    rows: list[dict[str, Any]] = []
    wanted: float | None = None
    for name, passes in variants(case).items():
        octaves = OCTAVES[::2] if quick else OCTAVES
        points = [point(case, loss, lam * 2.0**octave, passes()) for octave in octaves]
        if wanted is None:
            wanted = math.exp(sum(math.log(one) for _, one in points) / len(points))
        at_loss = bytes_at(points, wanted)
        change = 100 * (at_loss / rows[0]["bytes"] - 1) if rows else 0.0
        rows.append({"name": name, "bytes": at_loss, "change": change, "points": points})
        progress(f"{name}: {at_loss:,.0f} bytes, {change:+.1f} %")
    return rows


def point(case: Case, loss: Loss, lam: float, passes: Sequence[Pass]) -> tuple[int, float]:
    """Bytes and loss at one λ."""
    made = szilard.compress(
        case.network, calibration=case.calibration, lam=lam, evaluate=lambda net: -loss(net), passes=passes
    )
    assert made.score is not None
    return len(made.data), -made.score


def bytes_at(points: Sequence[tuple[int, float]], loss: float) -> float:
    """Bytes at a loss, from a least-squares line through (log loss, log bytes)."""
    sizes, losses = np.log(np.array(points, dtype=float).T)
    slope, offset = np.polyfit(losses, sizes, 1)
    return float(np.exp(slope * np.log(loss) + offset))


def body(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Rows of the table, under COLUMNS."""
    return [
        [
            row["name"],
            f"{row['bytes']:,.0f}",
            f"{row['change']:+.1f}" if i else "",
            " / ".join(f"{n:,}" for n, _ in row["points"]),
            " / ".join(f"{1e3 * loss:.1f}" for _, loss in row["points"]),
        ]
        for i, row in enumerate(rows)
    ]


def layers(network: nn.Module) -> list[str]:
    """Names of the weights that have a curvature."""
    return [f"{name}.weight" for name, module in network.named_modules() if isinstance(module, Layer)]
