"""The ``.szd`` file of a network under a policy: a quick one inside the search, and the one that is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from szilard import deploy, file
from szilard.compression.channels.units import ChannelUnits
from szilard.compression.document import to_document
from szilard.compression.draft import Draft
from szilard.compression.layers import tensors
from szilard.compression.policies.file_units import UNITS, in_units, of_file
from szilard.compression.policies.finishing import to_file
from szilard.compression.policies.policy import FLOAT, Policy
from szilard.compression.row_rounding import by_row
from szilard.deploy.int8 import Evaluation, quality
from szilard.likelihood import Likelihood
from szilard.networks import copied


@dataclass(frozen=True, eq=False)
class SzdFile:
    """A file and the quality of its network.

    Attributes:
        content: the bytes.
        network: that the file holds, of the original's class, in eval mode.
        before, after: quality of the original and of this network; empty without evaluation data.
        notes: of the compression.
    """

    content: bytes
    network: nn.Module
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def coded(network: nn.Module, policy: Policy, meta: Mapping[str, Any]) -> bytes:
    """A small network with each row of a layer's weight rounded to the policy's bits, coded.

    It takes a fraction of a second, and is what the search compares policies by.

    Args:
        network: of the policy, with plain layers; it is not changed.
        policy: whose ``weight_bits`` are used.
        meta: of the file.
    """
    draft = Draft(copied(network))
    bits = {f"{layer.name}.weight": layer.weight_bits for layer in policy.layers}
    for name, _, weight in tensors(draft):
        if weight.dim() > 1 and bits.get(name, FLOAT) < FLOAT:
            draft.set(name, by_row(weight.cpu().reshape(len(weight), -1), bits[name]))
    return file.encode(to_document(draft, meta))[0]


def szd_file(
    small: nn.Module,
    original: nn.Module,
    units: ChannelUnits,
    kept: Mapping[str, Sequence[int]],
    inputs: Tensor,
    *,
    max_bytes: int | None,
    evaluation: Evaluation | None,
    likelihood: Likelihood,
    deployed: Mapping[str, Any],
    meta: Mapping[str, Any],
    seed: int,
) -> SzdFile:
    """The finished network as a file that opens into the original's class, rounded by curvature.

    Args:
        small: the finished small network, in float32.
        original: network.
        units: of the original.
        kept: positions of the units that stayed.
        inputs: of the calibration.
        max_bytes: largest size; None: as small as :func:`szilard.compress` makes it by default.
        evaluation: data that judge, or None.
        likelihood: of the outputs.
        deployed: arguments of :func:`szilard.deploy.compile`; of its units the quality is.
        meta: of the file.
        seed: of the compression.
    """
    options: dict[str, Any] = {} if max_bytes is None else {"max_bytes": max_bytes}
    made = to_file(small, original, units, kept, inputs, meta=meta, seed=seed, progress=False, **options)
    if evaluation is None:
        return SzdFile(made.data, made.network, notes=made.notes)
    asked = {"task": likelihood, **{name: value for name, value in deployed.items() if name in UNITS}}
    example, data = in_units(asked.get("inputs"), inputs[:2]), of_file(evaluation, asked)
    before, after = (
        quality(deploy.compile(network, example, backend="eager", **asked), data)
        for network in (original, made.network)
    )
    return SzdFile(made.data, made.network, before, after, made.notes)
