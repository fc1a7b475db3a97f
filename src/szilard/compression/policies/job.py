"""One search for a policy, from the units of the network to the file."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from szilard.compression.channels.units import ChannelUnits
from szilard.compression.policies import divergence, harm, importance, sensitivity
from szilard.compression.policies.applied import PolicyEffect, positions_kept
from szilard.compression.policies.budget import TargetTooSmall
from szilard.compression.policies.checked import Given
from szilard.compression.policies.compiled_policy import integer_layers
from szilard.compression.policies.costs.base import Cost
from szilard.compression.policies.costs.by_measure import bits_of, cost_of
from szilard.compression.policies.finishing import finish
from szilard.compression.policies.found import Found
from szilard.compression.policies.history import History, header
from szilard.compression.policies.measured_search import Search
from szilard.compression.policies.onnx_file import OnnxFile, onnx_file
from szilard.compression.policies.options import features_of, space_of
from szilard.compression.policies.policy import LayerPolicy, Policy
from szilard.compression.policies.problem import Problem, Trial
from szilard.compression.policies.real_networks import RealNetworks
from szilard.compression.policies.search_progress import SearchProgress
from szilard.compression.policies.sensitivity import Sensitivity
from szilard.compression.policies.space import Choice, Space
from szilard.compression.policies.szd_file import SzdFile, coded, szd_file
from szilard.compression.policies.target import Target
from szilard.compression.policies.training import train
from szilard.compression.policies.trial_kl import trial_kl
from szilard.cost.processor_name import processor
from szilard.errors import SzilardError
from szilard.likelihood import Likelihood, choose

TOLERANCE = 1.02  # of the target, for the finished network: two measurements of one network differ by as much
HISTORY = "history.jsonl"


@dataclass(frozen=True, eq=False)
class Searched:
    """What a search found."""

    space: Space
    sensitivity: Sensitivity
    best: Trial
    trials: list[Trial]


class Job:
    """One search.

    Args:
        given: the user's arguments.
        bar: shows the progress.
    """

    def __init__(self, given: Given, bar: SearchProgress) -> None:
        self.given, self.bar = given, bar
        self.seconds: dict[str, float] = {}
        self.notes: list[str] = []

    def run(self) -> Found:
        """Search, train, write the file, and measure it.

        Raises:
            SzilardError: see :func:`szilard.compression.galen`.
        """
        given, searched = self.given, None
        if given.policy is not None:
            self.units.kept_of(
                given.policy
            )  # refuses a policy for another network before anything is measured
            if given.measure != "bytes":
                integer_layers(given.policy)  # and bits that the runtime does not have
        with self._timed("table", "measuring costs"):
            reference = self.cost.reference
            share = None if given.target is None else Target.of(given.target, given.unit).share(reference)
        policy = given.policy
        if policy is None:
            assert share is not None
            try:
                searched = self._searched(share)
            except TargetTooSmall as error:
                raise self._in_units(error, reference) from error
            policy = searched.space.policy(searched.best.choice)
        return self._finished(policy, share, searched)

    def _in_units(self, error: TargetTooSmall, reference: float) -> SzilardError:
        """The error about a target as the user gave it: a share, or an amount."""
        target = Target.of(self.given.target, self.given.unit) if self.given.target is not None else None
        if target is None or not target.unit:
            return error
        least = error.least * reference
        return SzilardError(
            f"the target of {target.amount:.4g} {target.unit} is below what the smallest policy of the search reaches, "
            f"about {least:.4g} {target.unit}; give a target of at least that"
        )

    @cached_property
    def units(self) -> ChannelUnits:
        """Channels of the network that belong together."""
        return ChannelUnits.of(self.given.network, self.given.inputs)

    @cached_property
    def cost(self) -> Cost:
        """What the target is about."""
        meta = self.given.meta
        return cost_of(
            self.given, self.units, self.likelihood, lambda network, policy: coded(network, policy, meta)
        )

    @cached_property
    def outputs(self) -> Tensor:
        """Of the original network for the calibration inputs."""
        return divergence.outputs_of(self.given.network, self.given.inputs)

    @cached_property
    def effect(self) -> PolicyEffect:
        """What policies do to the network."""
        given = self.given
        ranks = importance.rank(
            given.network, self.units, given.inputs, given.seed, likelihood=self.likelihood
        )
        return PolicyEffect(given.network, self.units, ranks, given.inputs, self.likelihood)

    @cached_property
    def likelihood(self) -> Likelihood:
        """What the outputs mean: as the task says, or seen from labels or, without them, from outputs."""
        given, some = self.given, self.given.labelled
        if some is None:
            chosen = choose(self.outputs, task=given.task)
            if given.task is None:
                name = chosen.likelihood.name
                self.notes.append(
                    f"outputs are read as {name} ({chosen.reason}); give the task if they are not"
                )
            return chosen.likelihood
        outputs = divergence.outputs_of(given.network, some[0])
        return choose(outputs, some[1], task=given.task).likelihood

    def kl(self, network: nn.Module) -> float:
        """KL(original ‖ network), nats per example."""
        return divergence.kl(self.outputs, network, self.given.inputs, self.likelihood)

    def _searched(self, share: float) -> Searched:
        given = self.given
        space = space_of(self.units, bits_of(given), branches=given.measure != "bytes")
        with self._timed("table", "measuring costs"):
            self.cost.prepare(space, self.bar.step)
        with self._timed("sensitivity", "sensitivity"):
            sensed = sensitivity.measure(
                given.network, self.units, space, self.effect.ranks, given.inputs, given.folder, self.bar.step,
                likelihood=self.likelihood,
            )  # fmt: skip
        problem = Problem(
            space, sensed.nats, lambda choice: self.cost.predicted(space.policy(choice)) / self.cost.reference,
            share, features_of(space, self.units.layers), given.seed,
        )  # fmt: skip
        with self._timed("search", "searching"), self._history(problem) as history:

            def evaluate(choice: Choice) -> float:
                return trial_kl(self.effect, space.policy(choice), given.trial_steps, given.seed)

            found = Search(
                given.search, problem, evaluate, RealNetworks(self.effect, self.cost, space), history,
                given.evaluations, lambda done, text: self.bar.step(done, given.evaluations, text),
            ).run()  # fmt: skip
            return Searched(space, sensed, found, list(history.trials))

    def _history(self, problem: Problem) -> History:
        given, effect = self.given, self.effect
        if given.folder is None:
            return History()
        named = header(
            problem, given.search, measure=given.measure if isinstance(given.measure, str) else "function",
            evaluations=given.evaluations, trial_steps=given.trial_steps, threads=given.threads, machine=processor(),
            content=sensitivity.content_hash(
                given.network, problem.space, effect.ranks, given.inputs, type(self.likelihood).__name__
            ),
        )  # fmt: skip
        return History.open(given.folder / HISTORY, named, resume=True)

    def _finished(self, policy: Policy, share: float | None, searched: Searched | None) -> Found:
        given, cost = self.given, self.cost
        with self._timed("finishing", "fine-tuning" if given.finetune else "finishing"):
            network = self.effect.apply(policy)
            before = self.kl(network)
            if given.finetune:
                x, y = given.training
                train(
                    network, given.network, x, labels=y, epochs=given.finetune, likelihood=self.likelihood,
                    seed=given.seed, progress=self.bar.step,
                )  # fmt: skip
        with self._timed("finishing", "writing the file"):
            plain = finish(
                network,
                given.network,
                self.units,
                self._kept(policy),
                given.inputs,
                likelihood=self.likelihood,
            )
            file = self._file(plain, policy, share)
            value = float(len(file.content)) if isinstance(file, SzdFile) else cost.measured(plain, policy)
        missed = share is not None and value > TOLERANCE * share * cost.reference
        if missed and searched is None:
            raise SzilardError(
                f"the policy costs {value / cost.reference:.3f} of the original, more than the target {share:.3f}; "
                "edit the policy, give a larger target, or leave the target out"
            )
        if missed:
            self.notes.append(
                f"the finished network costs {value / cost.reference:.3f} of the original, more than the target "
                f"{share:.3f}; search again with a smaller target"
            )
        after = self.kl(file.network if isinstance(file, SzdFile) else network)
        self.notes += harm.notes(after, file.before, file.after)
        return Found(
            network=file.network if isinstance(file, SzdFile) else network,
            policy=policy,
            sizes={name: shape.outputs for name, shape in self.units.layers.items()},
            unit=cost.unit,
            reference=cost.reference,
            cost=value,
            target=math.inf if share is None else share * cost.reference,
            predicted=math.nan if searched is None else cost.predicted(policy),
            kl=after,
            kl_before=before,
            content=file.content,
            compiled=None if isinstance(file, SzdFile) else file.compiled,
            before=file.before,
            after=file.after,
            table_error=cost.error_percent,
            searcher="" if searched is None else given.search,
            trials=() if searched is None else searched.trials,
            space=None if searched is None else searched.space,
            sensitivity=None if searched is None else searched.sensitivity,
            whole=dict(self.units.whole),
            gone=frozenset(self.units.layers).difference(dict(plain.named_modules())),
            notes=[*self.notes, *cost.notes, *(file.notes if isinstance(file, SzdFile) else ())],
            seconds=self.seconds,
        )

    def _kept(self, policy: Policy) -> dict[str, Sequence[int]]:
        return positions_kept(self.units, self.effect.ranks, policy)

    def _file(self, network: nn.Module, policy: Policy, share: float | None) -> OnnxFile | SzdFile:
        given = self.given
        if given.measure == "bytes":
            return szd_file(
                network, given.network, self.units, self._kept(policy), given.inputs,
                max_bytes=None if share is None else int(share * self.cost.reference), evaluation=given.evaluation,
                likelihood=self.likelihood, deployed=given.deployed, meta=given.meta, seed=given.seed,
            )  # fmt: skip
        original = Policy(
            tuple(LayerPolicy(name, shape.outputs) for name, shape in self.units.layers.items())
        )
        return onnx_file(
            given.network, network, policy, original, given.inputs, evaluation=given.evaluation,
            threads=given.threads, deployed={"task": self.likelihood, **given.deployed},
        )  # fmt: skip

    @contextmanager
    def _timed(self, part: str, text: str) -> Iterator[None]:
        self.bar.stage(text)
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - started
