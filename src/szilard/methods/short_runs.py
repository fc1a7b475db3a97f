"""Warnings about runs that are shorter or longer than the schedule of their supports."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

from torch import nn

from szilard.bayes.network_weights import every_weight
from szilard.errors import SzilardWarning
from szilard.topology.budget import CubicBudget
from szilard.topology.moves import Moves
from szilard.topology.schedule import Schedule

CHANGES = 10  # of a falling density, below which too many weights go at once


def warn(method: Any, network: nn.Module, total: int) -> None:
    """Warn if no support will move in ``total`` steps, or if the density falls in a few large jumps."""
    if all(held.weight.support.is_full for held in every_weight(network)) and not method.resizes:
        return
    text = _few_changes(getattr(method, "budget", None), total) or _no_move(
        getattr(method, "moves", None), total
    )
    if text:
        warnings.warn(f"{method.label} {text}", SzilardWarning, stacklevel=4)


def warn_of_end(method: Any) -> None:
    """Warn when training goes on after the last step of the schedules, if entries or learning rates follow them."""
    if not (method.resizes or _moves(method) or method.annealed):
        return
    after = "learning rates stay at zero" if method.annealed else "entries stay what they are"
    warnings.warn(
        f"{method.label} trains for more than total_steps={method.total_steps}, where its schedules end, so that "
        f"{after}; make it with total_steps= of the whole training",
        SzilardWarning,
        stacklevel=3,
    )


def _moves(method: Any) -> bool:
    schedule = getattr(getattr(method, "moves", None), "schedule", None)
    return bool(method.converts and getattr(schedule, "fraction", 0))


def warn_of_no_step(method: Any, losses: int) -> None:
    """Warn after training if no step was counted."""
    still = " and no entry has moved" if method.resizes or _moves(method) else ""
    warnings.warn(
        f"{method.label} has computed {losses} losses and no step of training was counted, so that its schedules have "
        f"not begun{still}; call after_step(network, optimizer) after every step",
        SzilardWarning,
        stacklevel=3,
    )


def _no_move(moves: Any, total: int) -> str:
    schedule = moves.schedule if isinstance(moves, Moves) else None
    if not isinstance(schedule, Schedule) or not schedule.fraction:
        return ""
    first, last = schedule.every, schedule.end * total
    if first < last:
        return ""
    return (
        f"moves entries every {first:,} steps and until step {math.floor(last):,} of {total:,}, so that none moves in "
        f"this run; set every to at most {_tenth(last)}, or train longer"
    )


def _few_changes(budget: Any, total: int) -> str:
    if not isinstance(budget, CubicBudget) or budget.initial == budget.final:
        return ""
    found = sum(budget.changes(step, total) for step in range(1, total + 1))
    if found >= CHANGES:
        return ""
    length = (budget.end - budget.begin) * total
    changes = f"{found} change{'' if found == 1 else 's'}"
    return (
        f"removes weights in {changes} only, {budget.every:,} steps apart, because this run has {total:,} steps; set "
        f"every to at most {_tenth(length)}, or train longer"
    )


def _tenth(steps: float) -> int:
    return max(1, math.floor(steps / CHANGES))


def warn_of_density(method: Any, network: nn.Module, wanted: float) -> None:
    """Warn after training if more weights are left than the method should have removed.

    Args:
        wanted: fraction of all weights, without a first layer that stays dense.
    """
    held = [one.weight for one in every_weight(network) if not one.weight.stem]
    entries, size = _entries([w.support for w in held])
    if not size or entries <= max(1.02 * wanted * size, wanted * size + len(held)):
        return
    total, step = method.total_steps or 0, method.step
    frozen = sum(not weight.mean.requires_grad for weight in held)
    if step < total:
        why = f"it has stopped after {step:,} of {total:,} steps; train to the end, or make it with total_steps={step}"
    elif frozen:
        why = f"{frozen} of its {len(held)} weights are frozen and keep their entries; freeze none, or only= others"
    else:
        why = "its schedule has not removed more; call after_step(network, optimizer) after every step"
    warnings.warn(
        f"{method.label} has {100 * entries / size:.3g} % of its weights, not {100 * wanted:.3g} %: {why}",
        SzilardWarning,
        stacklevel=3,
    )


def _entries(supports: Sequence[Any]) -> tuple[int, int]:
    return sum(s.nnz for s in supports), sum(s.rows * s.cols for s in supports)
