"""Galen: find channels and bits of every layer so that a network meets a cost on a runtime, at the least KL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from szilard.compression.policies.checked import Given
from szilard.compression.policies.found import Found
from szilard.compression.policies.job import Job
from szilard.compression.policies.policy import Policy
from szilard.compression.policies.search_progress import SearchProgress, progress_of
from szilard.deploy.int8 import Evaluation

EVALUATIONS = 200


@torch.inference_mode(False)
def galen(
    network: nn.Module,
    calibration: Any,
    *,
    target: float | str | None = None,
    measure: str | Callable[[nn.Module], float] = "latency",
    search: str = "evolution",
    evaluations: int = EVALUATIONS,
    policy: Policy | Path | str | None = None,
    finetune: int = 0,
    trial_steps: int | None = None,
    training: tuple[Tensor, Tensor | None] | None = None,
    evaluation: Evaluation | None = None,
    task: str | None = None,
    threads: int = 1,
    folder: Path | str | None = None,
    table: Path | str | None = None,
    deployed: Mapping[str, Any] | None = None,
    meta: Mapping[str, Any] | None = None,
    noisy: bool = False,
    seed: int = 0,
    progress: Callable[[str], object] | bool | SearchProgress | None = None,
) -> Found:
    """A smaller network that meets a cost, measured on a runtime.

    Searches channels and bits of every layer for the least F = KL + T · cost: KL(original ‖ compressed) in nats on the
    calibration inputs, and T such that the target is met. After [1], with a measured table in place of its proxy.

    Args:
        network: trained; it is not changed. It takes one tensor of floats.
        calibration: inputs ``[N, ...]``, or batches of them; labels are ignored. The first 512 are used.
        target: largest cost: a share of the original's (0.4), or an amount with a unit ("1.5ms", "3uJ", "20kB"). A
            policy that is given needs none.
        measure: "latency" (seconds in ONNX Runtime for one input), "energy" (estimated joules for one input), "bytes"
            (of the ``.szd`` file), or a function that returns the cost of a network, such as its time on a device.
        search: "evolution", "agent" (DDPG), "random" or "greedy".
        evaluations: number of policies that are tried.
        policy: use this one, or the one in this TOML file, and do not search.
        finetune: number of passes over the training inputs for which the smaller network is trained on the original's
            outputs (distillation), and on labels if ``training`` has them.
        trial_steps: number of training steps, of 16 calibration inputs each, before the KL of a policy is measured in
            the search. By default 40 if the network is fine-tuned: policies that lose least without training are not
            those that recover best. Else 0.
        training: inputs and labels, or None in their place, to fine-tune on. By default the calibration inputs.
        evaluation: labelled data, in the units of the network, that judge the result; no choice depends on them.
        task: meaning of the outputs, one of :data:`szilard.likelihood.TASKS`; by default seen from the outputs.
        threads: of the runtime.
        folder: keeps the history of the search and the sensitivity; a search that was stopped continues from it.
        table: file of the table of latencies; by default in the user's cache folder.
        deployed: further arguments of :func:`szilard.deploy.compile` for the ``.onnx`` file: units of inputs and
            targets, labels, image range, metadata.
        meta: metadata of the ``.szd`` file, as for :func:`szilard.compress`.
        noisy: go on if the machine is too noisy to measure; a note says so.
        seed: of all random numbers.
        progress: None: a bar on standard error; False: nothing; a function receives results, line by line.

    Returns:
        the network, its policy, its file, and what they were found to cost and to lose.

    Raises:
        SzilardError: the target is below what the smallest policy reaches, the policy is for another network, the
            calibration data do not fit, the runtime is not installed, or the machine is too noisy to measure on.

    References:
        [1] T. Krieger, B. Klein, H. Fröning, "Towards hardware-specific automatic compression of neural networks",
            arXiv:2212.07818, 2022.
    """
    given = Given.checked(
        network, calibration, target=target, measure=measure, search=search, evaluations=evaluations, policy=policy,
        finetune=finetune, trial_steps=trial_steps, training=training, evaluation=evaluation, task=task,
        threads=threads, folder=folder, table=table, deployed=deployed, meta=meta, noisy=noisy, seed=seed,
    )  # fmt: skip
    with progress_of(progress) as bar:
        return Job(given, bar).run()
