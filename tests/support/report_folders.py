"""Small run folders like those of `szilard fit`, made without training."""

import json
from pathlib import Path

import numpy as np

CLASSES = ["<b>zero</b>", "one & only", "$two$"]
COST = {
    "nonzeros": (1000, "counted"),
    "bits": (80_000, "counted"),
    "macs": (2000, "counted"),
    "train_flops": (10**9, "counted"),
    "joules_inference": (2e-9, "estimated"),
    "seconds": (2.0, "measured"),
    "peak_bytes": (10**8, "measured"),
}


def classification(folder: Path, methods=("ssvi", "deterministic", "mean-field")) -> Path:
    """Three classes of 4 x 4 images; ssvi has a tenth of the cost and 90 % accuracy, the others 96 %."""
    start(folder, methods)
    for key in methods:
        right, scale = (90, 0.1) if key == "ssvi" else (96, 1.0)
        labels = np.arange(100) % 3
        guess = np.where(np.arange(100) < right, labels, (labels + 1) % 3)
        probabilities = np.full((100, 3), 0.1)
        probabilities[np.arange(100), guess] = 0.8
        arrays = {
            "test_mean_probabilities": probabilities.astype(np.float16),
            "test_labels": labels,
            "test_max_probability": np.linspace(0.4, 1, 100),
            "ood_max_probability": np.linspace(0.3, 0.9, 80),
            "reliability_edges": np.linspace(0, 1, 16),
            "reliability_confidence": np.r_[[np.nan] * 5, np.linspace(0.4, 0.97, 10)],
            "reliability_accuracy": np.r_[[np.nan] * 5, np.linspace(0.3, 1.0, 10)],
            "reliability_count": np.r_[[0] * 5, [10] * 10],
            "risk_coverage_coverage": np.linspace(0.01, 1, 100),
            "risk_coverage_risk": np.linspace(0, (100 - right) / 100, 100),
            "uncertain_images": np.linspace(0, 1, 16 * 16).reshape(16, 4, 4).astype(np.float32),
            "uncertain_true": np.arange(16) % 3,
            "uncertain_guess": np.arange(16) % 2,
            "uncertain_probability": np.linspace(0.4, 0.6, 16),
        }
        test = {"accuracy": right / 100, "nll": 0.3 if key == "ssvi" else 0.2, "ece": 0.02, "auroc_best": 0.8}
        density = {"first": 0.05, "second": 0.5} if key == "ssvi" else {}
        gaussian = {} if key == "deterministic" else posterior()
        finish(folder, key, "classification", test, arrays | gaussian, scale, density)
    return folder


def regression(folder: Path) -> Path:
    """Targets 0 to 49, each predicted 1 too high with a deviation of 1: all inside the 95 % interval."""
    start(folder, ("ssvi", "deterministic"))
    for key in ("ssvi", "deterministic"):
        target = np.arange(50.0)
        arrays = {
            "test_target": target,
            "test_mean": target + 1,
            "test_variance": np.ones(50),
            "risk_coverage_coverage": np.linspace(0.02, 1, 50),
            "risk_coverage_risk": np.ones(50),
        }
        test = {"rmse": 1.0 if key == "ssvi" else 2.0, "nll": -0.5, "coverage95": 0.9}
        finish(folder, key, "regression", test, arrays, 1.0, {})
    return folder


def posterior(start_at=-2.0, end_at=-3.0):
    """Arrays of two weights whose ln σ all change from one value to another."""
    found = {"weight_names": np.array(["first", "second"])}
    for n in range(2):
        found |= {f"log_std_start_{n}": np.full(30, start_at), f"log_std_end_{n}": np.full(30, end_at)}
        found |= {f"snr_start_{n}": np.linspace(0.5, 3, 30), f"snr_end_{n}": np.linspace(0.0, 4, 30)}
    return found


def start(folder: Path, methods) -> None:
    folder.mkdir()
    (folder / "run.toml").write_text(
        f"methods = {json.dumps(list(methods))}\n"
        '[data]\nname = "digits"\n[network]\nspec = "mlp"\n[fit]\nepochs = 3\nseed = 7\n'
    )
    for key in methods:
        (folder / key).mkdir()
        lines = [
            {
                "kind": "epoch",
                "epoch": epoch,
                "step": 8 * epoch,
                "free_energy": 2.0 / epoch,
                "energy": 1.5 / epoch,
                "cost": 0.0 if key == "deterministic" else 0.5 / epoch,
                "valid": {"accuracy": 0.3 * epoch, "nll": 1.0 / epoch, "rmse": 2.0 / epoch},
            }
            for epoch in (1, 2, 3)
        ]
        (folder / key / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def finish(folder: Path, key: str, task: str, test, arrays, scale: float, density) -> None:
    result = {
        "method": key,
        "name": "SSVI, 5 % of weights" if key == "ssvi" else key,
        "network": "mlp",
        "data": "digits",
        "task": task,
        "classes": CLASSES if task == "classification" else [],
        "ood": "photographs",
        "n_train": 1000,
        "epochs": 3,
        "samples": 8,
        "seed": 7,
        "test": test,
        "cost": {
            figure: {"value": scale * value, "source": source} for figure, (value, source) in COST.items()
        },
        "density": density,
    }
    (folder / key / "result.json").write_text(json.dumps(result))
    np.savez(folder / key / "arrays.npz", **arrays)


def change(folder: Path, key: str, **arrays) -> None:
    """Replace arrays of a finished method; None removes one."""
    path = folder / key / "arrays.npz"
    with np.load(path) as archive:
        found = {name: archive[name] for name in archive.files} | arrays
    np.savez(path, **{name: value for name, value in found.items() if value is not None})
