"""A whole run: a method and its baselines, in one folder."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from szilard import atomic, methods, networks
from szilard import data as data_sets
from szilard.data import DataSet, Split
from szilard.data.batching import sizes
from szilard.data.files import path_of
from szilard.data.loading import load_like
from szilard.data.splits import subset
from szilard.data.target_readers import reader_of
from szilard.errors import SzilardError, SzilardWarning
from szilard.model import prior as priors
from szilard.model import ticket_of_run, trust
from szilard.model.prior import Source
from szilard.run import lock
from szilard.run import settings as toml
from szilard.run.folder import RunFolder
from szilard.run.settings import Settings
from szilard.training import defaults, imbalance, prior_folds, single_run, with_prior
from szilard.training.devices import launched, on_rank_zero, rank, start
from szilard.training.single_run import fit

if TYPE_CHECKING:
    from lightning_fabric import Fabric


#: Arguments of methods that other options decide.
_SET_BY_RUN = {"seed": "--seed", "total_steps": "--epochs", "n_data": "--n-train"}


def run(
    settings: Settings,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    accelerator: str = "auto",
    devices: int | str = "auto",
    strategy: str = "auto",
    download: bool = False,
    tensorboard: bool = False,
    progress: bool = True,
    described: Callable[[DataSet], None] | None = None,
    prior: Source | None = None,
) -> Fabric:
    """Train every method of ``settings`` and write the run folder, except the report.

    Everything that can be checked is checked before the first file is written or removed. The folder is locked from
    before the first file is read until the end (:mod:`szilard.run.lock`).

    Args:
        out: the run folder.
        resume: continue a run with the same settings; finished methods are not trained again.
        overwrite: replace a run that is in the folder.
        accelerator, devices, strategy: see :func:`szilard.training.devices.start`.
        download: let torchvision download a missing data set.
        tensorboard, progress: see :func:`szilard.fit`.
        prior: from another run, whose path and hash are in the settings; methods that can take one do.
        described: called with the data set after it has been read, in the first of several processes.

    Raises:
        SzilardError: an error that the user can fix.
        KeyboardInterrupt: a signal was received; its argument is a sentence that says what to do.
    """
    folder = RunFolder(out)
    typed = {"--accelerator": accelerator, "--devices": str(devices), "--strategy": strategy}
    options = [text for name, value in typed.items() if value != "auto" for text in (name, value)]
    command = folder.command(*options, *["--tensorboard"] * tensorboard)
    if launched():
        command = "the same command and --resume"
    begun = False

    def begin() -> None:
        nonlocal begun
        begun = True  # before the first file changes
        _claim(folder, settings, prior, resume=resume, overwrite=overwrite)

    with hold(out):
        try:
            _check_free(folder, resume=resume, overwrite=overwrite)
            fit_ = settings.fit
            toml.check_positive(
                epochs=fit_.epochs, batch_size=fit_.batch_size, samples=fit_.samples, lr=fit_.lr
            )
            settings = absolute(settings)
            loaded = _loaded(settings, prior, download)
            if described is not None and rank() == 0:
                described(loaded)
            settings = complete(settings, loaded)
            if prior is not None:
                with_prior.check_alone(devices)
            tried = _try_out(settings, loaded, prior)
            fabric = start(accelerator, devices, strategy, settings.fit.precision)
            _check_steps(tried, settings, loaded, fabric.world_size)
            on_rank_zero(fabric, begin)
            _train(
                fabric, settings, loaded, folder, prior,
                resume=resume, overwrite=overwrite, tensorboard=tensorboard, progress=progress,
            )  # fmt: skip
        except KeyboardInterrupt as stop:
            stop.args = (folder.how_to_continue(command) if begun else f"{out} is unchanged",)
            raise
        except atomic.NotWritten as error:
            raise error.advised(f"continue with {command}") from error
    return fabric


def _loaded(settings: Settings, prior: Source | None, download: bool) -> DataSet:
    """The data set; a table is read as that of the prior was, so that rows which lack a category have its columns."""
    arguments = dataclasses.asdict(settings.data)
    table = None if prior is None else priors.table_of(prior)
    if table is not None and Path(settings.data.name).suffix.lower() in (".csv", ".tsv"):
        with contextlib.suppress(SzilardError):  # other columns or classes: read as without the prior
            return _few(load_like(table, **arguments), settings)
    return data_sets.load(**arguments, download=download)


def _few(data: DataSet, settings: Settings) -> DataSet:
    """The data with as many training examples as the settings say, as when a table is read for itself."""
    balanced = reader_of(data.target_type).balanced
    index = subset(data.train.y, settings.data.n_train, settings.data.seed, balanced=balanced)
    return replace(data, train=Split(data.train.x[index], data.train.y[index]))


def hold(out: Path) -> AbstractContextManager[None]:
    """The lock of a run folder; if a run has several processes, the first one holds the lock for all."""
    return lock.run(out) if rank() == 0 else nullcontext()


def _train(
    fabric: Fabric,
    settings: Settings,
    loaded: DataSet,
    folder: RunFolder,
    prior: Source | None,
    *,
    resume: bool,
    **how: Any,
) -> None:
    source = {
        key: value
        for key, value in dataclasses.asdict(settings.data).items()
        if value is not None and value != []
    }
    arguments = dataclasses.asdict(settings.fit)
    for name, options in settings.methods.items():
        if resume and on_rank_zero(fabric, lambda name=name: folder.method(name).finished):  # type: ignore[misc]
            continue
        method = methods.make(name, len(loaded.train), seed=settings.fit.seed, **options)
        fit(
            method,
            settings.network.spec,
            loaded,
            **arguments,
            out=folder.path,
            resume=resume,
            fabric=fabric,
            options=options,
            source=source,
            prior=prior if with_prior.takes(method) else None,
            **how,
        )


def absolute(settings: Settings) -> Settings:
    """The settings with absolute paths, so that the run can be repeated and used from another folder."""
    data, network = settings.data, settings.network
    if Path(data.name).suffix.lower() in (".csv", ".tsv", ".npz"):
        data = replace(data, name=_absolute(data.name))
    if data.root is not None:
        data = replace(data, root=_absolute(data.root))
    file, colon, function = network.spec.rpartition(":")
    if colon and file.endswith(".py"):
        network = replace(network, spec=f"{_absolute(file)}:{function}")
    methods_ = {
        name: options | ({"ticket": _absolute(options["ticket"])} if options.get("ticket") else {})
        for name, options in settings.methods.items()
    }
    return replace(settings, data=data, network=network, methods=methods_)


def complete(settings: Settings, data: DataSet) -> Settings:
    """The settings with all defaults filled in, so that a later version repeats the same run."""
    fit = settings.fit
    if fit.batch_size is None:
        fit = replace(fit, batch_size=defaults.batch_size(len(data.train)))
    if fit.epochs is None and fit.batch_size is not None:
        fit = replace(fit, epochs=defaults.epochs(len(data.train), fit.batch_size))
    if not settings.methods:
        raise SzilardError("there is no method to train; name one, for instance --method ssvi")
    for name, given in settings.methods.items():
        for key, option in _SET_BY_RUN.items():
            if key in given:
                raise SzilardError(f"{key} of method {name} is set by the run; leave it out, or set {option}")
    options = {
        name: _defaults(name) | methods.implied(name, given) | given
        for name, given in settings.methods.items()
    }
    return replace(settings, fit=fit, methods=options)


def _defaults(name: str) -> dict[str, Any]:
    return {
        k: v for k, v in methods.options(name).items() if v is not None and k not in ("seed", "total_steps")
    }


def _try_out(settings: Settings, data: DataSet, prior: Source | None) -> list[methods.Method]:
    """Build and convert every network once, so that an error in the last method shows before training starts."""
    if prior is not None:
        single_run.check_network(prior, settings.network.spec)
        data, _ = priors.matched(prior, data)
        prior_folds.parts(data.train, 0, stratify=False)  # raises for too few examples
    network = networks.build(settings.network.spec, data.input_shape, data.n_outputs, seed=settings.fit.seed)
    networks.check_fits(network, data)
    imbalance.weights(settings.fit.class_weights, data)
    data_sets.batches(data.train, settings.fit.batch_size or 1, seed=0, epoch=0, augment=settings.fit.augment)
    tried: list[methods.Method] = []
    for name, options in settings.methods.items():
        with warnings.catch_warnings():  # they are repeated when it is trained
            warnings.simplefilter("ignore", SzilardWarning)
            method = methods.make(name, len(data.train), **options)
            ticket_of_run.give(method)
            if prior is not None and (not tried or with_prior.takes(method)):
                with_prior.prepared(prior, method, network, data, 1.0)
            else:
                method.prepare(network, data.target_type.meaning(data.n_outputs), data.input_shape)
        tried.append(method)
    _check_steps(tried, settings, data, 1)  # before other processes are started
    return tried


def _check_steps(tried: list[methods.Method], settings: Settings, data: DataSet, processes: int) -> None:
    """Let methods refuse this number of steps or processes."""
    batches = sizes(len(data.train), settings.fit.batch_size or 1, processes)
    for method in tried:
        method.check_run((settings.fit.epochs or 1) * len(batches), processes, batches[0])


def _check_free(folder: RunFolder, *, resume: bool, overwrite: bool) -> None:
    if resume and overwrite:
        raise SzilardError("--resume continues a run and --overwrite replaces it; choose one")
    if folder.in_use and not (resume or overwrite):
        names = folder.methods()
        done = bool(names) and all(folder.method(name).finished for name in names)
        raise SzilardError(
            f"{folder.path} holds {'a finished' if done else 'an unfinished'} run; add --resume to continue it, "
            "--overwrite to replace it, or name another folder with --out"
        )


def _claim(
    folder: RunFolder, settings: Settings, prior: Source | None, *, resume: bool, overwrite: bool
) -> None:
    if overwrite:
        folder.clear()
    elif resume and folder.settings.is_file():
        difference = toml.read(folder.settings).differences(settings)
        if difference is not None:
            raise SzilardError(
                f"the run in {folder.path} was started with other settings: {difference}; "
                "use the same settings, or name another folder"
            )
        return
    atomic.make_folder(folder.path)
    atomic.remove_leftovers(folder.path)
    if prior is not None:
        atomic.write(folder.prior, prior.content)  # before the file that names it
    settings = replace(settings, signature=trust.sign_settings(settings))
    atomic.write(folder.settings, settings.to_toml().encode())


def _absolute(path: str) -> str:
    try:
        return str(path_of(path).resolve())
    except (OSError, ValueError, RuntimeError) as error:  # a zero byte, a loop of links
        raise SzilardError(f"{path} is not a valid path ({error}); name a file that exists") from error
