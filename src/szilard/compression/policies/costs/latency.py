"""Latency of the compiled network: predicted from a table of layers, and measured beside the original network."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from szilard.compression.policies.compiled_policy import compile_policy, integer_layers, with_integers
from szilard.compression.policies.costs.latency_fit import LatencyFit, Parts
from szilard.compression.policies.costs.latency_table import LatencyTable
from szilard.compression.policies.costs.meter import Measure, Meter
from szilard.compression.policies.costs.policy_rows import first_layer, policy_rows, space_rows
from szilard.compression.policies.costs.rounded_values import RoundedValues
from szilard.compression.policies.costs.rows import Row
from szilard.compression.policies.policy import FLOAT, LayerPolicy, Policy
from szilard.compression.policies.space import Space
from szilard.deploy import Compiled, backends
from szilard.errors import SzilardError
from szilard.likelihood import Likelihood
from szilard.likelihood.targets import TaskName

if TYPE_CHECKING:
    from szilard.compression.channels.units import ChannelUnits

_WIDTHS = (1.0, 0.6, 0.3)  # of the networks that are measured to fit the prediction
_WIDTHS_ALONE = (1.0, 0.8, 0.6, 0.4, 0.25)  # where no layer may become integers
_RANGES = 64  # inputs for the ranges of activations
_ORIGINAL = "original"


class LatencyCost:
    """Seconds of a network in ONNX Runtime at batch 1.

    At first use a few small networks are built from the original, compiled and measured, to fit how the seconds of a
    network follow from those of its layers (:class:`LatencyFit`). Nothing is trained for that.

    Args:
        network: the original, in eval mode; it is not changed.
        example: inputs ``[N, *shape]``: the first is run, and the ranges of activations are those of all.
        units: the channels of the network.
        threads: of the runtime.
        table_path: file of the table of layers, see :class:`LatencyTable`.
        integers: whether policies may have 8-bit layers.
        predicts: whether seconds of policies will be asked for before they are measured; a policy that is known
            needs none, and the networks to fit the prediction are left out.
        noisy: go on with a note if the machine is too noisy.
        seed: of the networks that are measured to fit the prediction.
        task: of the network's outputs.
        measure: function that measures, instead of :class:`Meter`: runs by name to seconds by name.
        machine: what the table belongs to, instead of this machine.

    Raises:
        SzilardError: ONNX Runtime is not installed, or the table cannot be used.
    """

    unit = "seconds"

    def __init__(
        self,
        network: nn.Module,
        example: Tensor,
        units: ChannelUnits,
        *,
        threads: int = 1,
        table_path: Path | str | None = None,
        integers: bool = True,
        noisy: bool = False,
        seed: int = 0,
        task: TaskName | Likelihood = "classification",
        predicts: bool = True,
        measure: Measure | None = None,
        machine: Mapping[str, str] | None = None,
    ) -> None:
        backends.backend("onnx")  # says how to install it
        self._network, self._units = network, units
        self._example, self._ranges = example[:1], example[:_RANGES]
        self._threads, self._integers, self._seed, self._task = threads, integers, seed, task
        self._meters = [Meter(threads=threads, noisy=noisy, brief=brief) for brief in (False, True)]
        self._measure: Measure = measure or self._meters[0]
        self.table = LatencyTable(
            threads=threads, path=table_path, measure=measure or self._meters[1], machine=machine
        )
        self._predicts = predicts
        self._first = first_layer(units, network, self._example)
        self.fit = LatencyFit()
        self._original: Compiled | None = None
        self._reference: float | None = None
        self._graph: RoundedValues | None = None
        self._parts: dict[Policy, Parts] = {}

    @property
    def notes(self) -> list[str]:
        """What a reader of the figures has to know."""
        return [note for meter in self._meters for note in meter.notes][:1]  # both say the same

    @property
    def reference(self) -> float:
        """Seconds of the original network, compiled in float32."""
        self.calibrate()
        assert self._reference is not None
        return self._reference

    @property
    def table_error_percent(self) -> float | None:
        """Mean error of the prediction on networks that did not fit it, percent of their seconds."""
        return self.fit.error_percent

    error_percent = table_error_percent

    def calibrate(self) -> None:
        """Measure the original network and a few smaller ones, and fit the prediction; only the first call does."""
        if self._reference is not None:
            return
        made = self._calibration()
        seconds = self._measure({name: self._run(one) for name, (_, one) in made.items()})
        self._original, self._reference = made[_ORIGINAL][1], seconds[_ORIGINAL]
        if not self._predicts:
            return
        self.table.prepare(row for policy, _ in made.values() for row in self._rows(policy).values())
        self._graph = RoundedValues(self._original.run.content)  # type: ignore[attr-defined]
        for name, (policy, _) in made.items():
            self.fit.calibrate(self._parts_of(policy), seconds[name])

    def prepare(self, space: Space, progress: Callable[[int, int], None] | None = None) -> None:
        """Measure the rows of all layers of all policies of a space at once.

        Args:
            space: of policies.
            progress: is told how many rows are measured, and of how many.
        """
        self.calibrate()
        self.table.prepare(space_rows(space, self._rows), progress)

    def predicted(self, policy: Policy) -> float:
        """Seconds of the network that a policy makes, from the table; NaN if nothing was fitted for that."""
        self.calibrate()
        if not self._predicts:
            return math.nan
        return self.fit.predict(self._parts_of(policy))

    def compiled(self, network: nn.Module, policy: Policy) -> Compiled:
        """The network that a policy made, as it is measured: for one input."""
        return compile_policy(
            network, policy, self._example, self._ranges, threads=self._threads, task=self._task, batch=1
        )

    def measured(self, network: nn.Module, policy: Policy) -> float:
        """Seconds of the network that a policy made, compiled.

        It takes turns with the original network, and their ratio is multiplied by :attr:`reference`: the speed of a
        machine changes between measurements.

        Raises:
            SzilardError: the network cannot be compiled, or the machine is too noisy.
        """
        reference = self.reference
        assert self._original is not None
        made = self.compiled(network, policy)
        found = self._measure({_ORIGINAL: self._run(self._original), "network": self._run(made)})
        return found["network"] / found[_ORIGINAL] * reference

    def observe(self, policy: Policy, value: float) -> None:
        """Correct later predictions by what was measured of a policy's network."""
        self.calibrate()
        self.fit.observe(self._parts_of(policy), value)

    def _rows(self, policy: Policy) -> dict[str, Row]:
        return policy_rows(self._units, policy, self._first)

    def _parts_of(self, policy: Policy) -> Parts:
        found = self._parts.get(policy)
        if found is None:
            integer_layers(policy)  # refuses bits that the runtime does not have, before anything is measured
            rows = list(self._rows(policy).values())
            self.table.prepare(rows)
            bits = itertools.pairwise([FLOAT, *(row.bits for row in rows)])
            switched = sum(row.values for row, (before, now) in zip(rows, bits, strict=True) if before != now)
            found = Parts(
                sum(self.table.seconds(row) for row in rows), self._rounded(policy), float(switched)
            )
            self._parts[policy] = found
        return found

    def _rounded(self, policy: Policy) -> float:
        """Values between floats and integers."""
        assert self._graph is not None
        shapes = self._units.layers
        shares = {layer.name: layer.channels / shapes[layer.name].outputs for layer in policy.layers}
        return self._graph.count(frozenset(integer_layers(policy)), shares)

    def _run(self, compiled: Compiled) -> Callable[[], object]:
        x = self._example.detach().contiguous()
        return lambda: compiled.run(x)

    def _calibration(self) -> dict[str, tuple[Policy, Compiled]]:
        """Networks of several widths, each with several choices of layers in integers."""
        draw = random.Random(self._seed)
        found: dict[str, tuple[Policy, Compiled]] = {}
        for name_of, kept in self._sizes().items():
            sizes = self._units.sizes(kept)
            small = self._network
            if name_of != _ORIGINAL:
                try:
                    small = self._units.smaller(
                        self._network, {name: range(count) for name, count in kept.items()}
                    )
                except SzilardError:  # these sizes do not work for all pools at once; the others fit, too
                    continue
            plain = Policy(tuple(LayerPolicy(name, outputs) for name, (_, outputs) in sizes.items()))
            compiled = self.compiled(small, plain)
            found[name_of] = plain, compiled
            there = [name for name, both in sizes.items() if all(both)]
            for number, layers in enumerate(
                _stretches(there, draw) if self._integers and self._predicts else ()
            ):
                policy = Policy(
                    tuple(
                        LayerPolicy(name, outputs, *((8, 8) if name in layers else (32, 32)))
                        for name, (_, outputs) in sizes.items()
                    )
                )
                found[f"{name_of}, integers {number}"] = (
                    policy,
                    with_integers(compiled, layers, self._ranges),
                )
        return found

    def _sizes(self) -> dict[str, dict[str, int]]:
        """Units that each network of the calibration keeps of every pool: widths, and every other branch gone."""
        pools = self._units.pools
        if not self._predicts:
            return {_ORIGINAL: {name: len(pool.units) for name, pool in pools.items()}}
        found = {
            _ORIGINAL if width == 1 else f"width {width}": {
                name: max(1, round(width * len(pool.units))) for name, pool in pools.items()
            }
            for width in (_WIDTHS if self._integers else _WIDTHS_ALONE)
        }
        gone = [name for name, pool in pools.items() if pool.optional][::2]
        if gone:
            found["every other branch"] = found[_ORIGINAL] | dict.fromkeys(gone, 0)
        return found


def _stretches(names: list[str], draw: random.Random) -> list[list[str]]:
    """Layers in integers: all, a stretch, and every layer by a toss of a coin."""
    start = draw.randrange(max(1, len(names) // 2))
    tossed = [name for name in names if draw.random() < 0.5] or names[:1]
    return [names, names[start : start + max(1, len(names) // 2)], tossed]
