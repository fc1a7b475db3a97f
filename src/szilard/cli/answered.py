"""What a network answers, as columns for ``szilard predict``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from szilard import networks
from szilard.cli import built, examples, inputs, several, weights
from szilard.cli.candidates import in_units
from szilard.cli.case import OfExamples, Request, Tell, opened
from szilard.compression.answers import answer
from szilard.data.files import path_of
from szilard.data.npz import read_npz
from szilard.data.table import listed, read_table
from szilard.errors import SzilardError, first_line
from szilard.likelihood import Bernoulli, Categorical, Likelihood, choose
from szilard.metrics import Predictive
from szilard.model.evaluate import tells_mean_alone, with_noise
from szilard.model.saved_network import SavedNetwork
from szilard.networks.evaluating import evaluating
from szilard.networks.finite import advice
from szilard.networks.float_type import cast, precise

_BATCH = 256


@dataclass(frozen=True)
class Answers:
    """One column a figure, one entry an input: numbers, or text."""

    columns: dict[str, Sequence[float | str]]

    @property
    def count(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def at(self, lines: Sequence[int]) -> Answers:
        """With the line of the file that each answer is for, as a first column."""
        name = "line"
        while name in self.columns:
            name += "_"
        return Answers({name: lines, **self.columns})

    def rows(self) -> list[dict[str, Any]]:
        """One table an input."""
        return [
            dict(zip(self.columns, values, strict=True))
            for values in zip(*self.columns.values(), strict=True)
        ]


def of_predictive(
    believed: Predictive,
    classes: Sequence[str],
    shift: float | Tensor,
    scale: float | Tensor,
    targets: Sequence[str] = (),
) -> Answers:
    """Label, probability and doubt; or mean and deviations in the units of the user's table.

    Of several targets a column for each is called as it is, and those beside it begin with its name; of labels that are
    each there or not, that column is the probability.
    """
    if believed.task == "regression":
        figures = {
            "mean": believed.mean * scale + shift,
            "std": believed.variance.sqrt() * scale,
            "aleatoric_std": believed.aleatoric().sqrt() * scale,
            "epistemic_std": believed.epistemic().sqrt() * scale,
        }
        return _by_name(figures, targets) if targets else _columns(figures)
    if believed.multilabel:
        figures = {
            "probability": believed.mean,
            "entropy": believed.entropy(),
            "aleatoric": believed.aleatoric(),
            "epistemic": believed.epistemic(),
        }
        return _by_name(figures, targets)
    figures = {
        "probability": believed.max_probability(),
        "entropy": believed.entropy(),
        "aleatoric": believed.aleatoric(),
        "epistemic": believed.epistemic(),
    }
    return Answers({"label": [classes[i] for i in believed.labels.tolist()], **_columns(figures).columns})


def _by_name(figures: dict[str, Tensor], targets: Sequence[str]) -> Answers:
    """Columns of figures ``[N, k]``: the first of a target has its name, the others that and their own."""
    first = next(iter(figures))
    found: dict[str, Tensor] = {}
    for number, target in enumerate(targets):
        for figure, values in figures.items():
            name = target if figure == first else f"{target}_{figure}"
            while name in found or (figure != first and name in targets):
                name += "_"  # a target that is called as a figure of another
            found[name] = values[:, number]
    return _columns(found)


def means(
    network: nn.Module, x: Tensor, shift: float | Tensor, scale: float | Tensor, targets: Sequence[str] = ()
) -> Answers:
    """Of a regression that does not say how sure it is."""
    found = _outputs(network, x) * scale + shift
    return _by_name({"mean": found}, targets) if targets else _columns({"mean": found[:, 0]})


def plain(request: Request, name: str, samples: int, seed: int, tell: Tell) -> Answers:
    """Of a network whose file holds weights alone.

    With ``--data``, the labelled data say in which units inputs and answers are, and how sure a regression is.
    Otherwise inputs are taken as they lie in their file.

    Raises:
        SzilardError: nobody says how the network is built, or it does not take the inputs.
    """
    if request.spec is None and not built.says(request.path):
        raise SzilardError(
            f"{request.path} is no network of szilard and does not say of which network its weights are; add "
            "--network, for instance file.py:function, or name a file that szilard fit or szilard compress wrote"
        )
    if request.given.get("name") is None:
        return _as_they_are(request, name, tell)
    case = opened(request, tell)
    if case.other_units:
        tell(case.other_units)
    if isinstance(case, OfExamples):
        remembered = case.built
        x = _raw(name, remembered.input_shape, remembered)
        pair = None if remembered.shift is None else (remembered.shift, remembered.scale)
        x = in_units(x if pair is not None or not case.data.train.x.is_floating_point() else x.float(), pair)  # type: ignore[arg-type]
        return _told(case.network, x, case.valid.choice.likelihood, case.data.outputs, case.target)
    network = case.asked()
    if case.data.task == "regression" and tells_mean_alone(network, case.data):
        network = with_noise(network, case.data)
    stored = {key: value for key, value in request.given.items() if value is not None}
    found = SavedNetwork.plain(network, case.data, network_spec=case.spec, source=stored)
    root = request.given.get("root")
    x = inputs.read(name, found, None if root is None else Path(root))
    believed = found.method.predict(network, x, samples=samples, seed=seed)
    return of_predictive(believed, found.classes, found.target_shift, found.target_scale, found.targets)


def _as_they_are(request: Request, name: str, tell: Tell) -> Answers:
    said = built.of(request.path, request.spec, trusted=request.trusted)
    spec = request.spec if said is None else said.spec
    x = _raw(name, None if said is None else said.input_shape, said)
    shape = tuple(x.shape[1:])
    network, _ = weights.network_of(
        request.path, spec, request.key, request.trusted,
        lambda named: networks.build_for(named, shape, None if said is None else said.n_outputs), tell,
    )  # fmt: skip
    network.eval()
    several.check(network, {"name": name})
    if request.normalisation.typed:
        x = in_units(x, request.normalisation.numbers(shape))
    elif said is not None and said.shift is not None and said.scale is not None:
        x = in_units(x, (said.shift, said.scale))
    elif said is None or not said.judged:
        tell(
            f"inputs are taken as they are in {name}; --data with the labelled data finds out in which units the "
            "network takes them, or --mean and --std say so"
        )
    task = request.task or (said.task if said is not None else "") or None
    output = _outputs(network, x)
    choice = choose(output, task=task)
    reason = choice.reason if request.task or not task else f"as {request.path} says"
    tell(f"outputs are taken for {choice.likelihood.name} ({reason})")
    names: tuple[str, ...] = ()
    target = None
    if said is not None:
        names = said.outputs
        if said.target_shift is not None and said.target_scale is not None:
            target = said.target_shift, said.target_scale
    return _told(network, x, choice.likelihood, names, target, output)


def _raw(name: str, shape: tuple[int, ...] | None, said: built.Built | None) -> Tensor:
    """New inputs as they lie in a file: an array x, or columns of numbers.

    Columns are found by name where the names are known, and are all but those of the outputs otherwise.
    """
    path = path_of(name)
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        table = read_table(path)
        known, outputs = ((), ()) if said is None else (said.columns, said.outputs)
        return examples.features(table, known or [name for name in table.names if name not in outputs])
    if suffix != ".npz":
        raise SzilardError(
            f"{name} is no file of inputs; name an .npz file with an array x, or a .csv file, or say with --data which "
            "data the network is for"
        )
    arrays = read_npz(path)
    key = next((k for k in ("x", "x_test") if k in arrays), next(iter(arrays)) if len(arrays) == 1 else None)
    if key is None:
        raise SzilardError(f"{path} holds {listed(sorted(arrays)) or 'nothing'}; name the inputs x")
    return _ordered(examples.inputs(arrays[key], f"{key} of {path}"), shape)


def _ordered(x: Tensor, shape: tuple[int, ...] | None) -> Tensor:
    """Pictures with their channels where the network has them, by the shape of its inputs if that is known."""
    if shape is None or x.shape[1:] == shape:
        return x
    if x.dim() == 3 and (1, *x.shape[1:]) == shape:
        return x.unsqueeze(1)
    if x.dim() != 4:
        return x
    turned = next((t for t in (x.movedim(1, 3), x.movedim(3, 1)) if t.shape[1:] == shape), None)
    return x if turned is None else turned.contiguous()


@torch.no_grad()
def _outputs(network: nn.Module, x: Tensor) -> Tensor:
    if not len(x):
        raise SzilardError("there are no inputs; there is nothing to predict")
    found, error = _answers(network, x)
    if error is not None and not x.is_floating_point():  # whole numbers that are no tokens
        found, _ = _answers(network, x.float())
    if found is None:
        raise SzilardError(
            f"the network does not take inputs of shape {list(x.shape[1:])}: "
            f"{'' if error is None else first_line(error)}; give what it takes"
        ) from error
    if found.dim() == 0 or len(found) != len(x):
        raise SzilardError(
            f"the network answers {list(found.shape)} to {len(x)} inputs; its first dimension must be theirs"
        )
    if not bool(torch.isfinite(found).all()):
        raise SzilardError(
            "the network answers with NaN or infinite values; "
            + advice(network, "check that inputs are in the units that it takes")
        )
    return found


def _answers(network: nn.Module, x: Tensor) -> tuple[Tensor | None, Exception | None]:
    try:
        with evaluating(network):
            parts = [precise(answer(network(cast(network, part)))).cpu() for part in x.split(_BATCH)]
        return torch.cat(parts), None
    except SzilardError:
        raise
    except Exception as error:  # whatever a network does with what it was not made for
        return None, error


def _told(
    network: nn.Module,
    x: Tensor,
    likelihood: Likelihood,
    names: Sequence[str],
    target: tuple[Tensor, Tensor] | None,
    output: Tensor | None = None,
) -> Answers:
    """Columns by what outputs mean."""
    output = _outputs(network, x) if output is None else output
    if isinstance(likelihood, Categorical):
        logits = likelihood.logits(output)
        if logits.dim() != 2:
            raise SzilardError(
                f"the network answers {list(output.shape[1:])} to an input, and a table has one line an input; ask it "
                "in Python"
            )
        known = [*names, *map(str, range(len(names), logits.shape[1]))]
        return of_predictive(Predictive.from_logits(logits[None]), known, 0.0, 1.0)
    if isinstance(likelihood, Bernoulli):
        output, kind = likelihood.logits(output).sigmoid(), "probability"
    else:
        kind = "output"
        if target is not None:
            output = output * target[1] + target[0]
    flat = output.reshape(len(output), -1)
    several = flat.shape[1] > 1
    known = list(names) if len(names) == flat.shape[1] else [f"{kind}{i}" for i in range(flat.shape[1])]
    if not several and not names:
        known = [kind]
    return _columns(dict(zip(known, flat.unbind(1), strict=True)))


def _columns(found: dict[str, Tensor]) -> Answers:
    return Answers({name: values.tolist() for name, values in found.items()})
