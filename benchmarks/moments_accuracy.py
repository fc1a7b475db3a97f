"""How accurate means and variances of one pass are: rules against draws, and networks against sampled weights.

    python benchmarks/moments_accuracy.py [--quick] [--data-root DATA] [--results FILE.json]

* ``rules_hold``: linear maps, ReLU, the maximum of two and averages against 10^6 draws, means within 1 % and variances
  within 2 % (the maximum of four of equal deviation: means within 5 %, variances within 12 %), for every seed. The
  maximum of four of unequal deviations is shown without a limit.
* ``conditioning_holds``: in single precision the relative error of a linear map's variance is below 1e-6 for deviations
  from 1e-1 to 1e-4, where the published difference of second moments errs by more than 1e-3 from 1e-3 on.
* ``pool_order_holds``: with max-pooling before ReLU the ratio of variances to those of draws is at least 0.9 up to a
  deviation of 2; in the order of the network it is at most 0.75 at a deviation of 1.
* digits and MNIST: a mean-field MLP, one pass against 300 draws (MNIST: 100). Accuracy, correlation of means and of
  deviations of the logits, their ratio, and the AUROC by which unknown inputs are told apart (digits: two classes that
  were not in the training data; MNIST: Fashion-MNIST), by the mutual information of draws, by that of logits drawn
  from the Gaussian of one pass, and by the mean variance of the logits, which is no measure of it.
* resnet20: the ratio of deviations behind shortcuts, before and after ``fit_factors``.

DATA holds mnist/ and fashion_mnist/; without it MNIST is left out. ``--quick``: one seed, fewer draws and epochs.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common.harness import finish, print_table, progress
from szilard import bayes, data, methods, networks
from szilard.metrics import Predictive
from szilard.metrics.selective import auroc
from uncertainty.moment_rules import conditioning, pools, rules

SEEDS = 3


# -- networks -------------------------------------------------------------------------------------------------


def trained(x: Tensor, y: Tensor, classes: int, epochs: int, seed: int) -> nn.Module:
    method = methods.MeanField(
        len(x), lr=3e-3, temperature=0.3, seed=seed, total_steps=epochs * -(-len(x) // 128)
    )
    network = method.prepare(networks.build("mlp:100,100", tuple(x.shape[1:]), classes, seed=seed))
    optimizer = method.optimizer(network)
    for epoch in range(epochs):
        for rows in torch.randperm(len(x), generator=torch.Generator().manual_seed(seed + epoch)).split(128):
            method.anneal(optimizer)
            method.loss(network, x[rows], y[rows]).backward()
            optimizer.step()
            optimizer.zero_grad()
            method.after_step(network, optimizer)
    return network.eval()


@torch.no_grad()
def outputs(network: nn.Module, x: Tensor, draws: int, seed: int) -> Tensor:
    found = []
    for number in range(draws):
        with bayes.drawn(network, seed, number):
            found.append(network(x))
    return torch.stack(found)


def compared(
    network: nn.Module, x: Tensor, y: Tensor, unknown: Tensor, draws: int, seed: int
) -> dict[str, float]:
    """One pass against draws: accuracies, correlations, ratio of deviations, and AUROCs of unknown inputs."""
    mean, variance = bayes.propagate(network, x)
    sampled = outputs(network, x, draws, seed)
    predicted = Predictive(sampled.softmax(-1))
    generator = torch.Generator().manual_seed(seed)

    def passed(inputs: Tensor) -> Predictive:
        m, v = bayes.propagate(network, inputs)
        noise = torch.randn(300, *m.shape, generator=generator)
        return Predictive((m + v.sqrt() * noise).softmax(-1))

    own = passed(x)
    others = bayes.propagate(network, unknown).variance
    sd, wanted = variance.sqrt(), sampled.std(0)
    return {
        "accuracy_pass": float((own.labels == y).double().mean()),
        "accuracy_draws": float((predicted.labels == y).double().mean()),
        "mean_correlation": correlation(mean, sampled.mean(0)),
        "sd_correlation": correlation(sd, wanted),
        "sd_ratio": float((sd / wanted).log().mean().exp()),
        "auroc_pass": auroc(own.epistemic(), passed(unknown).epistemic()),
        "auroc_draws": auroc(
            predicted.epistemic(), Predictive(outputs(network, unknown, draws, seed).softmax(-1)).epistemic()
        ),
        "auroc_logit_variance": auroc(variance.mean(1), others.mean(1)),
    }


def correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


def digits(seed: int, quick: bool) -> dict[str, float]:
    part = data.load("digits", seed=seed)
    known = part.train.y < 8
    network = trained(part.train.x[known], part.train.y[known], 8, 40 if quick else 150, seed)
    inside = part.test.y < 8
    return compared(
        network, part.test.x[inside], part.test.y[inside], part.test.x[~inside], 100 if quick else 300, seed
    )


def mnist(seed: int, quick: bool, root: Path) -> dict[str, float]:
    part, other = data.load("mnist", root), data.load("fashion-mnist", root)
    count = 3_000 if quick else 12_000
    network = trained(part.train.x[:count], part.train.y[:count], 10, 5 if quick else 20, seed)
    rows = slice(0, 1000 if quick else 5000)
    unknown = (other.test.x[rows] - part.train.x.mean()) / part.train.x.std()
    return compared(network, part.test.x[rows], part.test.y[rows], unknown, 100, seed)


def shortcuts(seed: int, quick: bool) -> dict[str, float]:
    """ResNet-20 with weights of a new network, σ a tenth of their size: ratios of the deviations of the logits."""
    network = networks.build("resnet20", (3, 16, 16), 10, seed=seed)
    network = bayes.bayesianize(network, initial_std=0.1).eval()
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.randn(16, 3, 16, 16, generator=generator) for _ in range(2))
    draws = 50 if quick else 200
    factors = bayes.fit_factors(network, first, draws, seed)
    plain = bayes.check(network, second, draws, seed + 1).output
    fitted = bayes.check(network, second, draws, seed + 1, factors).output
    return {"sd_ratio": plain.sd_ratio, "sd_ratio_fitted": fitted.sd_ratio}


# -- tables and figures ---------------------------------------------------------------------------------------

COLUMNS = [
    "network", "accuracy %, pass", "accuracy %, draws", "corr. of means", "corr. of sd", "sd ratio", "AUROC, pass",
    "AUROC, draws", "AUROC, logit variance",
]  # fmt: skip
RULE_COLUMNS = ["rule", "error of mean %", "error of variance %"]
POOL_COLUMNS = ["sd of units", "pool, ReLU", "ReLU, pool"]
FORM_COLUMNS = ["sd of weights and inputs", "variance form", "second moments"]


def mean_of(runs: list[dict[str, float]], name: str) -> float:
    return statistics.fmean(run[name] for run in runs)


def body(found: dict[str, Any]) -> Iterator[list[str]]:
    for name in ("digits", "mnist"):
        runs = found.get(name)
        if runs:
            cells = [f"{100 * mean_of(runs, f'accuracy_{how}'):.1f}" for how in ("pass", "draws")]
            cells += [f"{mean_of(runs, 'mean_correlation'):.4f}"]
            cells += [f"{mean_of(runs, key):.3f}" for key in (
                "sd_correlation", "sd_ratio", "auroc_pass", "auroc_draws", "auroc_logit_variance",
            )]  # fmt: skip
            yield [name, *cells]


def rule_body(found: dict[str, Any]) -> Iterator[list[str]]:
    for name in found["rules"][0]:
        worst = [max(run[name][i] for run in found["rules"]) for i in (0, 1)]
        yield [name, *(f"{100 * error:.2g}" for error in worst)]


def worst_body(runs: list[dict[str, dict[str, float]]], digits: str, mean: bool) -> Iterator[list[str]]:
    """Means or maxima over seeds, by the key of the rows and the names of the columns."""
    for key, columns in runs[0].items():
        over = [[run[key][name] for run in runs] for name in columns]
        yield [key, *(format(statistics.fmean(one) if mean else max(one), digits) for one in over)]


def figures(found: dict[str, Any]) -> dict[str, Any]:
    limits = {"maximum of 4": (math.inf, math.inf), "maximum of 4, equal sd": (0.05, 0.12)}
    rules_hold = all(
        error < limit
        for run in found["rules"]
        for name, pair in run.items()
        for error, limit in zip(pair, limits.get(name, (0.01, 0.02)), strict=True)
    )
    conditioning_holds = all(
        run[key]["variance form"] < 1e-6 and (float(key) > 1e-3 or run[key]["second moments"] > 1e-3)
        for run in found["conditioning"]
        for key in run
    )
    pool_order_holds = all(
        all(ratios["pool, ReLU"] >= 0.9 for ratios in run.values()) and run["1"]["ReLU, pool"] <= 0.75
        for run in found["pools"]
    )
    shown: dict[str, Any] = {
        "rules_hold": rules_hold, "conditioning_holds": conditioning_holds, "pool_order_holds": pool_order_holds,
    }  # fmt: skip
    for name in ("digits", "mnist", "resnet20"):
        for key in found[name][0] if found.get(name) else ():
            shown[f"{name}_{key}"] = round(mean_of(found[name], key), 4)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data-root", type=Path, help="folder with mnist/ and fashion_mnist/")
    parser.add_argument("--results", type=Path, help="write all numbers to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(1 if options.quick else SEEDS)
    found: dict[str, Any] = {
        "rules": [rules(seed, 100_000 if options.quick else 1_000_000) for seed in seeds]
    }
    progress("rules")
    found["conditioning"] = [conditioning(seed) for seed in seeds]
    found["pools"] = [pools(seed, 5_000) for seed in seeds]
    progress("conditioning and pools")
    found["digits"] = [digits(seed, options.quick) for seed in seeds]
    progress("digits")
    if options.data_root is not None:
        found["mnist"] = [mnist(seed, options.quick, options.data_root) for seed in seeds]
        progress("mnist")
    else:
        print("MNIST is left out: --data-root names no folder with mnist/ and fashion_mnist/")
    found["resnet20"] = [shortcuts(seed, options.quick) for seed in seeds]
    print_table("Rules, worst of all units and seeds", RULE_COLUMNS, list(rule_body(found)))
    print_table(
        "Relative error of a variance, float32",
        FORM_COLUMNS,
        list(worst_body(found["conditioning"], ".1e", False)),
    )
    print_table("Variance / that of draws", POOL_COLUMNS, list(worst_body(found["pools"], ".2f", True)))
    print_table("Networks", COLUMNS, list(body(found)))
    if options.results is not None:
        options.results.write_text(json.dumps({"found": found, "figures": figures(found)}) + "\n")
    finish("moments_accuracy", figures(found))


if __name__ == "__main__":
    main()
