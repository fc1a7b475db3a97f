"""Predictions of a network that Szilard did not train, for ``szilard predict``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from szilard import networks
from szilard.cli import inputs
from szilard.cli.external import build_record, examples, several_inputs, weights
from szilard.cli.external.candidate_units import in_units
from szilard.cli.external.network_and_data import open_network_and_data
from szilard.cli.external.network_and_examples import NetworkAndExamples
from szilard.cli.predictions import Predictions, in_units_of, of_predictive, of_tensors
from szilard.cli.request import Draws, Request, Tell
from szilard.compression.outputs import judged_output
from szilard.data.files import path_of
from szilard.data.npz import read_npz
from szilard.data.table import listed
from szilard.data.table_reading import read_table
from szilard.errors import SzilardError, first_line
from szilard.likelihood import Bernoulli, Categorical, Likelihood, choose
from szilard.metrics import Predictive
from szilard.model.evaluate import lacks_noise, with_noise
from szilard.model.saved_network import SavedNetwork
from szilard.networks.evaluating import evaluating
from szilard.networks.finite import advice
from szilard.networks.float_type import cast, precise

_BATCH = 256


def of_means(
    network: nn.Module, x: Tensor, shift: float | Tensor, scale: float | Tensor, targets: Sequence[str] = ()
) -> Predictions:
    """Predictions of a regression network that outputs a mean without its noise."""
    found = _outputs(network, x).double() * scale + shift
    return in_units_of(scale, {"mean": found if targets else found[:, 0]}, targets)


def of_weights(request: Request, name: str, draws: Draws, tell: Tell) -> Predictions:
    """Predictions of a network whose file holds weights alone.

    With ``--data``, labelled data determine the units of inputs and outputs, and the noise of a regression. Otherwise
    inputs are taken as they are in their file.

    Raises:
        SzilardError: the network is unknown, or does not take the inputs.
    """
    if request.spec is None and not build_record.is_in(request.path):
        raise SzilardError(
            f"{request.path} holds weights and does not say of which network; add "
            "--network, for instance file.py:function, or name a file that szilard fit or szilard compress wrote"
        )
    draws.tell_of_point(str(request.path), tell)
    if request.data_options.get("name") is None:
        return _of_weights_alone(request, name, tell)
    opened = open_network_and_data(request, tell)
    if opened.other_units:
        tell(opened.other_units)
    if isinstance(opened, NetworkAndExamples):
        record = opened.record
        x = _raw(name, record.input_shape, record)
        pair = None if record.shift is None or record.scale is None else (record.shift, record.scale)
        if pair is None and opened.data.train.x.is_floating_point():
            x = x.float()
        x = in_units(x, pair)
        return _by_meaning(
            opened.network, x, opened.valid.choice.likelihood, opened.data.outputs, opened.target
        )
    network = opened.for_method()
    if lacks_noise(network, opened.data):
        network = with_noise(network, opened.data)
    stored = {key: value for key, value in request.data_options.items() if value is not None}
    found = SavedNetwork.plain(network, opened.data, network_spec=opened.spec, source=stored)
    root = request.data_options.get("root")
    x = inputs.read(name, found, None if root is None else Path(root))
    predictive = found.method.predict(network, x, samples=draws.samples, seed=draws.seed)
    return of_predictive(predictive, found.classes, found.target_shift, found.target_scale, found.targets)


def _of_weights_alone(request: Request, name: str, tell: Tell) -> Predictions:
    record = build_record.read(request.path, request.spec, trusted=request.trusted)
    spec = request.spec if record is None else record.spec
    x = _raw(name, None if record is None else record.input_shape, record)
    shape = tuple(x.shape[1:])
    network, _ = weights.network_of(
        request.path, spec, request.key, request.trusted,
        lambda named: networks.build_for(named, shape, None if record is None else record.n_outputs), tell,
    )  # fmt: skip
    network.eval()
    several_inputs.refuse(network, {"name": name})
    if request.normalisation.typed:
        x = in_units(x, request.normalisation.numbers(shape))
    elif record is not None and record.shift is not None and record.scale is not None:
        x = in_units(x, (record.shift, record.scale))
    elif record is None or not record.judged:
        tell(
            f"inputs are taken as they are in {name}; --data with the labelled data finds out in which units the "
            "network takes them, or --mean and --std say so"
        )
    task = request.task or (record.task if record is not None else "") or None
    output = _outputs(network, x)
    choice = choose(output, task=task)
    reason = choice.reason if request.task or not task else f"as {request.path} says"
    tell(f"outputs are read as {choice.likelihood.name} ({reason})")
    names: tuple[str, ...] = ()
    target = None
    if record is not None:
        names = record.outputs
        if record.target_shift is not None and record.target_scale is not None:
            target = record.target_shift, record.target_scale
    return _by_meaning(network, x, choice.likelihood, names, target, output)


def _raw(name: str, shape: tuple[int, ...] | None, record: build_record.BuildRecord | None) -> Tensor:
    """New inputs as they are in a file: an array x, or columns of numbers.

    Columns are found by name where the names are known; otherwise all are taken but those of the outputs.
    """
    path = path_of(name)
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        table = read_table(path)
        known, outputs = ((), ()) if record is None else (record.columns, record.outputs)
        return examples.features(table, known or [name for name in table.names if name not in outputs])
    if suffix != ".npz":
        raise SzilardError(
            f"{name} is not a file of inputs; name an .npz file with an array x, or a .csv file, or say with --data "
            "which data the network is for"
        )
    arrays = read_npz(path)
    key = next((k for k in ("x", "x_test") if k in arrays), next(iter(arrays)) if len(arrays) == 1 else None)
    if key is None:
        raise SzilardError(f"{path} holds {listed(sorted(arrays)) or 'nothing'}; name the inputs x")
    return _ordered(examples.inputs(arrays[key], f"{key} of {path}"), shape)


def _ordered(x: Tensor, shape: tuple[int, ...] | None) -> Tensor:
    """Images with their channels where the network takes them, if the shape of its inputs is known."""
    if shape is None or x.shape[1:] == shape:
        return x
    if x.dim() == 3 and (1, *x.shape[1:]) == shape:
        return x.unsqueeze(1)
    if x.dim() != 4:
        return x
    moved = next((t for t in (x.movedim(1, 3), x.movedim(3, 1)) if t.shape[1:] == shape), None)
    return x if moved is None else moved.contiguous()


@torch.no_grad()
def _outputs(network: nn.Module, x: Tensor) -> Tensor:
    if not len(x):
        raise SzilardError("there are no inputs; there is nothing to predict")
    found, error = _call(network, x)
    if error is not None and not x.is_floating_point():  # integers that are not tokens
        found, _ = _call(network, x.float())
    if found is None:
        raise SzilardError(
            f"the network does not take inputs of shape {list(x.shape[1:])}: "
            f"{'' if error is None else first_line(error)}; give inputs of another shape"
        ) from error
    if found.dim() == 0 or len(found) != len(x):
        raise SzilardError(
            f"the network outputs shape {list(found.shape)} for {len(x)} inputs; the first dimension must be the "
            "number of inputs"
        )
    if not bool(torch.isfinite(found).all()):
        raise SzilardError(
            "the network outputs NaN or infinite values; "
            + advice(network, "check that inputs are in the units that it takes")
        )
    return found


def _call(network: nn.Module, x: Tensor) -> tuple[Tensor | None, Exception | None]:
    try:
        with evaluating(network):
            parts = [precise(judged_output(network(cast(network, part)))).cpu() for part in x.split(_BATCH)]
        return torch.cat(parts), None
    except SzilardError:
        raise
    except Exception as error:  # inputs of a wrong shape may raise anything
        return None, error


def _by_meaning(
    network: nn.Module,
    x: Tensor,
    likelihood: Likelihood,
    names: Sequence[str],
    target: tuple[Tensor, Tensor] | None,
    output: Tensor | None = None,
) -> Predictions:
    """Columns by the meaning of the outputs."""
    output = _outputs(network, x) if output is None else output
    if isinstance(likelihood, Categorical):
        logits = likelihood.logits(output)
        if logits.dim() != 2:
            raise SzilardError(
                f"the network outputs shape {list(output.shape[1:])} for each input, and a table has one line for each "
                "input; call it in Python"
            )
        known = [*names, *map(str, range(len(names), logits.shape[1]))]
        return of_predictive(Predictive.from_logits(logits[None]), known, 0.0, 1.0)
    if isinstance(likelihood, Bernoulli):
        output, kind = likelihood.logits(output).sigmoid(), "probability"
    else:
        kind = "output"
        if target is not None:
            output = output.double() * target[1] + target[0]
    flat = output.reshape(len(output), -1)
    several = flat.shape[1] > 1
    known = list(names) if len(names) == flat.shape[1] else [f"{kind}{i}" for i in range(flat.shape[1])]
    if not several and not names:
        known = [kind]
    if kind == "output" and target is not None:
        return in_units_of(target[1], {"output": flat}, known)
    return of_tensors(dict(zip(known, flat.unbind(1), strict=True)))
