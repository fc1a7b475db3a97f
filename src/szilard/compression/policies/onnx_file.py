"""The ``.onnx`` file of a finished network, and its quality beside that of the original."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from szilard.compression.policies.compiled_policy import compile_policy
from szilard.compression.policies.file_units import in_units, of_file
from szilard.compression.policies.policy import Policy
from szilard.deploy import Compiled
from szilard.deploy.int8 import Evaluation, quality

EXAMPLES = 16  # on which the file is compared with PyTorch


@dataclass(frozen=True, eq=False)
class OnnxFile:
    """A compiled network and its quality.

    Attributes:
        compiled: the network of the file.
        before, after: quality of the original and of this network on the evaluation data, both in the runtime; empty
            without data.
    """

    compiled: Compiled
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        """The bytes of the file."""
        return bytes(self.compiled.run.content)  # type: ignore[attr-defined]


def onnx_file(
    original: nn.Module,
    network: nn.Module,
    policy: Policy,
    untouched: Policy,
    inputs: Tensor,
    *,
    evaluation: Evaluation | None,
    threads: int,
    deployed: Mapping[str, Any],
) -> OnnxFile:
    """Compile a finished network, and judge it and the original in the runtime.

    Args:
        original: network.
        network: the small one, in float32.
        policy: that made it.
        untouched: the policy that leaves the original as it is.
        inputs: of the calibration, in the units of the network.
        evaluation: in the units of the network, or None.
        threads: of the runtime.
        deployed: further arguments of :func:`szilard.deploy.compile`. With its ``inputs`` (units), the file takes
            inputs in these, and all data here are converted.

    Raises:
        SzilardError: as :func:`szilard.compression.policies.compiled_policy.compile_policy`.
    """
    given = in_units(deployed.get("inputs"), inputs)
    arguments = {"threads": threads, **deployed}
    compiled = compile_policy(network, policy, given[:EXAMPLES], given, **arguments)
    if evaluation is None:
        return OnnxFile(compiled)
    data = of_file(evaluation, deployed)
    first = compile_policy(original, untouched, given[:EXAMPLES], given, **arguments)
    return OnnxFile(compiled, quality(first, data), quality(compiled, data))
