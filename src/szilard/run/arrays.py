"""The data of the report's plots, as plain arrays."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from szilard import atomic, bayes, metrics
from szilard.data import DataSet, image_range
from szilard.errors import SzilardError
from szilard.likelihood.targets import Classes, DataTargets, Labels, Quantities
from szilard.metrics import Predictive
from szilard.metrics.predictive import flat

MOST = 20_000  # maximum number of entries of a weight in a histogram
SHOWN = 16  # number of uncertain inputs in the report

Arrays = dict[str, np.ndarray]


def save(path: Path, arrays: Arrays) -> None:
    """Write an npz archive that loads without pickle."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    atomic.write(path, buffer.getvalue())


def of_posterior(network: nn.Module, when: str) -> Arrays:
    """``log_std_{when}_{i}`` and ``snr_{when}_{i}`` of each Gaussian weight i, subsampled to 20 000 entries.

    Args:
        when: "start" or "end".
    """
    arrays: Arrays = {}
    names: list[str] = []
    for row in bayes.diagnostics(network):
        if row["log_std"] is None:
            continue
        number = len(names)
        names.append(row["name"])
        for key in ("log_std", "snr"):
            arrays[f"{key}_{when}_{number}"] = _thin(row[key]).float().cpu().numpy()
    arrays["weight_names"] = np.array(names, dtype=np.str_)
    return arrays


def of_predictions(data: DataSet, test: Predictive, ood: Predictive | None) -> Arrays:
    """Predictions for the test set and for out-of-distribution inputs; if each pixel has a class, for 20 000 pixels.

    For several targets ``test_mean`` and similar arrays are ``[N, k]`` in the units of each, and the risk is the
    squared error in units of their deviations. Binary labels have ``test_label_probabilities [N, k]``.
    """
    make = _OF_PREDICTIONS.get(type(data.target_type))
    if make is None:
        raise SzilardError(
            f"no arrays are defined for the plots of {data.task}; add a function to szilard.run.arrays"
        )
    y = data.test.y
    if data.is_dense:
        test, y = flat(test, y, data.target_type.ignored)
    coverage, risk, _ = metrics.risk_coverage(test, y)
    arrays: Arrays = {"risk_coverage_coverage": coverage.numpy(), "risk_coverage_risk": risk.numpy()}
    if len(y) > MOST:
        kept = torch.linspace(0, len(y) - 1, MOST, dtype=torch.float64).long()
        arrays = {name: values[kept.numpy()] for name, values in arrays.items()} if data.is_dense else arrays
    return arrays | make(data, test, y, ood, risk)


def _of_quantities(
    data: DataSet, test: Predictive, y: Tensor, ood: Predictive | None, risk: Tensor
) -> Arrays:
    scale, shift = (
        one.cpu().numpy() if isinstance(one, Tensor) else one
        for one in (data.target_scale, data.target_shift)
    )
    return {
        "risk_coverage_risk": risk.numpy() if isinstance(scale, np.ndarray) else _wide(risk) * scale**2,
        "test_mean": _wide(test.mean) * scale + shift,
        "test_variance": _wide(test.variance) * scale**2,
        "test_target": _wide(y) * scale + shift,
        "test_epistemic": _wide(test.epistemic()) * scale**2,
        "test_aleatoric": _wide(test.aleatoric()) * scale**2,
    }


def _of_labels(data: DataSet, test: Predictive, y: Tensor, ood: Predictive | None, risk: Tensor) -> Arrays:
    return _reliability(test, y) | {
        "test_label_probabilities": test.mean.numpy().astype(np.float16),
        "test_label_truth": y.numpy(),
    }


def _of_classes(data: DataSet, test: Predictive, y: Tensor, ood: Predictive | None, risk: Tensor) -> Arrays:
    arrays = _reliability(test, y)
    if data.is_dense:
        return arrays | {
            "test_max_probability": _thin(test.max_probability()).float().numpy(),
            "test_epistemic": _thin(test.epistemic()).float().numpy(),
            "test_aleatoric": _thin(test.aleatoric()).float().numpy(),
        }
    arrays |= {
        "test_mean_probabilities": test.mean.numpy().astype(np.float16),
        "test_labels": y.numpy(),
        "test_max_probability": _numpy(test.max_probability()),
        "test_epistemic": _numpy(test.epistemic()),
        "test_aleatoric": _numpy(test.aleatoric()),
    }
    if ood is not None:
        arrays["ood_max_probability"] = _numpy(ood.max_probability())
        arrays["ood_epistemic"] = _numpy(ood.epistemic())
    return arrays | (_uncertain(data, test) if data.is_image else {})


_OF_PREDICTIONS: dict[type[DataTargets], Callable[..., Arrays]] = {
    Classes: _of_classes,
    Labels: _of_labels,
    Quantities: _of_quantities,
}


def _reliability(test: Predictive, y: Tensor) -> Arrays:
    names = ("edges", "confidence", "accuracy", "count")
    found = zip(names, metrics.reliability(test, y), strict=True)
    return {f"reliability_{name}": values.numpy() for name, values in found}


def _uncertain(data: DataSet, test: Predictive) -> Arrays:
    """The test images of highest entropy, most uncertain first."""
    index = test.entropy().argsort(descending=True, stable=True)[:SHOWN]
    pictures = image_range.shown(data.raw(data.test.x[index]), data.image_range)
    if pictures.shape[1] == 1:
        pictures = pictures[:, 0]
    return {
        "uncertain_images": _numpy(pictures),
        "uncertain_true": data.test.y[index].numpy(),
        "uncertain_guess": test.labels[index].numpy(),
        "uncertain_probability": _numpy(test.max_probability()[index]),
    }


def _thin(values: Tensor) -> Tensor:
    values = values.flatten()
    if values.numel() <= MOST:
        return values
    return values[torch.linspace(0, values.numel() - 1, MOST, dtype=torch.float64).long().to(values.device)]


def _wide(values: Tensor) -> np.ndarray:
    """In float64: in the units of the target, numbers can be large and vary little, or their squares leave float32."""
    return values.detach().cpu().double().numpy()


def _numpy(values: Any) -> np.ndarray:
    return torch.as_tensor(values).detach().cpu().float().numpy()
