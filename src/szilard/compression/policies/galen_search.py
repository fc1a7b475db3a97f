"""Galen: find channels and bits of every layer so that a network meets a cost on a runtime, at the least KL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from szilard.compression.policies.found import Found
from szilard.compression.policies.policy import Policy
from szilard.deploy.int8 import Evaluation

EVALUATIONS = 200


def galen(
    network: nn.Module,
    calibration: Any,
    *,
    target: float | str,
    measure: str | Callable[[nn.Module], float] = "latency",
    search: str = "evolution",
    evaluations: int = EVALUATIONS,
    policy: Policy | None = None,
    finetune: int = 0,
    training: tuple[Tensor, Tensor | None] | None = None,
    evaluation: Evaluation | None = None,
    threads: int = 1,
    folder: Path | str | None = None,
    table: Path | str | None = None,
    noisy: bool = False,
    seed: int = 0,
    progress: Any = None,
) -> Found:
    """A smaller network that meets a cost, measured on a runtime.

    Searches channels and bits of every layer for the least F = KL + T · cost: KL(original ‖ compressed) in nats on the
    calibration inputs, and T such that the target is met.

    Args:
        network: trained; it is not changed. It takes one tensor.
        calibration: inputs ``[N, ...]``, or batches of them; labels are ignored. 512 are enough.
        target: largest cost: a share of the original's (0.4), or an amount with a unit ("1.5ms", "20kB").
        measure: "latency" (ONNX Runtime, batch 1), "energy" (estimated joules), "bytes" (of the ``.szd`` file), or a
            function that returns the cost of a network, such as its time on a device.
        search: "evolution", "agent" (DDPG), "random" or "greedy".
        evaluations: number of policies that are tried.
        policy: use this one and do not search.
        finetune: number of passes over the training inputs that the smaller network is trained for, on the original's
            outputs (distillation), and on labels if ``training`` has them.
        training: inputs and labels to fine-tune with; labels can be None. By default the calibration inputs.
        evaluation: labelled data that judge the result, and that no choice depends on.
        threads: of the runtime.
        folder: of the history of the search, from which a search that was stopped continues, and of the sensitivity.
        table: file of the table of latencies; by default in the user's cache folder.
        noisy: go on if the machine is too noisy to measure; a note says so.
        seed: of all random numbers.
        progress: as for :func:`szilard.compress`.

    Raises:
        SzilardError: the target is below what the smallest policy reaches, the policy is for another network, the
            calibration data do not fit, the runtime is not installed, or the machine is too noisy to measure on.
    """
    raise NotImplementedError
