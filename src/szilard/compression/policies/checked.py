"""The arguments of a search for a policy, checked and in one form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from szilard.compression.batches import Whole
from szilard.compression.calibration import Calibration
from szilard.compression.check import check_network
from szilard.compression.policies import policy_file
from szilard.compression.policies.by_name import SEARCHERS
from szilard.compression.policies.policy import Policy
from szilard.compression.policies.target import FUNCTION
from szilard.deploy.arguments import is_bayesian
from szilard.deploy.int8 import Evaluation
from szilard.errors import SzilardError, printable
from szilard.networks import copied

MEASURES = {"latency": "seconds", "energy": "joules", "bytes": "bytes"}
EXAMPLES = 512  # inputs that are calibrated with
TRIAL_STEPS = 40  # of training before the KL of a policy that will be fine-tuned
LEAST = 16  # inputs, from which the statistics of a BatchNorm can be estimated


@dataclass(frozen=True, eq=False)
class Given:
    """What a user gave to :func:`szilard.compression.galen`.

    Attributes:
        network: a copy, in eval mode.
        inputs: of the calibration, ``[N, ...]``.
        measure, unit: the name of the cost, or a function, and its unit.
        policy: to use without a search, or None.

    The others are as given.
    """

    network: nn.Module
    inputs: Tensor
    target: float | str | None
    measure: str | Callable[[nn.Module], float]
    unit: str
    search: str
    evaluations: int
    policy: Policy | None
    finetune: int
    trial_steps: int
    training: tuple[Tensor, Tensor | None]
    evaluation: Evaluation | None
    task: str | None
    threads: int
    folder: Path | None
    table: Path | None
    deployed: dict[str, Any]
    meta: dict[str, Any]
    noisy: bool
    seed: int

    @property
    def labelled(self) -> tuple[Tensor, Tensor] | None:
        """Some inputs with labels, from which the meaning of the outputs can be seen, or None."""
        if self.evaluation is not None:
            return self.evaluation.x[:EXAMPLES], self.evaluation.y[:EXAMPLES]
        x, y = self.training
        return None if y is None else (x[:EXAMPLES], y[:EXAMPLES])

    @classmethod
    def checked(
        cls,
        network: nn.Module,
        calibration: Any,
        *,
        target: float | str | None,
        measure: str | Callable[[nn.Module], float],
        search: str,
        evaluations: int,
        policy: Policy | Path | str | None,
        finetune: int,
        trial_steps: int | None,
        training: tuple[Tensor, Tensor | None] | None,
        evaluation: Evaluation | None,
        task: str | None,
        threads: int,
        folder: Path | str | None,
        table: Path | str | None,
        deployed: Mapping[str, Any] | None,
        meta: Mapping[str, Any] | None,
        noisy: bool,
        seed: int,
    ) -> Self:
        """From the arguments of the search.

        Raises:
            SzilardError: one of them is of no use.
        """
        check_network(network)
        if is_bayesian(network):
            raise SzilardError(
                "the network is Bayesian, and a policy is searched for a point network; give one with its mean weights"
            )
        if not callable(measure) and measure not in MEASURES:
            raise SzilardError(f"measure is {measure!r}; choose one of {', '.join(MEASURES)}, or a function")
        if search not in SEARCHERS:
            raise SzilardError(
                f"search is {printable(str(search), 40)}; choose one of {', '.join(SEARCHERS)}"
            )
        if policy is None and target is None:
            raise SzilardError("there is no target; give a share of the original's cost, such as target=0.4")
        for name, value, least in (
            ("evaluations", evaluations, 1), ("finetune", finetune, 0), ("threads", threads, 1), ("seed", seed, 0),
            ("trial_steps", trial_steps or 0, 0),
        ):  # fmt: skip
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise SzilardError(f"{name} must be a whole number of at least {least}, not {value!r}")
        network = copied(network).eval()
        inputs = _inputs(calibration, network)
        steps = (TRIAL_STEPS if finetune else 0) if trial_steps is None else trial_steps
        return cls(
            network, inputs, target, measure, FUNCTION if callable(measure) else MEASURES[measure], search,
            int(evaluations), _policy(policy), int(finetune), int(steps), _training(training, inputs), evaluation, task,
            int(threads), _folder(folder), _path(table), dict(deployed or {}), dict(meta or {}), noisy, int(seed),
        )  # fmt: skip


def _path(given: Path | str | None) -> Path | None:
    return None if given is None else Path(given)


def _folder(given: Path | str | None) -> Path | None:
    path = _path(given)
    if path is not None and path.exists() and not path.is_dir():
        raise SzilardError(f"{path} is a file, and a search keeps its history in a folder; name another")
    return path


def _policy(given: Policy | Path | str | None) -> Policy | None:
    return policy_file.read(given) if isinstance(given, Path | str) else given


def _inputs(calibration: Any, network: nn.Module) -> Tensor:
    if calibration is None:
        raise SzilardError(
            "there are no calibration data; give inputs like those of the application, 512 are enough"
        )
    if isinstance(calibration, Tensor) and not len(calibration):
        raise SzilardError("there are no calibration inputs; give at least 16, and better 512")
    parts = Calibration.of(calibration, network, hold_out=False, examples=EXAMPLES).inputs
    if any(isinstance(part, Whole) for part in parts):
        raise SzilardError(
            "the outputs of the network for an input depend on the other inputs of a batch, so that one input has no "
            "cost of its own; use szilard.compress"
        )
    if not all(isinstance(part, Tensor) and part.is_floating_point() for part in parts):
        raise SzilardError(
            "the network does not take one tensor of floats, which a search for a policy needs; use szilard.compress"
        )
    inputs = torch.cat(parts)[:EXAMPLES]
    if len(inputs) < LEAST:
        raise SzilardError(
            f"{len(inputs)} calibration inputs are too few; give at least {LEAST}, and better 512"
        )
    return inputs


def _training(given: tuple[Tensor, Tensor | None] | None, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
    if given is None:
        return inputs, None
    x, y = given
    if x.shape[1:] != inputs.shape[1:]:
        raise SzilardError(
            f"the training inputs have shape {list(x.shape)}, and those of the calibration {list(inputs.shape)}; give "
            "inputs of one shape"
        )
    if y is not None and len(y) != len(x):
        raise SzilardError(f"there are {len(x)} training inputs and {len(y)} labels; give as many")
    return x, y
