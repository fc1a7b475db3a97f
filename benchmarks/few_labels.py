"""Learning from few labels with the posterior of another run as the prior, beside fan-in and fine-tuning.

    python benchmarks/few_labels.py --data-root DATA [--quick] [--results FILE.json]

DATA holds mnist/ and, for the wrong source, ood/ with the test set of KMNIST. The source is SSVI (5 % of the weights of
an MLP 784-256-128-10) on 10 000 MNIST digits. Targets:

* digits20, digits100: scikit-learn's digits, enlarged from 8x8 to 20x20 with a margin of 4, as MNIST's are;
* kmnist100: cursive Japanese characters from the published test set, for which digits are the wrong source.

Each is balanced over the classes; up to 1500 of the other images are the test set. One :func:`szilard.fit` trains the
prior, the same method without it (fan-in) and fine-tuning from the source's weights; folds of the given labels choose
width, T and no transfer, T of fan-in, and the learning rate of fine-tuning. Beside them: fan-in at the method's own T
and at the one of five that is best on the test set itself, and fine-tuning with its logits divided by the number that
is best there. Three seeds; ``--quick``: two.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from common.harness import finish, print_table, progress, spread
from szilard import atomic, fit, methods, metrics
from szilard import data as data_sets
from szilard.data import DataSet, Split
from szilard.data.npz import read_npz
from szilard.errors import SzilardError
from szilard.model import prior as priors
from szilard.model.prior import Source
from szilard.training import Run

SEEDS, QUICK_SEEDS = 3, 2
SPEC = "mlp:256,128"
SOURCE_EXAMPLES, SOURCE_EPOCHS = 10_000, 12
MOST_TEST, VALID = 1500, 100
#: Target, labels, epochs.
CASES = (("digits", 20, 100), ("digits", 100, 40), ("kmnist", 100, 40))
CLASSES = 10
COOL = (0.03, 0.01, 0.003, 0.001)  # further temperatures of fan-in, of which the test set chooses one
ROWS = (
    "prior",
    "fan-in",
    "fan-in, T of the method",
    "fan-in, best T on the test set",
    "fine-tuning",
    "fine-tuning, best T on the test set",
)
COLUMNS = ("target", "trained", "NLL", "accuracy %")
FIGURE_COLUMNS = ("figure", "value")
Row = dict[str, Any]


def images(target: str, root: str) -> tuple[Tensor, Tensor]:
    """All images of a target ``[N, 1, 28, 28]`` in [0, 1], and classes ``[N]``.

    Raises:
        SzilardError: the files of KMNIST are not there.
    """
    if target == "kmnist":
        folder = Path(root) / "ood"
        x, y = (
            torch.from_numpy(read_npz(folder / f"kmnist-test-{part}.npz")["arr_0"])
            for part in ("imgs", "labels")
        )
        return x.unsqueeze(1).float() / 255, y.long()
    known = data_sets.load("digits", ood="none")
    parts = (known.train, known.valid, known.test)
    small, y = torch.cat([known.raw(part.x) for part in parts]), torch.cat([part.y for part in parts])
    large = F.interpolate(small, size=20, mode="bilinear", align_corners=False).clamp(0, 1)
    return F.pad(large, (4, 4, 4, 4)), y


def target_data(name: str, x: Tensor, y: Tensor, labels: int, seed: int) -> DataSet:
    """``labels`` training examples, balanced; of the others a validation set and at most MOST_TEST for the test."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(y), generator=generator)
    by_class = [order[y[order] == number][: labels // CLASSES] for number in range(CLASSES)]
    train = torch.cat(by_class)
    others = order[~torch.isin(order, train)]

    def part(index: Tensor) -> Split:
        return Split(x[index], y[index])

    return DataSet(
        name=name,
        task="classification",
        train=part(train),
        valid=part(others[:VALID]),
        test=part(others[VALID : VALID + MOST_TEST]),
        ood=None,
        ood_name=None,
        classes=tuple(map(str, range(CLASSES))),
        shift=torch.zeros(1, 1, 1),
        scale=torch.ones(1, 1, 1),
    )


def source(root: str, folder: Path, seed: int) -> Source:
    """The posterior of digits that is the prior, and its test figures on standard error."""
    data = data_sets.load("mnist", root, n_train=SOURCE_EXAMPLES, ood="none", seed=seed)
    method = methods.SSVI(len(data.train), seed=seed)
    run = fit(method, SPEC, data, epochs=SOURCE_EPOCHS, seed=seed, out=folder, samples=8, progress=False)
    progress(f"source {seed}: MNIST accuracy {run.test['accuracy']:.3f}, NLL {run.test['nll']:.3f}")
    return priors.read(folder / "ssvi")


def at_best_temperature(run: Run, test: Split) -> dict[str, float]:
    """Metrics of a network whose logits are divided by the number that is best on the test set itself."""
    run.trainer.calibrate(run.network, test)
    return metrics.evaluate(run.trainer.predict(run.network, test.x), test.y)


def fan_in(data: DataSet, temperature: float, epochs: int, seed: int) -> dict[str, float]:
    """Test metrics of the same method without the prior."""
    method = methods.SSVI(len(data.train), temperature=temperature, seed=seed)
    return fit(method, SPEC, data, epochs=epochs, seed=seed, progress=False).test


def rows(name: str, data: DataSet, prior: Source, epochs: int, seed: int) -> list[Row]:
    """One row for each of ROWS."""
    started = time.process_time()
    method = methods.SSVI(len(data.train), seed=seed)
    run = fit(method, SPEC, data, epochs=epochs, seed=seed, prior=prior, progress=False)
    assert run.choice is not None  # there is a prior
    matched, _ = priors.matched(prior, data)
    without = {t: fan_in(matched, t, epochs, seed) for t in (method.temperature, *COOL)}
    tuned = run.controls["fine-tuning"]
    found = {
        "prior": run.test,
        "fan-in": run.controls["fan-in"].test,
        "fan-in, T of the method": without[method.temperature],
        "fan-in, best T on the test set": min(without.values(), key=lambda test: test["nll"]),
        "fine-tuning": tuned.test,
        "fine-tuning, best T on the test set": at_best_temperature(tuned, matched.test),
    }
    progress(f"{name} seed {seed}, {time.process_time() - started:.0f} s: {run.choice.sentence()}")
    return [
        {"target": name, "seed": seed, "trained": key, "nll": figures["nll"], "accuracy": figures["accuracy"],
         "chosen": run.choice.best.name}
        for key, figures in found.items()
    ]  # fmt: skip


def values(found: Sequence[Row], target: str, trained: str, key: str = "nll") -> list[float]:
    """A figure of one row by seed."""
    chosen = [row for row in found if (row["target"], row["trained"]) == (target, trained)]
    return [row[key] for row in sorted(chosen, key=lambda row: row["seed"])]


def difference(found: Sequence[Row], target: str, one: str, other: str) -> float | None:
    """Mean over seeds of the NLL of one row minus that of another; None if it was not measured."""
    pairs = zip(values(found, target, one), values(found, target, other), strict=True)
    differences = [a - b for a, b in pairs]
    return statistics.fmean(differences) if differences else None


def figures(found: Sequence[Row]) -> dict[str, float | None]:
    """The keys of the last line."""
    keys: dict[str, float | None] = {}
    for target in ("digits20", "digits100", "kmnist100"):
        keys[f"{target}_prior_minus_fan_in_nll"] = difference(found, target, "prior", "fan-in")
        keys[f"{target}_prior_minus_finetune_nll"] = difference(found, target, "prior", "fine-tuning")
        keys[f"{target}_prior_minus_finetune_best_temperature_nll"] = difference(
            found, target, "prior", "fine-tuning, best T on the test set"
        )
        keys[f"{target}_prior_minus_fan_in_best_temperature_nll"] = difference(
            found, target, "prior", "fan-in, best T on the test set"
        )
        keys[f"{target}_prior_minus_fan_in_own_temperature_nll"] = difference(
            found, target, "prior", "fan-in, T of the method"
        )
    return keys


def body(found: Sequence[Row]) -> list[list[str]]:
    """The rows of the table."""
    return [
        [
            target,
            name,
            spread(values(found, target, name)),
            spread(values(found, target, name, "accuracy"), 1, 100.0),
        ]
        for target in dict.fromkeys(row["target"] for row in found)
        for name in ROWS
    ]


def choices(found: Sequence[Row]) -> str:
    """What the folds chose, by target."""
    parts = []
    for target in dict.fromkeys(row["target"] for row in found):
        names = [row["chosen"] for row in found if (row["target"], row["trained"]) == (target, "prior")]
        parts.append(f"{target}: {', '.join(names)}")
    return "; ".join(parts)


def shown(found: Sequence[Row]) -> list[list[str]]:
    """The figures as a table, under FIGURE_COLUMNS."""
    return [
        [f"`{name}`", "not measured" if value is None else f"{value:.3f}"]
        for name, value in figures(found).items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--quick", action="store_true", help="two seeds")
    parser.add_argument("--results", type=Path, help="file for what was measured")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    found: list[Row] = []
    for seed in range(QUICK_SEEDS if arguments.quick else SEEDS):
        with tempfile.TemporaryDirectory() as folder:
            prior = source(arguments.data_root, Path(folder), seed)
        for target, labels, epochs in CASES:
            try:
                x, y = images(target, arguments.data_root)
            except SzilardError as error:
                progress(f"{target} is left out: {error}")
                continue
            name = f"{target}{labels}"
            found += rows(name, target_data(name, x, y, labels, seed), prior, epochs, seed)
            if arguments.results:
                section = {"quick": arguments.quick, "rows": found}
                atomic.write(arguments.results, (json.dumps(section, indent=1) + "\n").encode())
    print_table(f"few labels, {SPEC}", COLUMNS, body(found))
    print(choices(found))
    print_table("figures", FIGURE_COLUMNS, shown(found))
    finish("few_labels", figures(found))


if __name__ == "__main__":
    main()
