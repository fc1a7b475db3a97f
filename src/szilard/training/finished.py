"""A finished network on disk, with all that is needed to ask it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from szilard import file, methods, networks
from szilard.data import DataSet, Task
from szilard.errors import SzilardError
from szilard.methods import Method
from szilard.training import checkpoint

SUFFIX = ".szd"
_PARALLEL = "module."


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
        options: with which :func:`szilard.methods.make` made the method.
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
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def plain(
        cls, network: nn.Module, data: DataSet, *, network_spec: str | None, source: dict[str, Any]
    ) -> Finished:
        """Somebody's network whose answers are taken as they are, with the data that it is for."""
        method = methods.Deterministic(max(1, len(data.train)))
        method.task = data.task
        return cls(
            network.eval(), method, network_spec, data.task, data.input_shape, data.n_outputs, data.classes,
            data.feature_names, data.shift, data.scale, data.target_shift, data.target_scale, source,
        )  # fmt: skip

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
    """Open a ``network.pt``, or a ``.szd`` file that says what network it holds.

    Args:
        network_spec: builds the network, if the file does not say how or says what has moved.

    Raises:
        SzilardError: not a finished network, cut short, or not of the network that the spec builds.
    """
    if path.suffix == SUFFIX:
        return _from_szd(path, network_spec)
    content = checkpoint.load(path, "network")
    found = _restore(path, content, content["state_dict"], network_spec)
    found.method.load_state_dict(content["method_state"])
    return found


def to_meta(found: Finished) -> dict[str, Any]:
    """What a ``.szd`` file must hold beside the tensors for :func:`load`, as JSON."""
    return {
        "network": {
            "network_spec": found.network_spec,
            "method": found.method.name,
            "method_options": found.options,
            "n_data": found.method.n_data,
            "method_state": Method.state_dict(found.method),
            "task": found.task,
            "input_shape": list(found.input_shape),
            "n_outputs": found.n_outputs,
            "classes": list(found.classes),
            "feature_names": list(found.feature_names),
            "shift": found.shift.tolist(),
            "scale": found.scale.tolist(),
            "target_shift": found.target_shift,
            "target_scale": found.target_scale,
            "data": found.data,
        }
    }


def is_finished(path: Path) -> bool:
    """Whether a file says what network it holds, rather than being a bare state dict.

    Raises:
        SzilardError: it cannot be read.
    """
    if path.suffix == SUFFIX:
        return "network" in file.read(path).meta
    content = checkpoint.load_plain(path, "network")
    return isinstance(content, dict) and "szilard" in content


def plain_state(path: Path) -> Any:
    """The state dict in a bare ``.szd`` file or one of ``torch.save``."""
    if path.suffix == SUFFIX:
        return file.load(path)
    content = checkpoint.load_plain(path, "file")
    return content.get("state_dict", content) if isinstance(content, dict) else content


def _from_szd(path: Path, network_spec: str | None) -> Finished:
    document = file.read(path)
    content = document.meta.get("network")
    if not isinstance(content, dict):
        raise SzilardError(
            f"{path} holds tensors and does not say of which network; load them with szilard.load"
        )
    try:
        content = content | {key: torch.tensor(content[key]) for key in ("shift", "scale")}
        found = _restore(path, content, file.to_state_dict(document), network_spec)
        Method.load_state_dict(found.method, content["method_state"])  # the rest of it only serves training
    except (KeyError, TypeError, ValueError) as error:
        raise SzilardError(
            f"{path} describes its network in a way that cannot be read ({error!r})"
        ) from error
    return found


def _restore(path: Path, content: dict[str, Any], state: Any, network_spec: str | None) -> Finished:
    spec = network_spec or content["network_spec"]
    if spec is None:
        raise SzilardError(
            f"{path} does not say how its network is built; add --network, for instance file.py:function"
        )
    shape, n_outputs = tuple(content["input_shape"]), content["n_outputs"]
    method = methods.make(content["method"], content["n_data"], **content["method_options"])
    network = method.prepare(networks.build(spec, shape, n_outputs), content["task"])
    method.fit_to(network, state)
    load_state(path, network, state)
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
        options=content["method_options"],
    )


def load_state(path: Path, network: nn.Module, state: Any) -> None:
    """Load a state dict that was read from ``path``, all of it or nothing.

    ``module.`` before every name, which nn.DataParallel puts there, is taken off; batch counters may be missing.

    Raises:
        SzilardError: names or shapes do not match the network's.
    """
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise SzilardError(f"{path} holds no state dict of tensors; save network.state_dict()")
    if state and all(name.startswith(_PARALLEL) for name in state):
        state = {name.removeprefix(_PARALLEL): value for name, value in state.items()}
    wanted = network.state_dict()
    counters = {name: value for name, value in wanted.items() if name.endswith("num_batches_tracked")}
    state = counters | dict(state)
    checkpoint.check_shapes(path, state, wanted)
    network.load_state_dict(state)
