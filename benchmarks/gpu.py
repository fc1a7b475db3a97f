"""Time of a training step on a GPU: structured SSVI and dense mean-field, timed alternately in one process.

    python benchmarks/gpu.py [--quick] [--batch 512]

A step includes the loss, the backward pass, Adam, and the moves of the support at their usual interval; their cost is
averaged over the steps between them. Both methods use TF32 for matrix products.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.harness import finish, print_table
from szilard import methods
from szilard.methods import Method

EVERY = 50  # steps between moves of a support, as in a real run; a turn has the same number of steps
CLASSES = 10
DENSE = "mean-field"
COMPARED = {"mlp": ("block32", "block64", "neuron", "unstructured"), "resnet18": ("neuron",)}
TARGET = 0.5  # wanted time of a step, relative to the dense step


class Residual(nn.Module):
    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(n_out)
        same = n_in == n_out and stride == 1
        self.shortcut: nn.Module = nn.Identity()
        if not same:
            self.shortcut = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


def resnet18() -> nn.Module:
    """ResNet-18 with a stem for 32x32 images, as in the SSVI publication."""
    widths = [64, 64, 128, 256, 512]
    stages = [
        nn.Sequential(Residual(n_in, n_out, 1 if n_out == n_in else 2), Residual(n_out, n_out, 1))
        for n_in, n_out in itertools.pairwise(widths)
    ]
    stem = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    return nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, CLASSES))


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, CLASSES)
    )


NETWORKS = {"mlp": (mlp, (4096,)), "resnet18": (resnet18, (3, 32, 32))}


class Trainee:
    """A network and a training method; ``run`` trains and returns the mean seconds of a step."""

    def __init__(self, network: nn.Module, method: Method, batch: tuple[Tensor, Tensor]) -> None:
        self.method, self.batch = method, batch
        self.network = method.prepare(network).to(batch[0].device).train()
        self.optimizer = method.optimizer(self.network)
        self.run(2 * EVERY)  # compiles, warms up, and moves the support once

    def run(self, steps: int) -> float:
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(steps):
            self.method.loss(self.network, *self.batch).backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.method.after_step(self.network, self.optimizer)
        torch.cuda.synchronize()
        return (time.perf_counter() - start) / steps


def compare(name: str, size: int, repeats: int) -> dict[str, list[float]]:
    """Seconds per step, by method: one number for each turn."""
    build, shape = NETWORKS[name]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(size, *shape, generator=generator).cuda()
    y = torch.randint(CLASSES, (size,), generator=generator).cuda()
    torch.manual_seed(0)
    network, horizon = build(), 100 * EVERY * (repeats + 2)
    made = {DENSE: methods.make(DENSE, 50_000, total_steps=horizon)}
    for pattern in COMPARED[name]:
        made[pattern] = methods.make(
            "ssvi", 50_000, density=0.1, pattern=pattern, every=EVERY, total_steps=horizon
        )
    trainees = {label: Trainee(network, method, (x, y)) for label, method in made.items()}
    seconds: dict[str, list[float]] = {label: [] for label in trainees}
    for _ in range(repeats):
        for label, trainee in trainees.items():
            seconds[label].append(trainee.run(EVERY))
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three turns instead of eleven")
    parser.add_argument("--batch", type=int, default=512)
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print("This benchmark needs a CUDA device, and this machine has none.", file=sys.stderr)
        return 2
    torch.set_float32_matmul_precision("high")
    device, figures = torch.cuda.get_device_name(), {}
    rows = []
    for name, patterns in COMPARED.items():
        seconds = compare(name, given.batch, 3 if given.quick else 11)
        medians = {label: statistics.median(turns) for label, turns in seconds.items()}
        for label in (DENSE, *patterns):
            ratio = medians[label] / medians[DENSE]
            shown = label if label == DENSE else f"SSVI 90 %, {label}"
            rows.append([name, shown, f"{1e3 * medians[label]:.2f}", f"{ratio:.2f}"])
            if label != DENSE:
                figures[f"{name}_ssvi90_{label}_vs_mean_field"] = round(ratio, 4)
    title = f"Training step on {device}, batch {given.batch}; target {TARGET} of dense mean-field"
    print_table(title, ["network", "method", "ms", "of dense"], rows)
    finish("gpu", {"device": device, "batch": given.batch, **figures})
    return 0


if __name__ == "__main__":
    sys.exit(main())
