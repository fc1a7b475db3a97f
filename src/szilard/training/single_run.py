"""Trains a network with one method on a data set, and reports its quality and cost."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from szilard import data as data_sets
from szilard import methods, networks
from szilard.data import DataSet
from szilard.data.unseen import StandIns
from szilard.errors import SzilardError, SzilardWarning, printable
from szilard.methods import Method
from szilard.model import prior as priors
from szilard.model import ticket_of_run, trust
from szilard.model.prior import Source
from szilard.run.folder import MethodFolder, RunFolder
from szilard.run.settings import check_positive
from szilard.training import defaults, imbalance, low_density, with_prior
from szilard.training.devices import rank, start
from szilard.training.job import Job
from szilard.training.loop import Plan
from szilard.training.trained import Run
from szilard.training.with_prior import Training

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_PLAIN = (bool, int, float, str, list, tuple)  # types of options in a file


def fit(
    method: Method,
    network: nn.Module | str,
    data: DataSet,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    seed: int = 0,
    samples: int = 32,
    augment: str | None = None,
    class_weights: str | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    checkpoint_steps: int | None = None,
    checkpoint_seconds: float | None = 30.0,
    accelerator: str = "auto",
    devices: int | str = "auto",
    strategy: str = "auto",
    precision: str = "32-true",
    tensorboard: bool = False,
    progress: bool = True,
    fabric: Fabric | None = None,
    prior: str | Path | Source | None = None,
    options: dict[str, Any] | None = None,
    source: dict[str, Any] | None = None,
) -> Run:
    """Train a network by minimising its free energy, and evaluate it.

    The network of the last epoch is the result. The validation set is evaluated after each epoch, the test set once, at
    the end. Batches depend on (seed, epoch), noise on (seed, step): a run that was killed and resumed
    gives the same bits as an uninterrupted one.

    Args:
        method: an object of :mod:`szilard.methods`.
        network: an ordinary module, which is not changed, or a spec of :func:`szilard.networks.build`.
        data: see :func:`szilard.data.load`.
        epochs, batch_size: by default from the size of the data set (:mod:`szilard.training.defaults`);
            ``batch_size`` counts examples of one process.
        lr: initial learning rate, decayed along a cosine to zero; by default the method's.
        seed: seed of the order of the examples, of random layers, and of a network built from a spec.
        samples: draws of the network for each prediction on the test set.
        augment: "crop-flip" for images.
        class_weights: "balanced" gives each class the same total weight in the loss.
        out: folder in which a folder of the method's name is written; without it nothing is written.
        resume: continue from the checkpoint in ``out``, if there is one.
        overwrite: start again and replace a run that is in the folder.
        checkpoint_steps, checkpoint_seconds: intervals between checkpoints, in addition to the last.
        accelerator, devices, strategy, precision: see :func:`szilard.training.devices.start`.
        tensorboard: also write TensorBoard events into ``out``.
        progress: show a bar.
        fabric: an already launched Fabric, instead of the four options above.
        prior: a run whose posterior is the prior of this one: its folder, the folder of one of its methods, a file in
            it, or a :class:`szilard.model.prior.Source`. Folds of the training labels choose its width, the
            temperature, and whether it is used at all; the same method without it, and fine-tuning, are trained beside
            it (:attr:`Run.choice`, :attr:`Run.controls`). Inputs and targets take the source's normalisation.
        options: options of the method that cannot be read from its attributes.
        source: the arguments of :func:`szilard.data.load`, saved so that ``szilard measure`` finds the data.

    Raises:
        SzilardError: invalid settings, a network that does not fit the data, a NaN, a full disk, ...
    """
    check_positive(epochs=epochs, batch_size=batch_size, samples=samples, lr=lr)
    _check(method, data)
    if out is None:
        _refuse_files(
            resume=resume, overwrite=overwrite, tensorboard=tensorboard, checkpoint_steps=checkpoint_steps
        )
    spec = network if isinstance(network, str) else None
    given = None if prior is None else _source(prior, spec, None if out is None else Path(out), resume=resume)
    if given is not None:
        with_prior.check_alone(devices, fabric)
        with_prior.check_method(method)
        data, notes = priors.matched(given, data)
        for note in notes:
            warnings.warn(note, SzilardWarning, stacklevel=2)
    if isinstance(network, str):
        network = networks.build(network, data.input_shape, data.n_outputs, seed=seed)
    networks.check_fits(network, data)
    balance = imbalance.weights(class_weights, data)
    batch_size = batch_size or defaults.batch_size(len(data.train))
    epochs = epochs or defaults.epochs(len(data.train), batch_size)
    data_sets.batches(
        data.train, batch_size, seed=seed, epoch=0, augment=augment
    )  # raises for arguments that it does not support
    plan = Plan(epochs, batch_size, seed, augment, checkpoint_steps, checkpoint_seconds)
    if given is not None:
        return Training(
            source=given, fabric=fabric or start(accelerator, devices, strategy, precision), method=method,
            network=network, spec=spec, data=data, plan=plan, lr=lr, samples=samples, class_weights=balance,
            out=None if out is None else Path(out).expanduser(), options=_options(method) | (options or {}),
            data_source=source or {}, tensorboard=tensorboard, progress=progress,
        ).run(resume=resume, overwrite=overwrite)  # fmt: skip
    ticket_of_run.give(method)
    prepared = method.prepare(network, data.target_type.meaning(data.n_outputs), data.input_shape)
    if rank() == 0:
        low_density.warn(prepared, method)
    method.stand_ins = StandIns.of(data.reading, data.shift, data.scale)
    method.class_weights = balance
    job = Job(
        fabric=fabric or start(accelerator, devices, strategy, precision),
        method=method,
        data=data,
        plan=plan,
        lr=lr,
        samples=samples,
        files=None if out is None else MethodFolder(Path(out).expanduser() / method.name),
        made_from={"network": spec, "options": _options(method) | (options or {}), "data": source or {}},
        tensorboard=tensorboard and out is not None,
        progress=progress,
    )
    return job.run(prepared, resume=resume, overwrite=overwrite)


def _source(prior: str | Path | Source, spec: str | None, out: Path | None, *, resume: bool) -> Source:
    """The prior, from the run folder if it is resumed and the source is gone.

    Raises:
        SzilardError: it cannot be read, or is of another network.
    """
    if isinstance(prior, Source):
        found = prior
    else:
        kept = None if out is None or not resume else RunFolder(out.expanduser()).prior
        gone = not Path(prior).expanduser().exists()
        found = priors.load(kept) if gone and kept is not None and kept.is_file() else priors.read(prior)
    if spec is not None:
        check_network(found, spec)
    return found


def check_network(prior: Source, spec: str) -> None:
    """Raise unless a network is built as that of a prior was.

    Raises:
        SzilardError: the prior is of another network.
    """
    known = prior.about.network_spec
    if known is not None and trust.absolute_network(spec) != known:
        raise SzilardError(
            f"the prior ({prior.label}) is of the network {printable(known)}, and this run has {printable(spec)}; "
            "train the same network"
        )


def _refuse_files(**given: Any) -> None:
    """Raise for options about files if none are written."""
    name = next((name for name, value in given.items() if value), None)
    if name is not None:
        raise SzilardError(f"{name} needs an output folder; name one with out=, or leave {name} out")


def _options(method: Method) -> dict[str, Any]:
    """The options of a method that can be read from its attributes; enough to open its networks later.

    Functions and other objects are left out: a file cannot store them, and the network opens without them. An attribute
    can also have the name of an option and another meaning, such as ``last``, the terms of the last loss.
    """
    if method.name not in methods.names():
        return {}
    known = set(methods.options(method.name)) - {"seed", "total_steps"}
    found = {name: getattr(method, name) for name in sorted(known) if hasattr(method, name)}
    return {name: value for name, value in found.items() if value is None or isinstance(value, _PLAIN)}


def _check(method: Method, data: DataSet) -> None:
    if method.n_data != len(data.train):
        raise SzilardError(
            f"the method has n_data={method.n_data} training examples, but {data.name} has "
            f"{len(data.train)}; create it with n_data=len(data.train)"
        )
    if method.step:
        raise SzilardError(
            f"this {method.label} has already trained a network; create a new one for a new run"
        )
