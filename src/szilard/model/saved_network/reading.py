"""Open a trained network, after everything in its file has been checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from szilard import file, methods, networks
from szilard.data.reading import Reading
from szilard.data.unseen import StandIns
from szilard.errors import OwnCodeError, SzilardError
from szilard.file.error import SzilardFileError, printable
from szilard.file.state import with_meta
from szilard.likelihood.targets import of_data
from szilard.methods import Method
from szilard.model import checkpoint, formats, schema, trust
from szilard.model.formats import Format
from szilard.model.saved_network.network import SavedNetwork
from szilard.model.schema import Saved
from szilard.model.weights import fill, load_state, state_of

_MOST_BYTES = 40  # per entry of a network: mean, ln σ and index, in double precision
_FREE_BYTES = 64 << 20


def load(
    path: Path | str,
    network_spec: str | None = None,
    *,
    trusted: bool = False,
    tell: Callable[[str], object] | None = None,
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
    path = Path(path)
    try:
        with checkpoint.reading(path, "network"):
            return _load(path, network_spec, trusted, tell)
    except (SzilardFileError, OwnCodeError):
        raise
    except SzilardError as error:
        raise SzilardFileError(f"{path} cannot be opened: {error}") from error


def _load(
    path: Path, network_spec: str | None, trusted: bool, tell: Callable[[str], object] | None
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
        # Read again together with the tensors: the file can have been replaced.
        state, meta = with_meta(path)
        saved = _described(path, meta)
    else:
        content = checkpoint.load(path, "network")
        saved, state = schema.read(path, content), content.get("state_dict")
    spec = _spec(path, saved, network_spec, trusted)
    state = state_of(path, state)
    method = methods.make(saved.method, saved.n_data, **saved.method_options)
    task = of_data(saved.task).meaning(saved.n_outputs)
    # The names show which weights were converted in training; the rules for conversion can have changed.
    method.stored = frozenset(state)
    if networks.is_code(spec):
        known = network_spec is not None or trust.knows_network(spec, saved.network_signature)
        if not known and tell is not None:
            tell(f"running {printable(spec.rpartition(':')[0])}, named by {path}")
        network = method.prepare(
            networks.build(spec, saved.input_shape, saved.n_outputs), task, saved.input_shape
        )
        network = _as_stored(network, state)
        method.match_supports(network, state)
        load_state(path, network, state)
    else:
        network = method.prepare(
            networks.outline(spec, saved.input_shape, saved.n_outputs), task, saved.input_shape
        )
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
        image_range=saved.image_range,
    )


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
