"""Train a network by a method on a data set: from an ordinary network to its quality and its cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from szilard import data as rooms
from szilard import methods, networks
from szilard.data import DataSet
from szilard.data.unseen import StandIns
from szilard.errors import SzilardError
from szilard.methods import Method
from szilard.run.folder import MethodFolder
from szilard.run.settings import check_positive
from szilard.training import defaults, imbalance, thin
from szilard.training.devices import rank, start
from szilard.training.job import Job, Run
from szilard.training.loop import Plan

if TYPE_CHECKING:
    from lightning_fabric import Fabric


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
    options: dict[str, Any] | None = None,
    source: dict[str, Any] | None = None,
) -> Run:
    """Minimise the free energy of a network and judge what comes out.

    The network of the last epoch is the one that is kept; valid is looked at after each epoch, test once, at
    the end. Batches depend on (seed, epoch), noise on (seed, step): a run that was killed and resumed
    gives bit for bit what an uninterrupted one gives.

    Args:
        method: an object of :mod:`szilard.methods`.
        network: an ordinary module, which is not changed, or a spec of :func:`szilard.networks.build`.
        data: see :func:`szilard.data.load`.
        epochs, batch_size: by the size of the data if left out (:mod:`szilard.training.defaults`);
            ``batch_size`` counts examples of one process.
        lr: initial learning rate, lowered along a cosine to zero; the method's own if left out.
        seed: of the order of the examples, of layers that draw, of a network built from a spec.
        samples: draws of the network behind each prediction on test.
        augment: "crop-flip" for pictures.
        class_weights: "balanced" lets the loss of each class count as much as that of any other.
        out: folder in which a folder of the method's name is written; without it nothing is written.
        resume: go on from the checkpoint in ``out``, if there is one.
        overwrite: start anew where a run lies already.
        checkpoint_steps, checkpoint_seconds: how often to write a checkpoint, besides the last.
        accelerator, devices, strategy, precision: see :func:`szilard.training.devices.start`.
        tensorboard: also write TensorBoard events into ``out``.
        progress: show a bar.
        fabric: launched already, instead of the four options above.
        options: of the method, where they cannot be read off it.
        source: the arguments of :func:`szilard.data.load`, kept so that ``szilard measure`` finds the data.

    Raises:
        SzilardError: settings that cannot be, a network that does not fit, a NaN, a full disk, ...
    """
    check_positive(epochs=epochs, batch_size=batch_size, samples=samples, lr=lr)
    _check(method, data)
    if out is None:
        _refuse_files(
            resume=resume, overwrite=overwrite, tensorboard=tensorboard, checkpoint_steps=checkpoint_steps
        )
    spec = network if isinstance(network, str) else None
    if isinstance(network, str):
        network = networks.build(network, data.input_shape, data.n_outputs, seed=seed)
    networks.check_fits(network, data)
    prepared = method.prepare(network, data.target_type.meaning(data.n_outputs))
    if rank() == 0:
        thin.warn(prepared, method)
    method.stand_ins = StandIns.of(data.reading, data.shift, data.scale)
    method.class_weights = imbalance.weights(class_weights, data)
    batch_size = batch_size or defaults.batch_size(len(data.train))
    epochs = epochs or defaults.epochs(len(data.train), batch_size)
    rooms.batches(data.train, batch_size, seed=seed, epoch=0, augment=augment)  # refuses what it cannot do
    job = Job(
        fabric=fabric or start(accelerator, devices, strategy, precision),
        method=method,
        data=data,
        plan=Plan(epochs, batch_size, seed, augment, checkpoint_steps, checkpoint_seconds),
        lr=lr,
        samples=samples,
        files=None if out is None else MethodFolder(Path(out).expanduser() / method.name),
        made_from={"network": spec, "options": _options(method) | (options or {}), "data": source or {}},
        tensorboard=tensorboard and out is not None,
        progress=progress,
    )
    return job.run(prepared, resume=resume, overwrite=overwrite)


def _refuse_files(**given: Any) -> None:
    """Options about files, where none are written."""
    name = next((name for name, value in given.items() if value), None)
    if name is not None:
        raise SzilardError(
            f"{name} is about files in a folder, and none is named; name it with out=, or leave {name} out"
        )


def _options(method: Method) -> dict[str, Any]:
    """The options of a method as far as its attributes tell; enough to open its networks again."""
    if method.name not in methods.names():
        return {}
    known = set(methods.options(method.name)) - {"seed", "total_steps"}
    return {name: getattr(method, name) for name in sorted(known) if hasattr(method, name)}


def _check(method: Method, data: DataSet) -> None:
    if method.n_data != len(data.train):
        raise SzilardError(
            f"the method counts on n_data={method.n_data} training examples, but {data.name} has "
            f"{len(data.train)}; make it with n_data=len(data.train)"
        )
    if method.step:
        raise SzilardError(f"this {method.label} has trained a network already; make a new one for a new run")
