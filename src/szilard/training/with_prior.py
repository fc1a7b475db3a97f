"""A training with a prior from a run: folds choose how it is used, controls run beside it."""

from __future__ import annotations

import copy
import hashlib
import os
import warnings
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from szilard import atomic, methods, metrics
from szilard import data as data_sets
from szilard.bayes.next_prior import Unknown
from szilard.data import DataSet
from szilard.data.unseen import StandIns
from szilard.errors import SzilardError, SzilardWarning
from szilard.methods import SSVI, Deterministic, MeanField, Method
from szilard.model import prior as priors
from szilard.model.prior import Source
from szilard.run import lock
from szilard.run.folder import MethodFolder, RunFolder, to_json
from szilard.training import low_density, prior_folds
from szilard.training.devices import on_rank_zero, rank
from szilard.training.folds_progress import FoldsBar
from szilard.training.job import Job, claim
from szilard.training.loop import Loop, Plan
from szilard.training.prior_folds import Candidate, Choice, Scores
from szilard.training.progress import Bar
from szilard.training.trained import Run

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_SHOWN = 4  # weights in a message


def takes(method: Method) -> bool:
    """Whether a method can take a prior from a run: its weights are Gaussian, with a Gaussian prior."""
    return isinstance(method, SSVI | MeanField)


def check_alone(devices: int | str, fabric: Fabric | None = None) -> None:
    """Raise if there are, or would be, several processes; to be called before Fabric starts others.

    Args:
        devices: as for :func:`szilard.training.devices.start`.
        fabric: if it has been launched already.

    Raises:
        SzilardError: there are several.
    """
    processes = int(os.environ.get("WORLD_SIZE") or 1) if fabric is None else fabric.world_size
    if fabric is None and str(devices).isdigit():
        processes = max(processes, int(devices))
    if processes > 1:
        raise SzilardError(
            f"a prior from a run is chosen in one process, and this run has {processes}; start it without torchrun, "
            "on one device"
        )


def check_method(method: Method) -> None:
    """Raise unless a method can take a prior from a run.

    Raises:
        SzilardError: its weights are not Gaussian with a prior.
    """
    if not takes(method):
        raise SzilardError(
            f"{method.name} takes no prior from a run, because its weights are not Gaussian with a Gaussian prior; use "
            "the method ssvi or mean-field"
        )


def prepared(
    source: Source, method: Method, network: nn.Module, data: DataSet, widen: float
) -> tuple[nn.Module, list[Unknown]]:
    """The network that a method trains with the prior, and the weights that the source does not have.

    Raises:
        SzilardError: no weight of the source fits.
    """
    check_method(method)
    method.pretrained = True  # type: ignore[attr-defined]
    made = method.prepare(
        priors.loaded(source, network), data.target_type.meaning(data.n_outputs), data.input_shape
    )
    fan_in = method.prior == "fan-in"  # type: ignore[attr-defined]
    scale = method.prior_scale if fan_in else 1.0  # type: ignore[attr-defined]
    return made, priors.give(source, made, widen=widen, scale=scale)


@dataclass(frozen=True, eq=False)
class Training:
    """The arguments of :func:`szilard.fit` that all trainings of one call share.

    Attributes:
        method: has not been prepared.
        network: an ordinary one; ``spec`` is how it was built, or None.
        data: with the normalisation of the source.
        class_weights: ``[C]``, or None.
        out: the run folder, or None.
        options, data_source: for the description of the network in its file.
    """

    source: Source
    fabric: Fabric
    method: Method
    network: nn.Module
    spec: str | None
    data: DataSet
    plan: Plan
    lr: float | None
    samples: int
    class_weights: Tensor | None
    out: Path | None
    options: dict[str, Any]
    data_source: dict[str, Any]
    tensorboard: bool
    progress: bool

    def run(self, *, resume: bool, overwrite: bool) -> Run:
        """Choose by folds, train the controls and then the network itself.

        Raises:
            SzilardError: several processes; a method without a prior; a source of another network; ...
        """
        check_alone("auto", self.fabric)
        check_method(self.method)
        files = self._files(self.method.name)
        with ExitStack() as stack:
            if files is not None:
                stack.enter_context(lock.method(files.path))
                claim(files, resume=resume, overwrite=overwrite)
                self._keep_source(overwrite)
            self._tell_unknown()
            choice = self._choose(None if files is None else files.folds)
        controls = {
            RunFolder.FAN_IN: self._fan_in(choice.without, overwrite),
            RunFolder.FINE_TUNING: self._fine_tuning(choice.fine_tuning, overwrite),
        }
        method, network = self._made(self.method, choice.best, self.data)
        low_density.warn(network, method)
        job = self._job(method, self._files(method.name), choice)
        run = job.run(network, resume=files is not None, overwrite=False)  # the folds are in the folder
        return replace(run, choice=choice, controls=controls)

    # -- choice -------------------------------------------------------------------------------------

    def _choose(self, path: Path | None) -> Choice:
        """Train every candidate on every fold, except those that the file has, and choose."""
        data = self.data
        single = data.target_type.has_classes and data.train.y.dim() == 1
        parts = prior_folds.parts(data.train, self.plan.seed, stratify=single)
        ways = prior_folds.candidates(
            self.method.temperature, self._tuner(1).lr if self.lr is None else self.lr
        )
        scores = Scores(path, self._identity())
        label = methods.label(self.method)
        with FoldsBar(
            label, len(ways) * len(parts), len(parts), len(data.train), self.progress and rank() == 0
        ) as bar:
            for fold, part in enumerate(parts):
                given = prior_folds.fold_data(data, part)
                for way in ways:
                    scores.score(way, fold, lambda way=way, given=given: self._held_out(way, given))  # type: ignore[misc]
                    bar.step()
        return prior_folds.chosen({way: scores.each(way, len(parts)) for way in ways}, len(parts))

    def _held_out(self, way: Candidate, data: DataSet) -> Tensor:
        """NLL of each of a fold's held-out examples, ``[n]``."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SzilardWarning)  # of a short training
            start = self.method if way.lr is None else self._tuner(len(data.train))
            method, network = self._made(start, way, data)
            plan = replace(self.plan, every_steps=None, every_seconds=None)
            loop = Loop(
                self.fabric, method, network, method.optimizer(network, way.lr or self.lr), data.train, plan,
                end_of_epoch=lambda line: None, save=lambda state: None, kept=False,
            )  # fmt: skip
            method.total_steps = plan.epochs * loop.steps
            method.check_run(method.total_steps, 1, min(plan.batch_size, len(data.train)))
            with Bar(method.label, plan.epochs, loop.steps, 0, False) as bar:
                loop.run(bar)
            train = data.train.to(self.fabric.device)
            method.finish(
                network,
                data_sets.batches(train, plan.batch_size, seed=plan.seed, epoch=plan.epochs),
                data.valid,
            )
            network.eval()
            predicted = method.predict(network, data.valid.x, samples=self.samples, seed=plan.seed)
        return metrics.nll_of_each(
            predicted,
            data.valid.y,
            target_scale=data.target_scale,
            ignore_index=data.target_type.ignored,
        )

    def _made(self, start: Method, way: Candidate, data: DataSet) -> tuple[Method, nn.Module]:
        """A fresh method and its network, for one way to train."""
        method = copy.deepcopy(start)
        method.n_data = len(data.train)
        method.stand_ins = StandIns.of(data.reading, data.shift, data.scale)
        method.class_weights = self.class_weights
        meaning = data.target_type.meaning(data.n_outputs)
        if way.lr is not None:
            network = method.prepare(priors.loaded(self.source, self.network), meaning, data.input_shape)
            priors.load_noise(self.source, network)
            return method, network
        method.temperature = way.temperature
        if way.widen is None:
            return method, method.prepare(self.network, meaning, data.input_shape)
        return method, prepared(self.source, method, self.network, data, way.widen)[0]

    def _tuner(self, n_data: int) -> Deterministic:
        return Deterministic(n_data, seed=self.method.seed)

    def _tell_unknown(self) -> None:
        """Name the weights that the source does not have."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SzilardWarning)  # repeated when it is trained
            unknown = prepared(self.source, copy.deepcopy(self.method), self.network, self.data, 1.0)[1]
        if unknown:
            named = ", ".join(f"{one.name} ({one.why})" for one in unknown[:_SHOWN])
            more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
            one = len(unknown) == 1
            warnings.warn(
                f"{named}{more}: the prior ({self.source.label}) does not have {'it' if one else 'them'}, so "
                f"{'it starts' if one else 'they start'} from scratch with the fan-in prior",
                SzilardWarning,
                stacklevel=2,
            )

    # -- controls -----------------------------------------------------------------------------------

    def _fan_in(self, way: Candidate, overwrite: bool) -> Run:
        """The same method without the prior, at the temperature that the folds chose for it."""
        method, network = self._made(self.method, way, self.data)
        job = replace(
            self._job(method, self._files(method.name, RunFolder.FAN_IN), None),
            identity={"prior": self.source.hash},
        )
        return job.run(network, resume=job.files is not None and not overwrite, overwrite=overwrite)

    def _fine_tuning(self, way: Candidate, overwrite: bool) -> Run:
        """Maximum likelihood from the source's weights; several methods of a run share it."""
        method, network = self._made(self._tuner(len(self.data.train)), way, self.data)
        job = replace(
            self._job(method, self._files(method.name, RunFolder.FINE_TUNING), None),
            lr=way.lr,
            identity={"prior": self.source.hash},
        )
        return job.run(network, resume=job.files is not None and not overwrite, overwrite=overwrite)

    def _job(self, method: Method, files: MethodFolder | None, choice: Choice | None) -> Job:
        options = dict(self.options) if method.name == self.method.name else {}
        if options:
            options["temperature"] = method.temperature
        told: dict[str, Any] = {}
        if choice is not None:
            if choice.best.widen is not None:
                options["pretrained"] = True
            told = {"hash": self.source.hash, "source": self.source.label, **choice.to_dict()}
        return Job(
            fabric=self.fabric,
            method=method,
            data=self.data,
            plan=self.plan,
            lr=self.lr,
            samples=self.samples,
            files=files,
            made_from={"network": self.spec, "options": options, "data": self.data_source},
            tensorboard=self.tensorboard and self.out is not None,
            progress=self.progress,
            prior=told,
            identity={} if choice is None else {"prior": self.source.hash, "chosen prior": choice.best.name},
        )

    # -- files --------------------------------------------------------------------------------------

    def _files(self, name: str, control: str = "") -> MethodFolder | None:
        return None if self.out is None else MethodFolder(self.out / control / name)

    def _keep_source(self, overwrite: bool) -> None:
        """Write ``prior.pt`` into the run folder.

        Raises:
            SzilardError: the folder has another prior.
        """
        assert self.out is not None  # only runs with files keep it
        path = RunFolder(self.out).prior
        if path.is_file() and not overwrite:
            if priors.load(path).hash != self.source.hash:
                raise SzilardError(
                    f"{path} is another prior than the given one; name another folder, or replace the run with "
                    "overwrite=True"
                )
            return
        on_rank_zero(self.fabric, lambda: atomic.write(path, self.source.content))

    def _identity(self) -> str:
        """Digest of everything that decides the scores of the folds."""
        plan = self.plan
        facts = {
            "prior": self.source.hash, "method": self.method.name, "options": self.options, "network": self.spec,
            "data": self.data.name, "examples": len(self.data.train), "epochs": plan.epochs,
            "batch": plan.batch_size, "seed": plan.seed, "augment": plan.augment, "lr": self.lr,
            "temperature": self.method.temperature, "samples": self.samples,
            "weights": _digest(self.network.state_dict().values()),
            "x": _digest([self.data.train.x]), "y": _digest([self.data.train.y]),
            "precision": str(self.fabric.strategy.precision.precision),
        }  # fmt: skip
        return hashlib.sha256(to_json(facts).encode()).hexdigest()


def _digest(tensors: Iterable[Tensor]) -> str:
    """Of the values of some tensors, hexadecimal."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
