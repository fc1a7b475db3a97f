"""A trained network on disk, with everything needed to predict with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from szilard import _moved, file, methods, networks
from szilard.data import DataSet
from szilard.data.reading import Reading
from szilard.data.unseen import StandIns
from szilard.errors import OwnCodeError, SzilardError
from szilard.file.error import SzilardFileError, printable
from szilard.file.state import with_meta
from szilard.likelihood.targets import DataTargets, TaskName, of_data
from szilard.methods import Method
from szilard.model import checkpoint, formats, schema, stored, trust
from szilard.model.formats import Format
from szilard.model.schema import Saved
from szilard.model.stored import Stored
from szilard.model.weights import fill, load_state, state_of

__all__ = [
    "SUFFIX",
    "SavedNetwork",
    "is_finished",
    "load",
    "load_state",
    "meta_of",
    "plain_state",
    "save",
    "state_of",
    "to_meta",
]

SUFFIX = formats.SZD
_MOST_BYTES = 40  # per entry of a network: mean, ln σ and index, in double precision
_FREE_BYTES = 64 << 20


@dataclass(frozen=True, eq=False)
class SavedNetwork:
    """A trained network, its method, and a description of its inputs and outputs.

    Attributes:
        network: in eval mode.
        method: which predicts with the network.
        network_spec: how the network was built, or None if it was given as an object.
        task, input_shape, n_outputs, classes, targets, feature_names: of the training data.
        shift, scale, target_shift, target_scale: normalisation, as in :class:`szilard.data.DataSet`.
        data: the arguments of :func:`szilard.data.load` for its data, empty if not known.
        options: the arguments of :func:`szilard.methods.make` for the method.
        reading: how new rows of a table are read; None for other data and for files of earlier versions.
        data_trusted: whether paths in ``data`` can be opened, see :mod:`szilard.model.trust`.
        answers: form of the outputs of an external network, as the command line names it; empty: as they are.
        noise: for an external regression network that outputs only means, the noise standard deviation in the
            network's units; None if the network outputs it.
    """

    network: nn.Module
    method: Method
    network_spec: str | None
    task: TaskName
    input_shape: tuple[int, ...]
    n_outputs: int
    classes: tuple[str, ...]
    feature_names: tuple[str, ...]
    shift: Tensor
    scale: Tensor
    target_shift: float | Tensor
    target_scale: float | Tensor
    data: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    data_trusted: bool = True
    answers: str = ""
    noise: float | None = None
    reading: Reading | None = None
    targets: tuple[str, ...] = ()

    @property
    def target_type(self) -> DataTargets:
        """The type of the targets of its data."""
        return of_data(self.task)

    @classmethod
    def plain(
        cls, network: nn.Module, data: DataSet, *, network_spec: str | None, source: dict[str, Any]
    ) -> SavedNetwork:
        """An external network whose outputs need no conversion, with the data that it is for."""
        method = methods.Deterministic(max(1, len(data.train)))
        method.set_task(data.target_type.meaning(data.n_outputs))
        method.stand_ins = StandIns.of(data.reading, data.shift, data.scale)
        return cls(
            network.eval(), method, network_spec, data.task, data.input_shape, data.n_outputs, data.classes,
            data.feature_names, data.shift, data.scale, data.target_shift, data.target_scale, source,
            reading=data.reading, targets=data.targets,
        )  # fmt: skip

    def normalise(self, raw: Tensor) -> Tensor:
        """Network inputs ``[N, *input_shape]`` from images in [0, 1] or raw features."""
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
        "reading": None if data.reading is None else data.reading.to_dict(),
        "state_dict": {name: value.cpu() for name, value in network.state_dict().items()},
    }
    checkpoint.save(path, "network", content)


def load(
    path: Path,
    network_spec: str | None = None,
    *,
    trusted: bool = False,
    tell: Callable[[str], None] | None = None,
) -> SavedNetwork:
    """Open a ``network.pt``, or a ``.szd`` file with a description of its network.

    No code from the file is run, nothing is downloaded, and no other file is opened, with one exception: if your own
    Python file built the network, that file is run again to build it. This happens only if ``network_spec`` names it,
    if ``trusted`` is true, or if its name is signed by your own ``szilard fit`` or ``compress`` on this machine
    (:mod:`szilard.model.trust`), and after everything else in the file was checked.

    Args:
        path: of the file.
        network_spec: builds the network, if the file does not name its code or the code has moved.
        trusted: run the Python file and read the data that the file names, regardless of who wrote it.
        tell: called with one line of text before a Python file is run because of ``trusted``.

    Raises:
        SzilardFileError: not a saved network, truncated, not of the network that the spec builds, or it names code that
            is not trusted.
    """
    try:
        with checkpoint.reading(path, "network"):
            return _load(path, network_spec, trusted, tell)
    except (SzilardFileError, OwnCodeError):
        raise
    except SzilardError as error:
        raise SzilardFileError(f"{path} cannot be opened: {error}") from error


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


def is_finished(path: Path) -> bool:
    """Whether a file describes its network, in contrast to a bare state dict.

    Raises:
        SzilardError: it cannot be read.
    """
    kind = formats.of(path)
    if kind == Format.SZD:
        return "network" in file.inspect(path).meta
    if kind != Format.TORCH:
        return False
    content = checkpoint.load_plain(path, "network", lenient=True)
    return isinstance(content, dict) and "szilard" in content


def plain_state(path: Path) -> Stored:
    """The tensors in a file of weights, for :func:`load_state`."""
    return stored.read(path)


def _load(
    path: Path, network_spec: str | None, trusted: bool, tell: Callable[[str], None] | None
) -> SavedNetwork:
    kind = formats.of(path)
    if kind in (Format.SAFETENSORS, Format.TORCHSCRIPT):
        raise SzilardFileError(
            f"{path} is not a network of szilard but {kind.value}, which does not describe its inputs and outputs; "
            "give a file that szilard fit or szilard compress wrote"
        )
    if kind == Format.SZD:
        # The description is checked first, so that an invalid file is not decoded.
        ledger = file.inspect(path)
        saved = _described(path, ledger.meta)
        _check_size(path, saved, _spec(path, saved, network_spec, trusted), ledger.output_bytes)
        state: Any
        state, meta = with_meta(path)
        saved = _described(
            path, meta
        )  # read again together with the tensors: the file can have been replaced
    else:
        content = checkpoint.load(path, "network")
        saved, state = schema.read(path, content), content.get("state_dict")
    spec = _spec(path, saved, network_spec, trusted)
    state = state_of(path, state)
    method = methods.make(saved.method, saved.n_data, **saved.method_options)
    task = of_data(saved.task).meaning(saved.n_outputs)
    method.stored = frozenset(
        state
    )  # the weights that were converted in training; the rules for conversion can have changed
    if networks.is_code(spec):
        if (
            network_spec is None
            and not trust.knows_network(spec, saved.network_signature)
            and tell is not None
        ):
            tell(f"running {printable(spec.rpartition(':')[0])}, named by {path}")
        network = method.prepare(networks.build(spec, saved.input_shape, saved.n_outputs), task)
        network = _as_stored(network, state)
        method.match_supports(network, state)
        load_state(path, network, state)
    else:
        network = method.prepare(networks.outline(spec, saved.input_shape, saved.n_outputs), task)
        network = _as_stored(network, state)
        fill(path, method, network, state)
    method.stored = ()
    reading = None if saved.reading is None else Reading.from_dict(saved.reading)
    method.stand_ins = StandIns.of(reading, saved.shift, saved.scale)
    Method.load_state_dict(method, saved.method_state)  # the rest of the state is only for training
    return SavedNetwork(
        network=network.eval(),
        method=method,
        network_spec=spec,
        task=saved.task,
        input_shape=saved.input_shape,
        n_outputs=saved.n_outputs,
        classes=saved.classes,
        feature_names=saved.feature_names,
        shift=saved.shift,
        scale=saved.scale,
        target_shift=_units(saved.target_shift),
        target_scale=_units(saved.target_scale),
        targets=saved.targets,
        data=saved.data,
        options=saved.method_options,
        data_trusted=trusted or trust.knows_data(saved.data, saved.data_signature),
        answers=saved.answers,
        noise=saved.noise,
        reading=reading,
    )


def _plain(units: float | Tensor) -> float | list[float]:
    """Shift or scale of targets, as JSON values."""
    return [float(value) for value in units] if isinstance(units, Tensor) else units


def _units(plain: float | list[float]) -> float | Tensor:
    return torch.tensor(plain, dtype=torch.float64) if isinstance(plain, list) else plain


def _as_stored(network: nn.Module, state: Mapping[str, Any]) -> nn.Module:
    """Without the noise outputs of a regression if the file has none: an external network that was only compressed."""
    if isinstance(network, networks.WithNoise) and "log_noise" not in state:
        return network.network
    return network


def _check_size(path: Path, saved: Saved, spec: str, declared: int) -> None:
    """Refuse tensors that are much larger than those of the named network, before they are decoded."""
    if networks.is_code(spec):
        return
    outline = networks.outline(spec, saved.input_shape, saved.n_outputs)
    entries = sum(tensor.numel() for tensor in (*outline.parameters(), *outline.buffers()))
    if declared > _FREE_BYTES + _MOST_BYTES * entries:
        raise SzilardFileError(
            f"{path} declares {declared} bytes of tensors, far more than {spec[:80]!r} with {entries} entries can "
            "have; download the file again, or open its tensors with szilard.load"
        )


def _described(path: Path, meta: dict[str, Any]) -> Saved:
    if "network" not in meta:
        raise SzilardFileError(
            f"{path} has tensors but does not describe their network; add --network, for instance file.py:function"
        )
    return schema.read(path, meta["network"])


def _spec(path: Path, saved: Saved, network_spec: str | None, trusted: bool) -> str:
    """How the network is built: as given by the user, or as in the file if that is trusted."""
    if network_spec is not None:
        return network_spec
    spec = saved.network_spec
    if spec is None:
        raise SzilardFileError(
            f"{path} does not state how its network is built; add --network, for instance file.py:function"
        )
    if not trusted and not trust.knows_network(spec, saved.network_signature):
        raise SzilardFileError(
            f"{path} needs to run {printable(spec)}, and your own szilard did not write that name; "
            "add --trust (in Python: trusted=True) if you trust it, or give your own code with --network"
        )
    return spec


def __getattr__(name: str) -> Any:
    return _moved.name_of(__name__, name)
