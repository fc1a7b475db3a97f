"""``szilard predict``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from szilard import atomic
from szilard.cli import answered, inputs, output, spreadsheet, suited, target
from szilard.cli.answered import Answers
from szilard.cli.case import Request
from szilard.cli.told import once
from szilard.cli.words import cli
from szilard.errors import SzilardError, printable
from szilard.metrics import Predictive
from szilard.model import saved_network
from szilard.model.evaluate import answers_mean_alone
from szilard.run import arrays


@dataclass(frozen=True)
class Asked:
    """What is asked, and how.

    Attributes:
        inputs: a file, or a data set's name.
        method: which network of a run.
        root: folder of data sets.
    """

    inputs: str
    method: str | None
    root: Path | None
    samples: int
    seed: int


def predict(request: Request, asked: Asked, out: Path | None, *, as_json: bool) -> None:
    """Write one line an input."""
    if asked.samples < 1:
        raise SzilardError(f"--samples must be at least 1, not {asked.samples}")
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        what = "is a folder" if out.is_dir() else "is in a folder that does not exist"
        raise SzilardError(f"{out} {what}; name a file to write")
    output.refuse_inputs(out, asked.inputs, request.path, request.spec)
    path = request.path
    say = once()
    lines = inputs.Lines()
    with output.told(out):
        file = path if path.is_file() else target.finished(path, asked.method)[0].network
        output.refuse_inputs(out, file)
        if saved_network.is_finished(file):
            found = _finished(file, request, asked, lines)
            if isinstance(found, Predictive):
                _write_dense(found, out)
                _done(file, out, len(found.mean), as_json)
                return
            answers = found.at(lines.kept) if lines.kept else found
        else:
            answers = answered.plain(
                request, asked.inputs, asked.samples, asked.seed, lambda line: say(cli(printable(str(line))))
            )
        if as_json and out is None:
            output.as_json({"network": str(file), "predictions": answers.rows(), **_left_out(lines)})
            return
        text = _csv(answers)
        if out is None:
            output.say_data(text)
            return
        atomic.write(out, text.encode(), follow=True)
    _done(file, out, answers.count, as_json, lines)


def _left_out(lines: inputs.Lines | None) -> dict[str, list[int]]:
    return {"left_out": lines.left_out} if lines is not None and lines.left_out else {}


def _done(file: Path, out: Path | None, count: int, as_json: bool, lines: inputs.Lines | None = None) -> None:
    if as_json:
        output.as_json({"network": str(file), "file": str(out), "count": count, **_left_out(lines)})
    else:
        once()(printable(f"{count} predictions of {file} in {out}"))


def _write_dense(believed: Predictive, out: Path | None) -> None:
    """Arrays ``[N, H, W]``: class numbers, and how sure the network is of each pixel."""
    if out is None or out.suffix.lower() != ".npz":
        raise SzilardError(
            "the network answers a class for each pixel, which no table holds; add --out FILE.npz"
        )
    arrays.save(
        out,
        {
            "label": believed.labels.numpy(),
            "probability": believed.max_probability().numpy(),
            "entropy": believed.entropy().numpy(),
            "aleatoric": believed.aleatoric().numpy(),
            "epistemic": believed.epistemic().numpy(),
        },
    )


def _finished(file: Path, request: Request, asked: Asked, lines: inputs.Lines) -> Answers | Predictive:
    """What is believed of each input; as it is where each input has many answers."""
    found = saved_network.load(file, request.spec, trusted=request.trusted, tell=once())
    if request.task not in (None, found.task):
        raise SzilardError(f"--task is {request.task}, and {file} is for {found.task}; leave --task out")
    x = inputs.read(asked.inputs, found, asked.root, lines)
    network = suited.asked(found)
    if found.task == "regression" and answers_mean_alone(network, x[:2], found.n_outputs):
        return answered.means(network, x, found.target_shift, found.target_scale, found.targets)
    believed = found.method.predict(network, x, samples=asked.samples, seed=asked.seed)
    if len(believed.shape) > 1 and not found.targets:
        return believed
    return answered.of_predictive(
        believed, found.classes, found.target_shift, found.target_scale, found.targets
    )


def _cell(value: float | str) -> str:
    if isinstance(value, str):
        return spreadsheet.cell(value)
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _csv(answers: Answers) -> str:
    lines = [",".join(spreadsheet.cell(name) for name in answers.columns)]
    for values in zip(*answers.columns.values(), strict=True):
        lines.append(",".join(map(_cell, values)))
    return "\n".join(lines) + "\n"
