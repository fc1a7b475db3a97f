"""Concurrent predictions of one network in eight threads: all must have the same bits as single predictions."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from szilard import methods, networks

THREADS = 8
SHAPE, OUTPUTS = (1, 8, 8), 10
SAMPLES = 3


class Attention(nn.Module):
    """Attention over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.last = nn.Linear(64, OUTPUTS)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layer(x.flatten(0, 1)).flatten(1))


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.2), nn.Flatten(),
        nn.Linear(64, OUTPUTS),
    )  # fmt: skip


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: networks.build("mlp:16", SHAPE, OUTPUTS),
    "BatchNorm": convolutions,
    "attention": Attention,
}


def same(one: Any, other: Any) -> bool:
    """Whether two predictions have the same bits in every tensor."""
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if hasattr(one, "__dict__"):
        return all(same(value, getattr(other, key)) for key, value in vars(one).items())
    return one == other or one is other


def asked_at_once(method: Any, network: nn.Module, inputs: list[Tensor], calls: int) -> tuple[int, int]:
    """Number of calls, and number of calls that failed or differ from a single prediction."""
    alone = [method.predict(network, x, samples=SAMPLES, seed=number) for number, x in enumerate(inputs)]
    wrong = []
    start = threading.Barrier(THREADS)

    def ask(first: int) -> None:
        start.wait()
        for call in range(calls):
            number = (first + call) % len(inputs)
            try:
                answer = method.predict(network, inputs[number], samples=SAMPLES, seed=number)
                if not same(answer, alone[number]):
                    wrong.append(number)
            except Exception as error:
                wrong.append(repr(error))

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return THREADS * calls, len(wrong)


def measure(calls: int) -> dict[str, Any]:
    """Test every method with every network.

    Args:
        calls: number of calls of each thread, method and network.
    """
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    rows, generator = [], torch.Generator().manual_seed(0)
    inputs = [torch.rand(5 + 7 * i, *SHAPE, generator=generator) for i in range(4)]
    try:
        for name in methods.names():
            for kind, build in NETWORKS.items():
                torch.manual_seed(0)
                method = methods.make(name, 100)
                network = method.prepare(build()).eval()
                asked, wrong = asked_at_once(method, network, inputs, calls)
                rows.append({"method": name, "network": kind, "calls": asked, "errors": wrong})
    finally:
        sys.setswitchinterval(interval)
    return {
        "thread_calls": sum(row["calls"] for row in rows),
        "thread_errors": sum(row["errors"] for row in rows),
        "thread_rows": rows,
    }
