"""Write a trained network, or its description for a ``.szd`` file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from szilard.data import DataSet
from szilard.methods import Method
from szilard.model import checkpoint, schema, trust
from szilard.model.saved_network.network import SavedNetwork
from szilard.model.schema import Saved


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
    """Write a network that was trained on ``data``.

    Args:
        options: the arguments of :func:`szilard.methods.make` for the method.
        source: the arguments of :func:`szilard.data.load`.

    Raises:
        SzilardError: disk full or folder not writable.
    """
    spec, source = trust.absolute_network(network_spec), trust.absolute_data(source)
    content = {
        "network_spec": spec,
        "network_signature": trust.sign_network(spec),
        "method": method.name,
        "method_options": options,
        "n_data": method.n_data,
        "method_state": method.state_dict(),
        "task": data.task,
        "input_shape": list(data.input_shape),
        "n_outputs": data.n_outputs,
        "classes": list(data.classes),
        "feature_names": list(data.feature_names),
        "shift": schema.narrow(data.shift, data.input_shape),
        "scale": schema.narrow(data.scale, data.input_shape),
        "target_shift": _plain(data.target_shift),
        "target_scale": _plain(data.target_scale),
        "targets": list(data.targets),
        "data": source,
        "data_signature": trust.sign_data(source),
        "image_range": list(data.image_range),
        "reading": None if data.reading is None else data.reading.to_dict(),
        "state_dict": {name: value.cpu() for name, value in network.state_dict().items()},
    }
    checkpoint.save(path, "network", content)


def to_meta(found: SavedNetwork) -> dict[str, Any]:
    """The metadata, as JSON values, that :func:`load` needs in a ``.szd`` file in addition to the tensors."""
    spec = trust.absolute_network(found.network_spec)
    source = trust.absolute_data(found.data) if found.data_trusted else found.data
    return meta_of(
        Saved(
            network_spec=spec,
            network_signature=trust.sign_network(spec),
            method=found.method.name,
            method_options=found.options,
            n_data=found.method.n_data,
            method_state=Method.state_dict(found.method),
            task=found.task,
            input_shape=found.input_shape,
            n_outputs=found.n_outputs,
            classes=found.classes,
            feature_names=found.feature_names,
            shift=schema.narrow(found.shift, found.input_shape),
            scale=schema.narrow(found.scale, found.input_shape),
            target_shift=_plain(found.target_shift),
            target_scale=_plain(found.target_scale),
            targets=found.targets,
            data=source,
            data_signature=trust.sign_data(source) if found.data_trusted else None,
            answers=found.answers,
            noise=found.noise,
            image_range=found.image_range,
            reading=None if found.reading is None else found.reading.to_dict(),
        )
    )


def meta_of(saved: Saved) -> dict[str, Any]:
    """Like :func:`to_meta`, from the fields of a ``network.pt``; its signatures are kept."""
    fields = {one.name: getattr(saved, one.name) for one in dataclasses.fields(saved)}
    for name, value in fields.items():
        if isinstance(value, Tensor):
            fields[name] = value.tolist()
        elif isinstance(value, tuple):
            fields[name] = list(value)
    return {"network": fields}


def _plain(units: float | Tensor) -> float | list[float]:
    """Shift or scale of targets, as JSON values."""
    return [float(value) for value in units] if isinstance(units, Tensor) else units
