"""``szilard predict``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from szilard.cli.options import data as d
from szilard.cli.options import files as f
from szilard.cli.options import network as n
from szilard.cli.options import output as o

if TYPE_CHECKING:
    from szilard.cli.inputs import Lines
    from szilard.cli.predictions import Predictions
    from szilard.cli.request import Draws, Request
    from szilard.metrics import Predictive

GROUP = "Run"
EXAMPLES = (
    "szilard predict runs/price new.csv -o predictions.csv",
    "szilard predict runs/digits new.npz -o predictions.csv",
    "szilard predict runs/digits digits --method deterministic",
    "szilard predict runs/digits new.npz --one-pass",
    "szilard predict weights.pt new.csv --network network.py:build --data table.csv --target price",
)

Inputs = Annotated[
    str,
    typer.Argument(
        metavar="INPUT",
        help="FILE.npz (array x), FILE.csv (with the columns of training), or the name of a data set, whose test split "
        "is taken.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="FILE.csv", help="File to write. Default: standard output."),
]


def predict(
    path: f.RunOrNetwork,
    inputs: Inputs,
    out: Out = None,
    method: n.MethodOfRun = None,
    data: d.LabelledData = None,
    data_root: d.DataRoot = None,
    target: d.Target = None,
    split: d.Split = None,
    task: d.TaskOfOutputs = None,
    mean: d.Mean = None,
    std: d.Std = None,
    network: n.NetworkOfFile = None,
    key: n.Key = None,
    trust: n.Trust = False,
    samples: o.SamplesOrOnePass = None,
    seed: o.Seed = 0,
    one_pass: o.OnePass = False,
    json: o.Json = False,
) -> None:
    """Predict labels or values, with uncertainty, for each input.

    Classification: label, probability, and entropy in nats with its two parts. The aleatoric part comes from noise in
    the data, the epistemic part from too few training examples. Regression: mean and standard deviations, in the units
    of the target.

    With --one-pass, one pass computes mean and variance of every unit, instead of running the network once for each
    sample. Units count as independent, so epistemic uncertainty is typically somewhat too small.
    """
    from szilard import atomic, spreadsheet
    from szilard.cli import output, run_paths
    from szilard.cli.external import predictions
    from szilard.cli.inputs import Lines
    from szilard.cli.messages import library_notifier
    from szilard.cli.request import Draws, Request
    from szilard.metrics import Predictive
    from szilard.model import saved_network

    request = Request.typed(
        path, data=data, data_root=data_root, target=target, split=split, task=task, mean=mean, std=std,
        network=network, key=key, trust=trust,
    )  # fmt: skip
    draws = Draws.typed(samples, seed, one_pass=one_pass)
    if out is not None:
        output.check_writable(out)
    output.refuse_inputs(out, inputs, path, network)
    lines = Lines()
    with output.writing(out):
        chosen = run_paths.chosen_network(path, method)
        file, notify = chosen.file, library_notifier(quiet=False)
        output.refuse_inputs(out, file)
        if saved_network.is_finished(file):
            found = _of_saved_network(file, request, inputs, data_root, draws, lines)
            if isinstance(found, Predictive):
                chosen.tell(notify)
                _write_dense(found, out)
                _report(file, out, len(found.mean), json)
                return
            predicted = found.at(lines.kept) if lines.kept else found
        else:
            predicted = predictions.of_weights(request, inputs, draws, notify)
        chosen.tell(notify)
        if json and out is None:
            output.as_json({"network": str(file), "predictions": predicted.rows(), **_left_out(lines)})
            return
        text = spreadsheet.csv(predicted.columns, predicted.digits)
        if out is None:
            output.say_data(text)
            return
        atomic.write(out, text.encode(), follow=True)
    _report(file, out, predicted.count, json, lines)


def _of_saved_network(
    file: Path, request: Request, inputs: str, root: Path | None, draws: Draws, lines: Lines
) -> Predictions | Predictive:
    """Predictions of a network of szilard; a Predictive where it predicts many labels for each input."""
    from szilard.cli import inputs as new_inputs
    from szilard.cli import loading, predictions
    from szilard.cli.external import adapted_outputs
    from szilard.cli.external.predictions import of_means
    from szilard.cli.messages import notifier
    from szilard.model.evaluate import outputs_means_only

    notify = notifier()
    found = loading.saved_network_of(file, request, notify)
    x = new_inputs.read(inputs, found, root, lines)
    network = adapted_outputs.for_method(found)
    if found.target_type.in_units and outputs_means_only(network, x[:2], found.n_outputs):
        draws.tell_of_point(str(file), notify)
        return of_means(network, x, found.target_shift, found.target_scale, found.targets)
    predictive = draws.predictive(found.method, network, x, str(file), notify)
    if len(predictive.shape) > 1 and not found.targets:
        return predictive
    return predictions.of_predictive(
        predictive, found.classes, found.target_shift, found.target_scale, found.targets
    )


def _write_dense(predictive: Predictive, out: Path | None) -> None:
    """Arrays ``[N, H, W]``: class numbers, and probability and uncertainty of each pixel."""
    from szilard.errors import SzilardError
    from szilard.run import arrays

    if out is None or out.suffix.lower() != ".npz":
        raise SzilardError(
            "the network predicts a class for each pixel, which does not fit into a table; add --out FILE.npz"
        )
    arrays.save(
        out,
        {
            "label": predictive.labels.numpy(),
            "probability": predictive.max_probability().numpy(),
            "entropy": predictive.entropy().numpy(),
            "aleatoric": predictive.aleatoric().numpy(),
            "epistemic": predictive.epistemic().numpy(),
        },
    )


def _report(file: Path, out: Path | None, count: int, as_json: bool, lines: Lines | None = None) -> None:
    from szilard.cli import output
    from szilard.cli.messages import notifier
    from szilard.errors import printable

    if as_json:
        output.as_json({"network": str(file), "file": str(out), "count": count, **_left_out(lines)})
    else:
        notifier()(printable(f"{count} predictions of {file} in {out}"))


def _left_out(lines: Lines | None) -> dict[str, list[int]]:
    return {"left_out": lines.left_out} if lines is not None and lines.left_out else {}
