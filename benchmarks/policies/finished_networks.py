"""Cells of galen.py that fine-tune the network of a policy, write its file, and judge that file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from files.accuracy import Images
from policies.kept import Kept
from policies.material import Material
from policies.plan import LONG, UNLABELLED, Finish, Settings
from policies.searching import Search, policy_path
from szilard import deploy
from szilard.compression.policies.galen_search import galen
from szilard.deploy import Compiled

BATCH = 100  # images that a file judges at once, if it takes more than one


def trained(
    finish: Finish, material: Material, settings: Settings, kept: Kept, search: Search = galen
) -> dict[str, Any]:
    """The row of a network that is fine-tuned; its file is written beside it."""
    cell = finish.cell
    inputs = material.calibration(cell.seed, settings.calibration)
    passes, training = how(finish.level, inputs, material, settings)
    made = search(
        material.network, inputs, policy=policy_path(kept, cell), measure=later, finetune=passes, training=training,
        seed=cell.seed, progress=False,
    )  # fmt: skip
    made.save(file_of(kept, finish))
    return {
        "searcher": cell.searcher,
        "target": cell.target,
        "seed": cell.seed,
        "level": finish.level,
        "kl": made.kl,
        "kl_before": made.kl_before,
        "bytes": len(made.content),
        "training_seconds": made.seconds.get("finishing", 0.0),
        "notes": made.notes,
    }


def later(network: nn.Module) -> float:
    """In place of a cost: the latencies of all files are measured beside each other, in another part."""
    return 1.0


def how(
    level: str, inputs: Tensor, material: Material, settings: Settings
) -> tuple[int, tuple[Tensor, Tensor | None]]:
    """Passes over the training data, and these data, of a level of fine-tuning."""
    if level == UNLABELLED:
        return settings.unlabelled, (inputs, None)
    images = material.training(settings.long if level == LONG else settings.short)
    return (settings.epochs if level == LONG else 1), (images.x, images.y)


def file_of(kept: Kept, finish: Finish) -> Path:
    """The ONNX file of a network."""
    return kept.path(finish.name, ".onnx")


def accuracy(network: Compiled, images: Images) -> float:
    """Share of images that a compiled network classifies correctly."""
    size = network.batch or BATCH
    labels = [network(part.contiguous()).labels for part in images.x.split(size)]
    return float((torch.cat(labels) == images.y).double().mean())


def judged(path: Path, images: Images) -> dict[str, Any]:
    """Accuracy of a file in ONNX Runtime, in one thread."""
    return {"accuracy": accuracy(deploy.load(path, threads=1), images), "images": len(images.y)}
