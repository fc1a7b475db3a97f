"""A made-up result of a search for a policy, and a search that returns it."""

from __future__ import annotations

from typing import Any

from torch import nn

from szilard.compression.policies.found import Found
from szilard.compression.policies.policy import LayerPolicy, Policy
from szilard.compression.policies.problem import Trial
from szilard.compression.policies.sensitivity import Sensitivity
from szilard.compression.policies.space import Decision, Space

SPACE = Space(
    (
        Decision("conv1", "channels", ("conv1", "conv2"), (16, 12, 8, 4)),
        Decision("conv3", "channels", ("conv3",), (32, 24, 16, 8)),
        Decision("conv1", "bits", ("conv1",), ((32, 32), (8, 8))),
        Decision("conv3", "bits", ("conv3",), ((32, 32), (8, 8))),
        Decision("fc", "bits", ("fc",), ((32, 32), (8, 8))),
    ),
    {"conv1": ("conv1",), "conv2": ("conv1",), "conv3": ("conv3",), "fc": ()},
    {"fc": 10},
)
SIZES = {"conv1": 16, "conv2": 16, "conv3": 32, "fc": 10}
NATS = [[0.0, 0.02, 0.11, 0.9], [0.0, 0.004, 0.03, 0.2], [0.0, 0.0004], [0.0, 2e-5], [0.0, 0.001]]


def trials(count: int = 40) -> list[Trial]:
    """Policies from the original to the smallest, each with a higher KL than the one before."""
    found = []
    for number in range(count):
        share = 1 - 0.8 * number / count
        choice = (number % 4, (number // 4) % 4, number % 2, 0, 1)
        measured = share * 1.02 if number % 10 == 9 else None
        found.append(Trial(choice, 0.001 * 1.2**number * (1 + number % 3), share, measured=measured))
    return found


def found(network: nn.Module, **changed: Any) -> Found:
    """A result for :class:`trained.ConvNet`: half of its channels, and its last layer in 8 bits."""
    unit = changed.get("unit", "seconds")
    scale = {"seconds": 1e-3, "joules": 1e-6, "bytes": 2e4, "": 1.0}[unit]
    given: dict[str, Any] = {
        "policy": Policy(
            (
                LayerPolicy("conv1", 8),
                LayerPolicy("conv2", 8),
                LayerPolicy("conv3", 16),
                LayerPolicy("fc", 10, 8, 8),
            )
        ),
        "sizes": SIZES,
        "unit": unit,
        "reference": scale,
        "cost": 0.396 * scale,
        "target": 0.4 * scale,
        "predicted": 0.39 * scale,
        "kl": 0.0312,
        "kl_before": 0.0541,
        "content": b"the network",
        "compiled": None if unit == "bytes" else object(),
        "before": {"accuracy": 0.98, "nll": 0.07},
        "after": {"accuracy": 0.972, "nll": 0.09},
        "table_error": 2.3,
        "searcher": "evolution",
        "trials": trials(),
        "space": SPACE,
        "sensitivity": Sensitivity(SPACE, NATS, 256),
        "whole": {"fc": "its outputs are those of the network"},
        "notes": ["the machine was noisy"],
        "seconds": {"table": 30.0, "sensitivity": 12.0, "search": 60.0, "finishing": 18.0},
    }
    return Found(network, **given | changed)


class Search:
    """A search in place of ``galen``: it keeps its arguments and returns a made-up result."""

    def __init__(self, **changed: Any) -> None:
        self.changed, self.given = changed, {}

    def __call__(self, network: nn.Module, calibration: Any, **given: Any) -> Found:
        self.given = {"network": network, "calibration": calibration, **given}
        bar = given["progress"]
        bar.stage("search")
        for done in range(3):
            bar.step(done, 2, "best F 0.031")
        bar.tell("a sentence of the search")
        unit = {"latency": "seconds", "energy": "joules", "bytes": "bytes"}[given["measure"]]
        policy = (
            {} if given.get("policy") is None else {"policy": given["policy"], "trials": (), "searcher": ""}
        )
        if given.get("target") is None:
            policy["target"] = float("inf")
        return found(network, **{"unit": unit} | policy | self.changed)
