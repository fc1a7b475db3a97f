"""Compares predictions of a Bayesian network in one pass with those of its mean weights and of draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from szilard import bayes, deploy, metrics
from szilard.bayes.moments.value import Moments
from szilard.data import DataSet, Split
from szilard.errors import SzilardError
from szilard.methods import Method, draws, one_pass
from szilard.metrics import Predictive

DRAWS = (1, 3, 10, 30, 100)  # numbers of draws that are compared
INPUTS = 300  # of the test set, and as many out-of-distribution ones
_MOST_NUMBERS = 1 << 26  # outputs of all draws that are held at once, 256 MB
_PAIRS = 500  # deviations that are kept for a plot
_BATCH = 256

PYTORCH = "PyTorch"
Run = Callable[[], object]
Way = tuple[str, int]  # "point", "moments" or "draws", and the number of draws or 0


@torch.no_grad()
def compare(method: Method, network: nn.Module, data: DataSet, *, seed: int = 0) -> dict[str, Any]:
    """Quality of each way to predict, and deviations of outputs in one pass and over draws.

    Args:
        method: that trained the network.
        network: with uncertainty of its weights; it is not changed.
        data: its test set is used, and out-of-distribution inputs if there are any.
        seed: of the draws.

    Returns:
        the fields ``inputs``, ``of_inputs``, ``ood``, ``predictions``, ``epistemic_ratio``, ``epistemic_ratio_error``
        and ``deviations`` of :func:`szilard.run.one_pass.check`.

    Raises:
        SzilardError: an operation without a rule for one pass, or outputs that are not finite.
    """
    test, outside = data.test, data.judged_ood
    count = _affordable(network, test.x)
    chosen = _spread(len(test.x), count)
    test = Split(test.x[chosen], test.y[chosen])
    found, stacked = _predictions(method, network, test.x, seed)
    elsewhere: dict[Way, Predictive] = {}
    if outside is not None:
        elsewhere, _ = _predictions(method, network, outside.x[_spread(len(outside.x), count)], seed)
    rows = []
    for way, predicted in found.items():
        quality = metrics.evaluate(
            predicted, test.y, ood=elsewhere.get(way), target_scale=data.target_scale,
            ignore_index=data.target_type.ignored,
        )  # fmt: skip
        row = {"kind": way[0], "draws": way[1], "runtime": PYTORCH, "quality": quality, "seconds": None}
        rows.append(row)
    ratio = one_pass.ratio_to_draws(found["moments", 0], found["draws", DRAWS[-1]])
    return {
        "inputs": len(test.x),
        "of_inputs": len(data.test.x),
        "ood": None if outside is None else data.judged_ood_name,
        "predictions": rows,
        "epistemic_ratio": None if ratio is None else ratio.ratio,
        "epistemic_ratio_error": None if ratio is None else ratio.error,
        "deviations": _deviations(one_pass.moments(network, test.x, _BATCH), stacked),
    }


def ways(method: Method, network: nn.Module, x: Tensor, threads: int) -> list[tuple[Way, str, Run]]:
    """Each way, the runtime that computes it, and a function that predicts ``x [B, ...]`` with uncertainty.

    The mean weights and one pass are also compiled (:func:`szilard.deploy.compile`), if a backend faster than PyTorch
    takes the network.

    Args:
        threads: of compiled networks.
    """
    point = _plain(network)
    found: list[tuple[Way, str, Run]] = [
        (("point", 0), PYTORCH, lambda: _of_mean(method, point, x).epistemic()),
        (("moments", 0), PYTORCH, lambda: method.predict_one_pass(network, x).epistemic()),
    ]
    for number in DRAWS:
        way = "draws", number
        found.append((way, PYTORCH, lambda n=number: method.predict(network, x, samples=n).epistemic()))  # type: ignore[misc]
    task = method.task if method.target_type.has_classes else method.likelihood
    for kind in ("point", "moments"):
        try:
            compiled = deploy.compile(
                network,
                x,
                mode=kind,
                task=task,
                calibration=method.calibration,
                batch=len(x),
                threads=threads,
            )
        except SzilardError:
            continue  # an operation that no backend knows
        if compiled.backend != "eager":
            found.append(((kind, 0), compiled.backend, lambda run=compiled: run(x)))  # type: ignore[misc]
    return found


def _predictions(
    method: Method, network: nn.Module, x: Tensor, seed: int
) -> tuple[dict[Way, Predictive], Tensor]:
    """The predictions of each way, and the outputs ``[S, N, ...]`` of all draws."""
    stacked = draws.outputs(network, x, DRAWS[-1], seed, _BATCH, method.stand_ins)
    found = {
        ("point", 0): _of_mean(method, _plain(network), x),
        ("moments", 0): method.predict_one_pass(network, x, _BATCH),
    }
    # Draw s depends on the seed and s alone, so that the first n are those of predict(samples=n).
    return found | {("draws", number): method.of_outputs(stacked[:number]) for number in DRAWS}, stacked


def _plain(network: nn.Module) -> nn.Module:
    """The network with its mean weights in layers of torch; itself if it has layers that torch does not have."""
    try:
        return bayes.point_network(network).eval()
    except SzilardError:  # stochastic attention
        return network


@torch.no_grad()
def _of_mean(method: Method, network: nn.Module, x: Tensor) -> Predictive:
    """Predictions with the mean weights."""
    device = next(network.parameters()).device
    with bayes.evaluating(network):
        parts = [network(part.to(device)).cpu() for part in x.split(_BATCH)]
    return method.of_outputs(torch.cat(parts).unsqueeze(0))


def _deviations(found: Moments, stacked: Tensor) -> dict[str, Any]:
    """Standard deviations of some outputs, in one pass and over draws ``[S, N, ...]``."""
    pairs = torch.stack([found.variance.flatten().double().sqrt(), stacked.double().std(0).flatten()])
    kept = pairs[:, (pairs > 0).all(0) & pairs.isfinite().all(0)]
    shown = kept[:, _spread(kept.shape[1], _PAIRS)]
    return {
        "outputs": kept.shape[1],
        "draws": len(stacked),
        "moments": [float(f"{value:.4g}") for value in shown[0].tolist()],
        "sampled": [float(f"{value:.4g}") for value in shown[1].tolist()],
    }


def _affordable(network: nn.Module, x: Tensor) -> int:
    """Number of inputs whose outputs of all draws fit into memory."""
    device = next(network.parameters()).device
    with bayes.evaluating(network):
        numbers = network(x[:1].to(device)).numel()
    return max(1, min(INPUTS, _MOST_NUMBERS // (DRAWS[-1] * numbers)))


def _spread(total: int, most: int) -> Tensor:
    """At most ``most`` of ``total`` indices, evenly spread: a split can be sorted by class."""
    return torch.linspace(0, max(0, total - 1), min(total, most)).long()
