"""A finished network on disk, with all that is needed to ask it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from szilard import methods, networks
from szilard.data import DataSet, Task
from szilard.errors import SzilardError
from szilard.methods import Method
from szilard.training import checkpoint


@dataclass(frozen=True, eq=False)
class Finished:
    """A trained network, its method, and how its inputs and answers are to be read.

    Attributes:
        network: in eval mode.
        method: which knows how to predict.
        network_spec: how the network was built, or None if it was given as an object.
        task, input_shape, n_outputs, classes, feature_names: of the data it was trained on.
        shift, scale, target_shift, target_scale: normalisation, as in :class:`szilard.data.DataSet`.
        data: the arguments of :func:`szilard.data.load` that made its data, empty if they are not known.
    """

    network: nn.Module
    method: Method
    network_spec: str | None
    task: Task
    input_shape: tuple[int, ...]
    n_outputs: int
    classes: tuple[str, ...]
    feature_names: tuple[str, ...]
    shift: Tensor
    scale: Tensor
    target_shift: float
    target_scale: float
    data: dict[str, Any] = field(default_factory=dict)

    def normalise(self, raw: Tensor) -> Tensor:
        """Inputs as the network wants them, from pictures in [0, 1] or features: ``[N, *input_shape]``."""
        return (raw.float() - self.shift) / self.scale


def save(
    path: Path,
    method: Method,
    network: nn.Module,
    data: DataSet,
    *,
    options: dict[str, Any],
    network_spec: str | None,
    source: dict[str, Any],
) -> None:
    """Write a network that has been trained on ``data``.

    Args:
        options: with which :func:`szilard.methods.make` made the method.
        source: the arguments of :func:`szilard.data.load`.

    Raises:
        SzilardError: disk full or folder not writable.
    """
    content = {
        "network_spec": network_spec,
        "method": method.name,
        "method_options": options,
        "n_data": method.n_data,
        "method_state": method.state_dict(),
        "task": data.task,
        "input_shape": list(data.input_shape),
        "n_outputs": data.n_outputs,
        "classes": list(data.classes),
        "feature_names": list(data.feature_names),
        "shift": data.shift,
        "scale": data.scale,
        "target_shift": data.target_shift,
        "target_scale": data.target_scale,
        "data": source,
        "state_dict": {name: value.cpu() for name, value in network.state_dict().items()},
    }
    checkpoint.save(path, "network", content)


def load(path: Path, network_spec: str | None = None) -> Finished:
    """Open a ``network.pt``.

    Args:
        network_spec: builds the network, if the file does not say how or says what has moved.

    Raises:
        SzilardError: not a finished network, cut short, or not of the network that the spec builds.
    """
    content = checkpoint.load(path, "network")
    spec = network_spec or content["network_spec"]
    if spec is None:
        raise SzilardError(
            f"{path} does not say how its network is built; add --network, for instance file.py:function"
        )
    shape, n_outputs = tuple(content["input_shape"]), content["n_outputs"]
    method = methods.make(content["method"], content["n_data"], **content["method_options"])
    network = method.prepare(networks.build(spec, shape, n_outputs), content["task"])
    load_state(path, network, content["state_dict"])
    method.load_state_dict(content["method_state"])
    return Finished(
        network=network.eval(),
        method=method,
        network_spec=spec,
        task=content["task"],
        input_shape=shape,
        n_outputs=n_outputs,
        classes=tuple(content["classes"]),
        feature_names=tuple(content["feature_names"]),
        shift=content["shift"],
        scale=content["scale"],
        target_shift=content["target_shift"],
        target_scale=content["target_scale"],
        data=content["data"],
    )


def load_state(path: Path, network: nn.Module, state: Any) -> None:
    """Load a state dict that was read from ``path``, all of it or nothing.

    Raises:
        SzilardError: names or shapes do not match the network's.
    """
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise SzilardError(f"{path} holds no state dict of tensors; save network.state_dict()")
    checkpoint.check_shapes(path, state, network.state_dict())
    network.load_state_dict(state)
