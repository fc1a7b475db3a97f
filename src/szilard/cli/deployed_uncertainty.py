"""Epistemic uncertainty of one pass in ``szilard deploy``: compared with draws, and matched to them if wanted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from szilard.cli.deployed_source import Source
from szilard.cli.deployment import Options
from szilard.deploy import DrawsComparison, compare_with_draws
from szilard.deploy.arguments import mode_for
from szilard.errors import SzilardError
from szilard.methods.one_pass import far_from_draws

_MOST = 64  # inputs of a comparison


def matched(source: Source, options: Options, match: bool) -> tuple[Source, DrawsComparison | None]:
    """The source, with a factor of its variance if wanted, and its comparison with draws.

    The comparison is on inputs of the validation split; a factor is fitted to others of them. There is none for other
    modes than moments, and none without data.

    Args:
        source: what is compiled.
        options: as typed.
        match: multiply the variance so that one pass has the mean epistemic uncertainty of draws.

    Raises:
        SzilardError: matching was asked for, and the mode is another one or there are too few inputs.
    """
    mode = mode_for(source.networks, options.chosen_mode, options.samples)
    if mode != "moments":
        if match:
            raise SzilardError(f"--match-draws is for mode moments, and the mode is {mode}; leave it out")
        return source, None
    x = source.validation
    if x is None or len(x) < 2:
        if match:
            raise SzilardError("--match-draws needs inputs of a validation split; add --data")
        return source, None
    half = min(_MOST, len(x) // 2)
    found = _compared(source, options, x[:half])
    if not match:
        return source, found
    source = replace(source, variance_factor=found.factor)
    return source, _compared(source, options, x[half : 2 * half])


def _compared(source: Source, options: Options, x: Tensor) -> DrawsComparison:
    return compare_with_draws(
        source.networks[0], x, task=source.task, calibration=source.calibration, inputs=source.inputs,
        variance_factor=source.variance_factor, seed=options.seed,
    )  # fmt: skip


def figures(source: Source, found: DrawsComparison | None) -> dict[str, Any]:
    """The comparison as ``szilard deploy --json`` prints it; empty if there is none."""
    if found is None:
        return {}
    return {
        "epistemic_ratio": found.ratio,
        "epistemic_ratio_unmatched": found.unmatched / found.draws,
        "epistemic_draws": found.count,
        "epistemic_inputs": found.inputs,
        "variance_factor": source.variance_factor,
    }


def rows(figures: dict[str, Any]) -> list[tuple[str, str]]:
    """Rows of the table."""
    if "epistemic_ratio" not in figures:
        return []
    on = f"{figures['epistemic_inputs']} inputs of the validation split"
    text = f"{figures['epistemic_ratio']:.2f} of that of {figures['epistemic_draws']} draws, on {on}"
    found = [("epistemic uncertainty", text)]
    if figures["variance_factor"] != 1:
        found.append(("", f"{figures['epistemic_ratio_unmatched']:.2f} before it was matched to draws"))
        found.append(("", f"(variance of the outputs x {figures['variance_factor']:.3g}, from other inputs)"))
    return found


def notes(figures: dict[str, Any]) -> list[list[str]]:
    """A warning below the table where one pass is far from draws."""
    ratio = figures.get("epistemic_ratio", 1.0)
    if not far_from_draws(ratio):
        return []
    hint = (
        "use --samples 32"
        if figures["variance_factor"] != 1
        else "use --match-draws, which corrects its mean, or --samples 32"
    )
    way = "little" if ratio < 1 else "much"
    return [[f"Warning: one pass has too {way} epistemic uncertainty for this network: {hint}."]]
