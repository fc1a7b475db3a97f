"""Trains one method on one data set, evaluates it and writes its files."""

from __future__ import annotations

import math
import warnings
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from szilard import atomic, methods
from szilard import data as data_sets
from szilard.cost import Cost, Stopwatch
from szilard.data import DataSet
from szilard.data.batching import sizes
from szilard.errors import SzilardError, SzilardWarning
from szilard.methods import Method
from szilard.methods.chain_figures import ChainFigures, of_chains
from szilard.model import checkpoint, details, evaluate, saved_network
from szilard.run import arrays, lock
from szilard.run.folder import MethodFolder, to_json
from szilard.training import divergence, low_density, resumable, total_cost
from szilard.training.devices import on_rank_zero
from szilard.training.log import Log
from szilard.training.loop import Loop, Plan
from szilard.training.progress import Bar
from szilard.training.trained import Run

if TYPE_CHECKING:
    from lightning_fabric import Fabric

VALID_SAMPLES = 4  # draws of the network for the evaluation on the validation set after each epoch


@dataclass(eq=False)
class Job:
    """A call of :func:`szilard.fit`; most fields are its arguments.

    Attributes:
        files: the folder to write to, or None.
        made_from: "network", "options" and "data": specs from which the same objects can be built again.
        prior: what is told in ``result.json`` about a prior from a run; empty if there is none.
        identity: more settings that determine the result.
        chains: of a method that keeps draws of chains, after training, in the first process.
    """

    fabric: Fabric
    method: Method
    data: DataSet
    plan: Plan
    lr: float | None
    samples: int
    files: MethodFolder | None
    made_from: dict[str, Any]
    tensorboard: bool
    progress: bool
    prior: dict[str, Any] = field(default_factory=dict)
    identity: dict[str, Any] = field(default_factory=dict)
    chains: ChainFigures | None = field(default=None, init=False)

    def run(self, network: nn.Module, *, resume: bool, overwrite: bool) -> Run:
        """Train the prepared ``network``, evaluate it once on the test set, and write all files."""
        self.method.check_run(self._total_steps, self.fabric.world_size, self._batches[0])
        with ExitStack() as stack:
            files = self.files
            if files is not None:
                on_rank_zero(self.fabric, lambda: stack.enter_context(lock.method(files.path)))
                on_rank_zero(self.fabric, lambda: claim(files, resume=resume, overwrite=overwrite))
            try:
                return self._run(network, resume)
            except atomic.NotWritten as error:
                raise error.advised("call it again with resume=True") from error

    @property
    def _total_steps(self) -> int:
        return self.plan.epochs * len(self._batches)

    @property
    def _batches(self) -> list[int]:
        """Examples in each batch of one process in an epoch."""
        return sizes(len(self.data.train), self.plan.batch_size, self.fabric.world_size)

    def _run(self, network: nn.Module, resume: bool) -> Run:
        files = self.files
        start = arrays.of_posterior(network, "start")
        untrained = on_rank_zero(self.fabric, lambda: self._untrained(network))
        with Stopwatch() as watch:
            history = self._train(network, resume)
        train = self.data.train.to(self.fabric.device)
        plan = self.plan
        self.method.finish(
            network,
            data_sets.batches(train, plan.batch_size, seed=plan.seed, epoch=plan.epochs),
            self.data.valid,
        )
        network.eval()
        test, valid, cost = on_rank_zero(
            self.fabric, lambda: self._conclude(network, history, start, untrained, watch.peak_bytes)
        )
        return Run(
            method=self.method.name,
            label=methods.label(self.method, network),
            network=network,
            trainer=self.method,
            test=test,
            valid=valid,
            cost=cost,
            history=history,
            folder=None if files is None else files.path,
            chains=self.chains,
        )

    def _untrained(self, network: nn.Module) -> float:
        """NLL on the validation set before the first step; infinite if the network cannot predict yet."""
        try:
            quality = self._look(network)
        except SzilardError:
            return math.inf
        return quality["nll"]

    def _look(self, network: nn.Module) -> dict[str, float]:
        """Metrics on the validation set, with few draws of the network."""
        valid = self.data.valid
        quality, _, _ = evaluate.judge(
            self.method, network, self.data, valid, samples=VALID_SAMPLES, seed=self.plan.seed, ood=False
        )
        return quality

    def _train(self, network: nn.Module, resume: bool) -> list[dict[str, Any]]:
        """Train; return the log of all epochs, including those before a resumption."""
        method, files, plan = self.method, self.files, self.plan
        method.total_steps = self._total_steps
        loop = Loop(
            self.fabric,
            method,
            network,
            method.optimizer(network, self.lr),
            self.data.train,
            plan,
            end_of_epoch=lambda line: self._log(line, network, history, bar, log),
            save=self._save,
            kept=files is not None,
        )
        history: list[dict[str, Any]] = []
        if files is not None:
            if resume and files.checkpoint.is_file():
                state = checkpoint.load(files.checkpoint, "checkpoint")
                with checkpoint.reading(files.checkpoint, "checkpoint"):
                    checkpoint.check_belongs(files.checkpoint, state["made_by"], self._made_by())
                    loop.match(state["network"])
                    checkpoint.check_shapes(files.checkpoint, state["network"], network.state_dict())
                    resumable.check(
                        files.checkpoint, state, method=method, network=network, optimizer=loop.optimizer,
                        epochs=plan.epochs, steps=loop.steps, processes=self.fabric.world_size,
                    )  # fmt: skip
                    self._compare_threads(files.checkpoint, state)
                    loop.restore(state)
            history += on_rank_zero(self.fabric, lambda: files.rewind(method.step))
        first = self.fabric.global_rank == 0
        with (
            Log(files.path if files and self.tensorboard and first else None, method.step) as log,
            Bar(methods.label(method), plan.epochs, loop.steps, method.step, self.progress and first) as bar,
        ):
            loop.run(bar)
        if not history:  # a checkpoint of the last epoch, and a log that was emptied
            raise SzilardError(
                f"the training log of {self.method.name} is empty, so the training time of the result is unknown; "
                "restore metrics.jsonl, or start again with overwrite=True"
            )
        return history

    def _log(
        self, line: dict[str, Any], network: nn.Module, history: list[dict[str, Any]], bar: Bar, log: Log
    ) -> None:
        def look() -> dict[str, float]:
            valid = self._look(network)
            if self.files is not None:
                self.files.append({**line, "valid": valid})
            return valid

        line["valid"] = on_rank_zero(self.fabric, look)
        history.append(line)
        bar.valid(line["valid"])
        log.write(line)

    def _save(self, state: dict[str, Any]) -> None:
        files = self.files
        if files is not None:
            content = {"made_by": self._made_by(), **state}
            on_rank_zero(self.fabric, lambda: checkpoint.save(files.checkpoint, "checkpoint", content))

    def _compare_threads(self, path: Path, state: dict[str, Any]) -> None:
        """Warn if the number of threads has changed: sums are then rounded differently."""
        before, now = state.get("threads"), torch.get_num_threads()  # not written by earlier versions
        if isinstance(before, int) and before != now and self.fabric.global_rank == 0:
            warnings.warn(
                f"{path} was written by a run with {before} threads and this one has {now}, so the result may "
                "differ in the last digits from that of an uninterrupted run; set "
                f"OMP_NUM_THREADS={before} to avoid this",
                SzilardWarning,
                stacklevel=2,
            )

    def _made_by(self) -> dict[str, Any]:
        """All settings that determine the result; a checkpoint can only be used by a run with the same settings."""
        return {
            "method": self.method.name,
            "network": self.made_from["network"],
            "options": self.made_from["options"],
            "data": self.data.name,
            "training examples": len(self.data.train),
            "epochs": self.plan.epochs,
            "batch size": self.plan.batch_size,
            "learning rate": self.lr,
            "temperature": self.method.temperature,
            "seed": self.plan.seed,
            "augmentation": self.plan.augment,
            "number of processes": self.fabric.world_size,
            "precision": str(self.fabric.strategy.precision.precision),
            **(
                {}
                if self.method.class_weights is None
                else {"class weights": self.method.class_weights.tolist()}
            ),
            **self.identity,
        }

    def _conclude(
        self,
        network: nn.Module,
        history: list[dict[str, Any]],
        start: arrays.Arrays,
        untrained: float,
        peak_bytes: int,
    ) -> tuple[dict[str, float], dict[str, float], Cost]:
        method, data, seed = self.method, self.data, self.plan.seed
        valid, _, _ = evaluate.judge(
            method, network, data, data.valid, samples=self.samples, seed=seed, ood=False
        )
        test, predictive, elsewhere = evaluate.judge(
            method, network, data, data.test, samples=self.samples, seed=seed
        )
        cost = total_cost.of_run(
            network,
            data.input_shape,
            method,
            batches=[size * self.fabric.world_size for size in self._batches],
            seconds=history[-1]["seconds"],
            peak_bytes=peak_bytes,
        )
        diverged = divergence.message(
            data, untrained, history[-1]["energy"], valid["nll"], methods.label(method), method.step,
            low_density.advice(network, method),
        )  # fmt: skip
        if method.resizes:  # how many entries a layer has is known at the end only
            low_density.warn(network, method)
        if diverged is not None:
            warnings.warn(diverged, SzilardWarning, stacklevel=2)
        self.chains = of_chains(method, network, data.valid, seed)
        if self.files is not None:
            pictures = arrays.of_predictions(data, predictive, elsewhere)
            arrays.save(self.files.arrays, start | arrays.of_posterior(network, "end") | pictures)
            made = self.made_from
            saved_network.save(
                self.files.network, method, network, data,
                options=made["options"], network_spec=made["network"], source=made["data"],
            )  # fmt: skip
            result = {
                "method": method.name,
                "name": methods.label(method, network),
                "network": made["network"],
                "data": data.name,
                "task": data.task,
                "classes": list(data.classes),
                "targets": list(data.targets),
                "ood": data.judged_ood_name,
                "seed": seed,
                "samples": self.samples,
                "epochs": self.plan.epochs,
                "steps": method.step,
                "n_train": len(data.train),
                "test": test,
                "valid": valid,
                "cost": cost.to_dict(),
                "density": evaluate.densities(network),
                **details.of(predictive, data.test.y, data, ood=elsewhere, seed=seed),
            }
            if diverged is not None:
                result["diverged"] = diverged
            if self.chains is not None:
                result["chains"] = self.chains.to_dict()
            if self.prior:
                result["prior"] = self.prior
            atomic.write(self.files.result, (to_json(result, indent=2) + "\n").encode())
        return test, valid, cost


def claim(files: MethodFolder, *, resume: bool, overwrite: bool) -> None:
    """Raise if a run would be overwritten without ``overwrite``."""
    if files.started and not resume:
        if not overwrite:
            state = "a finished run" if files.finished else "an unfinished run"
            raise SzilardError(
                f"{files.path} holds {state}; add resume=True to continue it, overwrite=True to replace "
                "it, or name another folder"
            )
        files.clear()
    files.open()
