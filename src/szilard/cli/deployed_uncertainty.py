"""Epistemic uncertainty of one pass in ``szilard deploy``: compared with draws, and matched to them if wanted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from szilard.bayes.noise import mix
from szilard.cli.deployed_source import Source
from szilard.cli.deployment import Options
from szilard.deploy import Compiled, DrawsComparison, compare_with_draws
from szilard.deploy.arguments import is_bayesian, mode_for
from szilard.deploy.compiling import NOT_COMPARED
from szilard.errors import SzilardError
from szilard.methods.one_pass import RatioToDraws

_MOST = 64  # inputs of a comparison
_FEWEST_DRAWS, _MOST_DRAWS = 50, 1000
_WORK = 1_000_000_000  # weights times inputs times draws, about; more draws have a smaller error


def matched(source: Source, options: Options, match: bool) -> tuple[Source, DrawsComparison | None]:
    """The source, with a factor of its variance if wanted, and its comparison with draws.

    The comparison is on inputs of the validation split, of an ensemble that of its first network; a factor is fitted to
    others of them and to other draws, for each network of an ensemble. A difference from draws within two standard
    errors is left alone: a factor would be that of the draws' noise. There is no comparison without data, and none for
    modes without variances.

    Args:
        source: what is compiled.
        options: as typed.
        match: multiply the variance so that one pass has the mean epistemic uncertainty of draws.

    Raises:
        SzilardError: matching was asked for, and the mode has no variances or there are too few inputs.
    """
    mode = mode_for(source.networks, options.chosen_mode, options.samples)
    if mode not in ("moments", "ensemble") or not any(map(is_bayesian, source.networks)):
        if match:
            what = f"the mode is {mode}"
            if mode == "ensemble":
                what = "no network of the ensemble has uncertainty of its weights"
            raise SzilardError(f"--match-draws is for mode moments, and {what}; leave it out")
        return source, None
    x = source.validation
    if x is None or len(x) < 2:
        if match:
            raise SzilardError("--match-draws needs inputs of a validation split; add --data")
        return source, None
    half = min(_MOST, len(x) // 2)
    found = _compared(source, options, x[:half], options.seed)
    if not match or RatioToDraws(found.ratio, found.ratio_error).is_noise:
        return source, found
    source = replace(source, variance_factor=found.factor)
    return source, _compared(source, options, x[half : 2 * half], mix(options.seed, 1))


def _compared(source: Source, options: Options, x: Tensor, seed: int) -> DrawsComparison:
    weights = sum(parameter.numel() for network in source.networks for parameter in network.parameters())
    draws = min(max(_WORK // (weights * len(x)), _FEWEST_DRAWS), _MOST_DRAWS)
    return compare_with_draws(
        source.networks, x, task=source.task, calibration=source.calibration, inputs=source.inputs,
        variance_factor=source.variance_factor, draws=draws, seed=seed,
    )  # fmt: skip


def figures(source: Source, found: DrawsComparison | None, match: bool) -> dict[str, Any]:
    """The comparison as ``szilard deploy --json`` prints it; empty if there is none.

    Args:
        match: as typed.
    """
    if found is None:
        return {}
    factor = source.variance_factor
    if len(source.networks) > 1:
        factors = list(factor) if isinstance(factor, tuple) else [factor] * len(source.networks)
        of_outputs: dict[str, Any] = {"variance_factors": factors}
    else:
        of_outputs = {"variance_factor": factor}
    return {
        "epistemic_ratio": found.ratio,
        "epistemic_ratio_error": found.ratio_error,
        "epistemic_ratio_unmatched": found.unmatched / found.draws,
        "epistemic_draws": found.count,
        "epistemic_inputs": found.inputs,
        "match_draws": match,
        **of_outputs,
    }


def without_notice(compiled: Compiled) -> Compiled:
    """Without the decision that says that nothing was compared with draws, for networks that were."""
    kept = tuple(line for line in compiled.decisions if line != NOT_COMPARED)
    return replace(compiled, decisions=kept)


def rows(figures: dict[str, Any]) -> list[tuple[str, str]]:
    """Rows of the table."""
    if "epistemic_ratio" not in figures:
        return []
    on = f"{figures['epistemic_inputs']} inputs of the validation split"
    of_each = " of each network" if figures["mode"] == "ensemble" else ""
    ratio = f"{figures['epistemic_ratio']:.2f} ±{figures['epistemic_ratio_error']:.2f}"
    text = f"{ratio} of that of {figures['epistemic_draws']} draws{of_each}, on {on}"
    found = [("epistemic uncertainty", text)]
    if _matched(figures):
        shown = ", ".join(f"{factor:.3g}" for factor in _factors(figures))
        found.append(("", f"{figures['epistemic_ratio_unmatched']:.2f} before it was matched to draws"))
        found.append(("", f"(variance of the outputs x {shown}, from other inputs and draws)"))
    elif figures["match_draws"]:
        found.append(("", "(variance not multiplied: the difference is within the error of the draws)"))
    return found


def _factors(figures: dict[str, Any]) -> list[float]:
    found: list[float] = figures.get("variance_factors") or [figures["variance_factor"]]
    return found


def _matched(figures: dict[str, Any]) -> bool:
    return any(factor != 1 for factor in _factors(figures))


def notes(figures: dict[str, Any]) -> list[list[str]]:
    """A warning below the table where one pass is far from draws, or that it was not compared with them."""
    if NOT_COMPARED in figures["decisions"]:
        return [["Epistemic uncertainty was not compared with that of draws, which needs data: add --data."]]
    if "epistemic_ratio" not in figures:
        return []
    found = RatioToDraws(figures["epistemic_ratio"], figures["epistemic_ratio_error"])
    if not found.is_far:
        return []
    if figures["mode"] == "ensemble":
        draws = "deploy each network with --samples 32 and average their answers"
    else:
        draws = "use --samples 32"
    hint = draws if _matched(figures) else f"use --match-draws, which corrects its mean, or {draws}"
    what = "this ensemble" if figures["mode"] == "ensemble" else "this network"
    way = "little" if found.ratio < 1 else "much"
    return [[f"Warning: one pass has too {way} epistemic uncertainty for {what}: {hint}."]]
