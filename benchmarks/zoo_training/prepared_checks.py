"""Checks of a network that a method has prepared."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import szilard
from szilard.bayes import Weight
from zoo.case import ask

EXACT = 1e-5  # relative to the largest answer, in float32
COARSE = {torch.float16: 5e-3, torch.bfloat16: 4e-2}
LARGE = 0.01  # a matrix with a larger share of the entries that stays dense must be named in a warning
ALMOST_NONE = 1e-6  # of the weights' size: σ → 0


class Wrong(Exception):
    """A reported figure or tensor is not correct.

    Attributes:
        figure: figure of the cell, if it is known.
    """

    figure: float | None = None


def near(what: str, reported: float, found: float, most: float = 1e-4) -> None:
    if not (math.isfinite(reported) and abs(reported - found) <= most * max(1.0, abs(found))):
        raise Wrong(f"{what} is reported as {reported:.6g} and is {found:.6g}")


def tensors(network: nn.Module) -> dict[str, Tensor]:
    """The tensors of the state dict that have a shape."""
    return {
        name: t
        for name, t in network.state_dict().items()
        if isinstance(t, Tensor) and not isinstance(t, nn.parameter.UninitializedTensorMixin)
    }


def frozen_copy(network: nn.Module) -> dict[str, Any]:
    return {name: t.clone() for name, t in tensors(network).items()} | {"training": network.training}


def unchanged(network: nn.Module, before: dict[str, Any]) -> None:
    for name, tensor in tensors(network).items():
        if not torch.equal(tensor.nan_to_num(), before[name].nan_to_num()):
            raise Wrong(f"{name} of the user's own network was changed")
    if network.training != before["training"]:
        raise Wrong("the mode of the user's own network was changed")


def frozen_tensors(network: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in network.named_parameters() if not p.requires_grad}


@torch.no_grad()
def same_answers(build: Callable[[], nn.Module], x: Any) -> None:
    """At density 1 and σ → 0 the converted network has the original's outputs, in eval mode and for a sample."""
    original = build().eval()
    converted = szilard.bayesianize(build(), 1.0, initial_std=ALMOST_NONE).eval()
    wanted = ask(original, x)
    for how, answers in (("mean", ask(converted, x)), ("draw", _drawn(converted, x))):
        if answers.shape != wanted.shape:
            raise Wrong(
                f"the {how} at density 1 has shape {list(answers.shape)} and the original {list(wanted.shape)}"
            )
        error = float((answers.double() - wanted.double()).abs().max() / wanted.double().abs().max())
        if not error <= COARSE.get(wanted.dtype, EXACT if how == "mean" else 10 * EXACT):
            raise Wrong(
                f"the {how} at density 1 and σ → 0 differs from the original's outputs by {error:.2g}"
            )


def _drawn(network: nn.Module, x: Any) -> Tensor:
    with szilard.bayes.drawn(network, 0, 0):
        return ask(network, x)


def density(original: nn.Module, network: nn.Module, asked: float, recorded: list[str]) -> float:
    """Achieved divided by requested density of the converted weights.

    Frozen weights must stay frozen, and large matrices that stay dense must be named in a warning.
    """
    inside = {id(p) for m in network.modules() if isinstance(m, Weight) for p in m.parameters()}
    supports = [m.support for m in network.modules() if isinstance(m, Weight)]
    existing = sum(support.nnz for support in supports)
    wanted = sum(asked * torch.Size(support.shape).numel() for support in supports)
    found = existing / max(1, round(wanted))  # rounded to whole entries: 21.6 of 72 are 22
    total = sum(p.numel() for p in network.parameters() if id(p) not in inside) + wanted / asked
    text = " ".join(recorded)
    problem = ""
    for name, parameter in network.named_parameters():
        if id(parameter) in inside or parameter.dim() < 2 or not parameter.requires_grad:
            continue
        layer = name.removeprefix("network.").rpartition(".")[0]
        if parameter.numel() > LARGE * total and (layer or name) not in text:
            problem = f"{name} ({parameter.numel()} of {total:.0f} numbers) stays dense without a warning"
            break
    problem = problem or _unfrozen(original, network)
    if problem:
        error = Wrong(problem)
        error.figure = found
        raise error
    return found


def _unfrozen(original: nn.Module, network: nn.Module) -> str:
    """A message about a parameter that was frozen and is trainable now, or ""."""
    for name, parameter in original.named_parameters():
        if parameter.requires_grad:
            continue
        for other, made in network.named_parameters():
            inside = other == name or other.startswith(name + ".")
            if inside and made.requires_grad:
                return f"{name} was frozen, and {other} is trained"
    return ""
