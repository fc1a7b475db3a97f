"""What a compression needs before its first attempt: the original, its data, what judges it, and its outputs."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from szilard.compression import constant_targets
from szilard.compression.adapter import Adapter
from szilard.compression.calibration import Calibration
from szilard.compression.check import (
    check_network,
    check_shape,
    check_weights,
    shape_of,
)
from szilard.compression.copies import inner, sharing
from szilard.compression.imagined_inputs import guess_shape, imagine, norms
from szilard.compression.job import Evaluate
from szilard.compression.judge import Forward, Judge, judge, without_labels
from szilard.compression.layers import warn_of_exact_tensors
from szilard.compression.logits import usual_logits
from szilard.compression.memory import fitted
from szilard.compression.mirrored_images import is_cheap as may_mirror
from szilard.compression.mirrored_images import with_mirrored
from szilard.compression.other_outputs import OtherOutputs
from szilard.compression.parametrisations import plain_note, without_parametrisations
from szilard.compression.passes.posterior import is_posterior
from szilard.compression.probe import Probe
from szilard.compression.raw_units import raw_units
from szilard.compression.repeatable import check_repeatable
from szilard.errors import SzilardError, SzilardWarning
from szilard.likelihood import Likelihood
from szilard.networks import computed


@dataclass(frozen=True, eq=False)
class Prepared:
    """A network that is ready to be compressed.

    Attributes:
        original: a copy of the user's network that shares its weights, without parametrisations, in eval mode.
        scale: λ for a predicted loss of one nat, nats per bit: 2 ln 2 / n for n weights.
        data: calibration data, or None.
        adapter: calls a network on a batch.
        judge: by labels or by the original's outputs; None without data.
        score: what judges networks: the user's ``evaluate``, or ``judge``; or None.
        task_text: the assumed meaning of the outputs and how they are judged, as text.
        notes: notes for the user so far, one sentence each.
        parametrised: names of the parametrisations that are not in the original.
    """

    original: nn.Module
    scale: float
    data: Calibration | None
    adapter: Adapter
    judge: Judge | None
    score: Evaluate | None
    task_text: str
    notes: list[str]
    parametrised: list[str]

    @classmethod
    def of(
        cls,
        network: nn.Module,
        calibration: Any,
        forward: Forward | None,
        task: str | None,
        evaluate: Evaluate | None,
    ) -> Prepared:
        """From the arguments of :func:`szilard.compress`.

        Raises:
            SzilardError: weights are not finite, or calibration data do not fit the network.
        """
        check_network(network)
        network, unwrapped = inner(network)
        original = sharing(network).eval()
        values = sum(p.numel() for p in original.parameters() if p.is_floating_point())
        check_weights(original, values)
        data = None
        if calibration is not None:
            data = Calibration.of(calibration, original, forward=forward, hold_out=evaluate is None)
            data = fitted(data, original, data.adapter.call)
        adapter = Adapter(forward=forward) if data is None else data.adapter
        probe = None
        if computed(original):
            probe = Probe.of(original, [] if data is None else data.inputs, adapter.call)
        original, names = without_parametrisations(original, probe)
        own = None
        if data is not None:
            own, data = _judge(original, data, task, needed=evaluate is None)
        return cls(
            original=original,
            scale=2 * math.log(2) / values,
            data=data,
            adapter=adapter,
            judge=own,
            score=evaluate or (None if own is None else own.scores),
            task_text=_task_text(own, evaluate is not None),
            notes=list(unwrapped),
            parametrised=names,
        )

    def warn(self) -> None:
        """Note, with warnings, what is stored in another way than the user might expect."""
        if self.parametrised:
            note = plain_note(self.parametrised)
            warnings.warn(note, SzilardWarning, stacklevel=3)
            self.notes.append(note)
        self.notes.extend([] if self.data is None else self.data.notes)
        raw = warn_of_exact_tensors(self.original)
        if raw:
            self.notes.append(f"{len(raw)} tensors are stored as exact bytes: {', '.join(raw)}")

    def inputs(self, shape: Sequence[int] | None, seed: int, tell: Callable[[str], None]) -> list[Any]:
        """Batches to compress with: those of the data, mirrored ones, too, if that is cheap; else imagined ones."""
        if self.data is None:
            return _imagined(self.original, shape, seed, self.notes, tell)
        found = self.data.inputs
        return with_mirrored(found) if may_mirror(self.original, found) else found


@dataclass(frozen=True, eq=False)
class Outputs:
    """The outputs that passes see.

    Attributes:
        others: those next to the judged one, or None.
        likelihood: of all outputs together, or None if it is not known.
        forward: returns them.
    """

    others: OtherOutputs | None
    likelihood: Likelihood | None
    forward: Forward

    @classmethod
    def of(cls, prepared: Prepared, inputs: list[Any], task: str | None) -> Outputs:
        """The outputs of a prepared network.

        Args:
            inputs: to compress with.
            task: the meaning of the outputs; used without data.
        """
        own, data, original, adapter = prepared.judge, prepared.data, prepared.original, prepared.adapter
        if own is None or data is None:
            known = None if task is None else without_labels(original, inputs, task, adapter, prepared.notes)
            return cls(None, known, adapter.call)
        others = OtherOutputs.of(original, adapter, data.inputs)
        called: Forward = others.call
        if not others.paths:
            called = usual_logits(own.choice.likelihood, original, data.inputs, called)
        return cls(others, others.likelihood(own.likelihood, original, data.inputs), called)

    def unjudged(self, prepared: Prepared, compressed: nn.Module) -> list[str]:
        """Notes on outputs of a compressed network that were not judged."""
        own, data, original = prepared.judge, prepared.data, prepared.original
        notes = []
        if self.others is not None and data is not None:
            notes += self.others.notes(original, compressed, data.judges)
        if own is not None and own.choice.labelled:
            left = constant_targets.changes(
                own.choice.likelihood, own.forward, own.inputs, original, compressed
            )
            notes += [left] if left else []
        return notes


def _judge(
    original: nn.Module, data: Calibration, task: str | None, needed: bool
) -> tuple[Judge, Calibration]:
    """A judge by labels or by the original's outputs; labels that do not fit the outputs are ignored if possible.

    Args:
        needed: there is no other judge, so such labels are an error.
    """
    try:
        return judge(original, data, task=task), data
    except SzilardError as error:
        if needed or data.labels is None:
            raise
        note = f"labels are ignored, because evaluate judges and {error}"
    without = replace(data, labels=None, notes=[*data.notes, note])
    return judge(original, without, task=task), without


def _task_text(own: Judge | None, evaluated: bool) -> str:
    """The assumed meaning of the outputs and how they are judged, as text."""
    if own is None:
        return "judged by evaluate" if evaluated else ""
    if evaluated:
        return f"{own.choice.likelihood.name} ({own.choice.reason}), judged by evaluate"
    return f"{own.choice}, judged by its output {own.output}" if own.output else str(own.choice)


def _imagined(
    network: nn.Module, shape: Sequence[int] | None, seed: int, notes: list[str], tell: Callable[[str], None]
) -> list[Any]:
    """Imagined batches to compress with if there is no data; none if that is not possible."""
    check_repeatable(network)
    if is_posterior(network):  # σ already gives the sensitivity of a weight
        return []
    if not any(True for _ in norms(network)):
        notes.append(
            "no data, and no BatchNorm with running statistics: all layers were assumed to be equally sensitive"
        )
        return []
    found = guess_shape(network) if shape is None else shape_of(shape)
    if found is None:
        notes.append("no data, and the shape of inputs is not known: give input_shape for a smaller file")
        return []
    check_shape(network, found)
    tell(f"imagining inputs of shape {list(found)} from BatchNorm statistics")
    return list(imagine(network, found, seed=seed, scale=raw_units(network).scale).split(64))
