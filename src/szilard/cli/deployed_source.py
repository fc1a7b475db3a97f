"""Networks to deploy, and what their inputs and outputs mean."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from szilard.data.image_range import Range
from szilard.deploy import Units
from szilard.networks.float_type import float_type


@dataclass(frozen=True, eq=False)
class Source:
    """Networks, and what their inputs and outputs mean.

    Attributes:
        networks: in eval mode; several for an ensemble.
        task: name of the task, or the likelihood of the outputs.
        examples: inputs ``[N, *shape]`` in the units of the data.
        split: name of the split that they are from; empty where they were made up.
        calibration: divides logits.
        inputs, targets: units, or None.
        labels: names of classes or targets.
        features: names of the features of a table.
        name: of the task, for the file.
        method: name of the method, or empty.
        validation: inputs of the validation split in the units of the data, or None.
        variance_factor: of the variance of the outputs in one pass; of an ensemble one for each member, too.
        image_range: lowest and highest value of the training images; None: not known.
        fill: of each feature, what stands for a missing cell; empty if training refused them or left them out.
    """

    networks: tuple[nn.Module, ...]
    task: Any
    examples: Tensor
    split: str
    calibration: float = 1.0
    inputs: Units | None = None
    targets: Units | None = None
    labels: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    name: str = ""
    method: str = ""
    validation: Tensor | None = None
    variance_factor: float | tuple[float, ...] = 1.0
    image_range: Range | None = None
    fill: tuple[float, ...] = ()

    @property
    def normalises(self) -> bool:
        """Whether shift and scale of the training data are part of what is compiled."""
        return self.inputs is not None

    @property
    def range_of_inputs(self) -> Range | None:
        """The range of the training images, if inputs are images in their units."""
        images = self.inputs is not None and self.examples.dim() == 4 and not self.features
        return self.image_range if images and self.examples.is_floating_point() else None

    @property
    def metadata(self) -> dict[str, str]:
        """What the file says besides its description: only what a reader needs, and no path of this machine."""
        shape = list(self.examples.shape[1:])
        kind = str(self.examples.dtype).removeprefix("torch.")
        if self.features:
            inputs = f"{kind} [B, {len(self.features)}]: the features of the table in its units"
        elif self.range_of_inputs is not None:
            low, high = self.range_of_inputs
            inputs = f"{kind} [B, {', '.join(map(str, shape))}]: images with values from {low:g} to {high:g}"
        else:
            inputs = f"{kind} [B, {', '.join(map(str, shape))}]"
        if not self.normalises:
            inputs += "; the file does not normalise them: give them as the network was trained on them"
        found = {
            "task": self.name,
            "inputs": inputs,
            "features": json.dumps(self.features),
            "fill": json.dumps(self.fill),
            "target": json.dumps([] if self.targets is None else self.targets.names),
            "method": self.method,
        }
        return {key: value for key, value in found.items() if value not in ("", "[]")}

    def in_type_of_network(self) -> Source:
        """With examples in the floating type of the network; those of data are float32."""
        kind = float_type(self.networks[0])

        def cast(x: Tensor) -> Tensor:
            return x.to(kind) if x.is_floating_point() else x

        validation = None if self.validation is None else cast(self.validation)
        return replace(self, examples=cast(self.examples), validation=validation)
