"""What ``szilard deploy`` compiles: networks with the meaning and the units of their inputs and outputs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from szilard import deploy
from szilard.cli import network_data, output
from szilard.cli.deployed_source import Source
from szilard.cli.external import adapted_outputs, build_record, weights
from szilard.cli.external.network_and_data import NetworkAndExamples, open_network_and_data
from szilard.cli.loading import saved_network_of
from szilard.cli.request import Request, Tell, check_samples
from szilard.data import DataSet, image_range
from szilard.deploy import Compiled, Units, backends
from szilard.deploy.arguments import is_bayesian
from szilard.deploy.graph import MODES, output_of
from szilard.deploy.units import Standardise
from szilard.errors import SzilardError, SzilardWarning
from szilard.likelihood import Bernoulli, Categorical, Likelihood, choose
from szilard.model import saved_network
from szilard.model.evaluate import lacks_noise, with_noise
from szilard.model.saved_network import SavedNetwork
from szilard.networks import Ensemble, build_for
from szilard.networks.float_type import cast

_MOST = 1024  # inputs of the test split that are compared
_EXAMPLES = 16  # inputs that are made up where there are no data


@dataclass(frozen=True)
class Options:
    """How networks are compiled, as typed."""

    backend: str
    mode: str | None
    samples: int | None
    seed: int
    batch: int | None
    threads: int

    def __post_init__(self) -> None:
        if self.mode is not None and self.mode not in MODES:
            raise SzilardError(f"--mode is {self.mode!r}; choose one of {', '.join(MODES)}")
        if self.samples is not None:
            check_samples(self.samples)
            if self.mode not in (None, "samples"):
                raise SzilardError(f"mode {self.mode} draws no samples; leave out --samples or --mode")
        for name, value in (("--batch", self.batch), ("--threads", self.threads)):
            if value is not None and value < 1:
                raise SzilardError(f"{name} must be at least 1, not {value}")

    @property
    def chosen_mode(self) -> str | None:
        """The mode that was typed, directly or by ``--samples``."""
        return "samples" if self.samples is not None else self.mode


def runtime(name: str, out: Path | None) -> str:
    """The backend to compile for, which can be used and writes such a file.

    Raises:
        SzilardError: there is none, it is not installed, or the file has another suffix or cannot be written.
    """
    suffixes = backends.SUFFIXES
    if name == "auto":
        if out is None:
            raise SzilardError(
                f"name the file to write with --out, which ends in {', '.join(suffixes)}, or a backend with --backend"
            )
        if out.suffix.lower() not in suffixes:
            raise SzilardError(
                f"{out} has no suffix of a compiled file; name one that ends in {', '.join(suffixes)}"
            )
        name = suffixes[out.suffix.lower()]
    chosen = backends.backend(name)
    if not chosen.suffix and out is not None:
        raise SzilardError(
            f"backend {name} writes no file; leave out --out, and use it in Python (szilard.deploy.compile) or with "
            "szilard predict --one-pass"
        )
    if chosen.suffix and out is None:
        raise SzilardError(f"backend {name} writes a file; name one with --out that ends in {chosen.suffix}")
    if out is not None:
        if out.suffix.lower() != chosen.suffix:
            raise SzilardError(f"backend {name} writes files that end in {chosen.suffix}, and --out is {out}")
        output.check_writable(out)
    return name


def opened(request: Request, input_shape: tuple[int, ...] | None, tell: Tell) -> Source:
    """The network of a file, with examples in its floating type; those of data are float32.

    Args:
        input_shape: of ``--input-shape``, for weights without data.

    Raises:
        SzilardError: as ``szilard predict`` for such a file.
    """
    return _opened(request, input_shape, tell).in_type_of_network()


def _opened(request: Request, input_shape: tuple[int, ...] | None, tell: Tell) -> Source:
    saved = saved_network.is_finished(request.path)
    if input_shape is not None and (saved or request.data_options.get("name") is not None):
        source = request.path if saved else "--data"
        raise SzilardError(f"{source} says what inputs the network takes; leave out --input-shape")
    if saved:
        found = saved_network_of(request.path, request, tell)
        return of_saved(found, *_raw_examples(found, request, tell))
    if request.data_options.get("name") is None:
        return _of_weights(request, input_shape, tell)
    made = open_network_and_data(request, tell)
    if made.other_units:
        tell(made.other_units)
    if isinstance(made, NetworkAndExamples):
        return of_examples(made)
    network, data = made.for_method(), made.data
    network = with_noise(network, data) if lacks_noise(network, data) else network
    found = SavedNetwork.plain(network, data, network_spec=made.spec, source={})
    return of_saved(found, *of_data(data))


def _raw_examples(found: SavedNetwork, request: Request, tell: Tell) -> tuple[Tensor, str, Tensor | None]:
    """Inputs in the units of the data, the name of the split they are from, and inputs of the validation split."""
    try:
        data = network_data.for_network(found, request.data_options, str(request.path))
    except SzilardError as error:
        if request.data_options.get("name") is not None:
            raise
        tell(f"compiled without data, and compared on random inputs: {error}")
        noise = torch.Generator().manual_seed(0)
        shape = (_EXAMPLES, *found.input_shape)
        if len(found.input_shape) == 3:
            return image_range.scaled(torch.rand(shape, generator=noise), found.image_range), "", None
        return (torch.randn(shape, generator=noise) * found.scale + found.shift).float(), "", None
    return of_data(data)


def of_data(data: DataSet) -> tuple[Tensor, str, Tensor]:
    """Inputs of the test split in the units of the data, its name, and inputs of the validation split."""
    test, valid = (data.raw(split.x[:_MOST]).float() for split in (data.test, data.valid))
    return test, "test split", valid


def of_saved(found: SavedNetwork, examples: Tensor, split: str, validation: Tensor | None) -> Source:
    """A network of szilard, or one that is described like these."""
    in_units, network = found.target_type.in_units, adapted_outputs.for_method(found).eval()
    return Source(
        tuple(network.in_use()) if isinstance(network, Ensemble) else (network,),
        found.task if found.target_type.has_classes else found.method.likelihood,
        examples, split, found.method.calibration, Units(found.shift, found.scale, tuple(found.feature_names)),
        Units(found.target_shift, found.target_scale, _target_names(found)) if in_units else None,
        tuple(found.classes or found.targets), tuple(found.feature_names), found.task, found.method.name,
        validation, image_range=found.image_range, fill=_fill(found),
    )  # fmt: skip


def _fill(found: SavedNetwork) -> tuple[float, ...]:
    """What training put in place of missing cells: the mean of each feature, which is its shift."""
    if found.reading is None or found.reading.missing != "mean":
        return ()
    return tuple(found.shift.double().flatten().tolist())


def _target_names(found: SavedNetwork) -> tuple[str, ...]:
    name = found.data.get("target")
    return tuple(found.targets) or ((str(name),) if name else ())


def of_examples(made: NetworkAndExamples) -> Source:
    """A network with examples as they are in a file."""
    x, record, likelihood = made.data.test.x[:_MOST], made.record, made.valid.choice.likelihood
    valid, units = made.data.valid.x[:_MOST], None
    if record.shift is not None and record.scale is not None:
        units = Units(record.shift, record.scale, record.columns)
        x, valid = ((part.double() * record.scale + record.shift).float() for part in (x, valid))
    return Source(
        (made.network.eval(),), likelihood, x, "test split", inputs=units, targets=_targets(likelihood, made.target),
        labels=made.data.outputs, features=made.data.columns, name=likelihood.name, validation=valid,
    )  # fmt: skip


def _targets(likelihood: Likelihood, pair: tuple[Tensor, Tensor] | None) -> Units | None:
    return None if pair is None or isinstance(likelihood, Categorical | Bernoulli) else Units(*pair)


def _of_weights(request: Request, shape: tuple[int, ...] | None, tell: Tell) -> Source:
    """Weights without data: the shape of inputs is typed or recorded, and inputs are as the network takes them."""
    path = request.path
    record = build_record.read(path, request.spec, trusted=request.trusted)
    spec = request.spec if record is None else record.spec
    shape = shape or (None if record is None else record.input_shape)
    if shape is None:
        raise SzilardError(f"{path} does not say what inputs its network takes; add --input-shape, or --data")
    network, _ = weights.network_of(
        path, spec, request.key, request.trusted,
        lambda named: build_for(named, shape, None if record is None else record.n_outputs), tell,
    )  # fmt: skip
    x = torch.rand((_EXAMPLES, *shape), generator=torch.Generator().manual_seed(0))
    units = target = None
    if request.normalisation.typed:
        units = Units(*request.normalisation.numbers(shape))
    elif record is not None and record.shift is not None and record.scale is not None:
        units = Units(record.shift, record.scale, record.columns)
    if record is not None and record.target_shift is not None and record.target_scale is not None:
        target = record.target_shift, record.target_scale
    known = request.task or (record.task if record is not None else "") or None
    standard = x if units is None else Standardise(units)(x)
    choice = choose(output_of(network.eval(), cast(network, standard)), task=known)
    tell(f"outputs are read as {choice.likelihood.name} ({choice.reason})")
    return Source(
        (network,), choice.likelihood, x, "", inputs=units, targets=_targets(choice.likelihood, target),
        labels=() if record is None else record.outputs, features=() if record is None else record.columns,
        name=choice.likelihood.name,
    )  # fmt: skip


def compiled(source: Source, options: Options, out: Path | None, **changed: Any) -> Compiled:
    """The networks of a source, compiled.

    Args:
        out: file to write, or None.
        changed: arguments of :func:`szilard.deploy.compile` in place of those of the options.
    """
    several = len(source.networks) > 1
    fixed = options.chosen_mode == "samples" or (several and not any(map(is_bayesian, source.networks)))
    arguments: dict[str, Any] = {
        "backend": options.backend, "mode": options.chosen_mode, "samples": options.samples,
        "seed": options.seed, "batch": options.batch or (1 if fixed else None), "threads": options.threads,
        "task": source.task, "calibration": source.calibration, "inputs": source.inputs, "targets": source.targets,
        "labels": source.labels, "image_range": source.range_of_inputs, "metadata": source.metadata, "path": out,
        "variance_factor": source.variance_factor,
    } | changed  # fmt: skip
    if arguments["mode"] in ("point", "samples"):
        arguments["variance_factor"] = 1.0  # a comparison with another mode
    if arguments["mode"] not in (None, "samples"):
        arguments["samples"] = None  # a comparison with another mode
    networks = source.networks if several or arguments["mode"] == "ensemble" else source.networks[0]
    with warnings.catch_warnings():
        if changed:  # the network to deploy has warned
            warnings.simplefilter("ignore", SzilardWarning)
        return deploy.compile(networks, source.examples, **arguments)
