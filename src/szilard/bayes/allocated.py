"""Which pattern each weight of a network has, and how many entries."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from szilard.bayes.find_weights import Found
from szilard.cost import layer_macs
from szilard.cost.inputs import Inputs
from szilard.errors import SzilardError
from szilard.sparse import Neuron, Pattern, budgets
from szilard.sparse.allocation import allocate, check_allocation
from szilard.sparse.one_threshold import largest_of_all
from szilard.sparse.pattern import UNSTRUCTURED


@dataclass(frozen=True)
class Allocation:
    """How entries are divided among weights; most fields are arguments of :func:`szilard.bayesianize`.

    Attributes:
        stem: whether the first weight keeps all entries; the density holds for the others.
    """

    density: float
    how: str
    input_shape: Inputs | None
    fresh: bool
    stem: bool


def patterns_of(found: list[Found], pattern: Pattern) -> list[Pattern]:
    """The pattern of each weight. The neuron pattern needs layers that read each other; drawn weights have none."""
    without = [isinstance(pattern, Neuron) and one.how == "drawn" for one in found for _ in one.tensors]
    layers = [n for n, has_none in enumerate(without) if not has_none]
    return [
        UNSTRUCTURED if has_none else pattern.placed(first=n == layers[0], last=n == layers[-1])
        for n, has_none in enumerate(without)
    ]


def entries_of(
    network: nn.Module, found: list[Found], patterns: list[Pattern], asked: Allocation
) -> list[int]:
    """Entries of each weight.

    Args:
        network: that holds the weights.
        found: modules with weights.
        patterns: of the weights.
        asked: how entries are divided.

    Raises:
        SzilardError: a weight cannot have its pattern, or an allocation needs what is not there.
    """
    shapes = [tensor.shape for one in found for tensor in one.tensors]
    names = [one.name for one in found for _ in one.tensors]
    kept = [shape.numel() for shape in shapes]
    rest = list(range(1 if asked.stem else 0, len(shapes)))
    for n in rest:
        if why := patterns[n].unfit(shapes[n]):
            raise SzilardError(
                f"layer {names[n]!r} cannot have the pattern {patterns[n].name}: {why}; leave it dense with "
                f"except_={names[n]!r}, or choose another pattern"
            )
    check_allocation(asked.how)
    if asked.density == 1 or not rest:
        return kept
    if asked.how == "global":
        _check_global(patterns, asked)
        for n, entries in zip(rest, _largest(found, rest, asked.density), strict=True):
            kept[n] = entries
        return kept
    macs = _macs(network, found, asked.input_shape) if asked.how == "flops" else None
    for whole in (True, False):  # the density holds within neuron patterns and within the others
        part = [n for n in rest if isinstance(patterns[n], Neuron) is whole]
        if part:
            chosen = budgets(
                [patterns[n] for n in part],
                [shapes[n] for n in part],
                asked.density,
                asked.how,
                None if macs is None else [macs[n] for n in part],
            )
            for n, entries in zip(part, chosen, strict=True):
                kept[n] = entries
    return kept


def _check_global(patterns: list[Pattern], asked: Allocation) -> None:
    if any(pattern != UNSTRUCTURED for pattern in patterns):
        raise SzilardError(
            f"allocation 'global' compares single weights and takes no pattern {patterns[0].name}; leave pattern out"
        )
    if asked.fresh:
        raise SzilardError(
            "allocation 'global' compares magnitudes of trained weights, and fresh ones are drawn at random; give "
            "pretrained weights (pretrained=True), or choose erk"
        )


def _largest(found: list[Found], rest: list[int], density: float) -> list[int]:
    """How many entries of each weight are among the largest magnitudes of all, at least one each."""
    tensors = [tensor for one in found for tensor in one.tensors]
    chosen = [tensors[n].detach() for n in rest]
    if any(tensor.is_meta for tensor in chosen):  # shapes only: a file's supports replace these
        return allocate([tensor.shape for tensor in chosen], density)
    total = round(density * sum(tensor.numel() for tensor in chosen))
    masks = largest_of_all([tensor.abs().flatten() for tensor in chosen], max(total, len(chosen)))
    return [int(mask.sum()) for mask in masks]


def _macs(network: nn.Module, found: list[Found], input_shape: Inputs | None) -> list[int]:
    """Multiply-adds of each weight for one example, were it dense."""
    if input_shape is None:
        raise SzilardError(
            "allocation 'flops' counts multiply-adds, for which the shape of an input must be known; give input_shape= "
            "of one example, or choose erk"
        )
    counted = layer_macs(network, input_shape)
    for one in found:
        if one.how not in ("linear", "convolution") or not counted.get(one.name):
            raise SzilardError(
                "allocation 'flops' counts multiply-adds of linear layers and convolutions that the network calls, not "
                f"of {one.name or 'the network'} ({type(one.module).__name__}); leave it dense with "
                f"except_={one.name!r}, or choose erk"
            )
    return [counted[one.name] for one in found]
