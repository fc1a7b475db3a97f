"""Compress a trained network to one small file."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from szilard.compression import constant_targets
from szilard.compression.adapter import Adapter
from szilard.compression.calibration import Calibration
from szilard.compression.check import (
    check_functions,
    check_goal,
    check_network,
    check_shape,
    check_share,
    check_weights,
    shape_of,
)
from szilard.compression.compressed import Compressed
from szilard.compression.copies import inner, sharing
from szilard.compression.draft import Pass
from szilard.compression.imagined_inputs import guess_shape, imagine, norms
from szilard.compression.job import Evaluate, Goal, Job
from szilard.compression.judge import Forward, Judge, judge, without_labels
from szilard.compression.layers import warn_of_exact_tensors
from szilard.compression.logits import usual_logits
from szilard.compression.memory import fitted
from szilard.compression.mirrored_images import is_cheap as may_mirror
from szilard.compression.mirrored_images import with_mirrored
from szilard.compression.no_data_comparison import unjudged_notes
from szilard.compression.other_outputs import OtherOutputs
from szilard.compression.parametrisations import plain_note, without_parametrisations
from szilard.compression.passes.batchnorm import CanonicalBatchNorm
from szilard.compression.passes.correct import Correct
from szilard.compression.passes.distil import Distil, is_cheap
from szilard.compression.passes.posterior import LOSS, Posterior, is_posterior
from szilard.compression.passes.refit import Refit
from szilard.compression.passes.rounding import Quantise
from szilard.compression.passes.rounding_vectors import QuantiseVectors
from szilard.compression.probe import Probe
from szilard.compression.progress import Progress
from szilard.compression.raw_units import raw_units
from szilard.compression.repeatable import check_repeatable
from szilard.errors import SzilardError, SzilardWarning
from szilard.likelihood import Likelihood
from szilard.networks import computed

MAX_DROP = 0.005
CONFIDENCE = 0.9
START_LOSS = 0.1  # predicted loss of rounding at the λ where a search begins, nats


@torch.inference_mode(False)
def compress(
    network: nn.Module,
    calibration: Any = None,
    *,
    max_drop: float | None = None,
    max_bytes: int | None = None,
    lam: float | None = None,
    evaluate: Evaluate | None = None,
    task: str | None = None,
    confidence: float = CONFIDENCE,
    forward: Forward | None = None,
    input_shape: Sequence[int] | None = None,
    passes: Sequence[Pass] | None = None,
    seed: int = 0,
    meta: Mapping[str, Any] | None = None,
    progress: Callable[[str], object] | bool | Progress | None = None,
) -> Compressed:
    """Minimise F = E[loss] + λ · bits over integers for a network's weights, and code them into one file.

    Give at most one of ``max_drop``, ``max_bytes`` and ``lam``; the default is a drop of 0.005 if the network can be
    judged. Otherwise λ is chosen so that rounding n weights costs
    :data:`szilard.compression.passes.posterior.LOSS` nats if the loss is quadratic: n λ / (2 ln 2). For a Bayesian
    network λ is at most this value by default, because its accuracy does not show what happens to its uncertainty. The
    network is not changed.

    Args:
        network: trained; it is compressed in eval mode.
        calibration: a tensor of inputs, or batches as the network takes them, with labels or without: tensors, tuples
            of inputs, (inputs, labels), mappings for ``network(**batch)``, from which ``labels`` are removed. 512
            examples are enough to compress with; further ones judge. Images with three channels are also used mirrored
            if the network is small (:mod:`szilard.compression.mirrored_images`). None: without data; inputs are then
            imagined (:func:`szilard.compression.imagined_inputs.imagine`) if the network has BatchNorms with running
            statistics.
        max_drop: how much the score is allowed to fall: points of accuracy (0.005 is half a percentage point), a share
            of the original's score if it is not accuracy, or units of ``evaluate`` if that is given.
        max_bytes: largest size of the file.
        lam: λ, in nats of mean loss per example and bit.
        evaluate: scores a network, the higher the better, on data that is not the test set; returns a number, or a
            tensor with a value for each example, whose mean is the score. By default
            :func:`szilard.compression.judge.judge` on the calibration examples.
        task: the meaning of the outputs: one of :data:`szilard.likelihood.TASKS`; by default inferred from labels and
            outputs. Without data, the meaning of the outputs for imagined inputs.
        confidence: with which ``max_drop`` is kept on other examples like the judging ones: the upper end of a
            one-sided interval of the paired differences stays within it. 0: only the drop on these examples does.
        forward: receives a network and a batch without labels, and returns the judged tensor, ``[B, ...]``. A pair is
            read as inputs and labels if ``forward`` takes its first part; otherwise it is passed whole, as longer
            tuples are. A mapping is passed without its ``labels``. By default the network is called according to its
            signature, and ``logits`` or the first tensor of its output is judged.
        input_shape: of one input, for imagining; by default the first that the network takes.
        passes: used instead of :func:`default_passes`.
        seed: of all random numbers.
        meta: small JSON that is stored in the file.
        progress: by default, a compression of more than a few seconds shows its progress and the time left on standard
            error: one line that is updated in a terminal or a notebook, else a line every few seconds. False: nothing.
            A function receives the results, line by line.

    Raises:
        SzilardError: goals exclude each other, calibration does not fit, weights are not finite, the network's outputs
            differ each time, or a goal cannot be reached.
    """
    started = time.perf_counter()
    check_goal(max_drop, max_bytes, lam, confidence, task)
    check_functions(evaluate, forward, seed, meta)
    check_share(None if evaluate else max_drop)
    check_network(network)
    network, unwrapped = inner(network)
    original = sharing(network).eval()
    values = sum(p.numel() for p in original.parameters() if p.is_floating_point())
    check_weights(original, values)
    shown = Progress.of(progress)
    tell = shown.tell
    data = None
    if calibration is not None:
        data = Calibration.of(calibration, original, forward=forward, keep_back=evaluate is None)
        data = fitted(data, original, data.adapter.call)
    adapter = Adapter(forward=forward) if data is None else data.adapter
    probe = (
        Probe.of(original, [] if data is None else data.inputs, adapter.call) if computed(original) else None
    )
    original, names = without_parametrisations(original, probe)
    own, data = (None, None) if data is None else _judge(original, data, task, needed=evaluate is None)
    score = evaluate or (None if own is None else own.scores)
    scale = 2 * math.log(2) / values
    cap = None
    if max_drop is None and max_bytes is None and lam is None:
        cap = LOSS * scale if is_posterior(original) else None
        lam, max_drop = (None, MAX_DROP) if score else (LOSS * scale, None)
    if max_drop is not None and score is None:
        raise SzilardError("max_drop needs data to judge by; give calibration data or evaluate")
    notes = unwrapped + ([plain_note(names)] if names else [])
    for note in notes[len(unwrapped) :]:
        warnings.warn(note, SzilardWarning, stacklevel=2)
    notes += [] if data is None else data.notes
    raw = warn_of_exact_tensors(original)
    if raw:
        notes.append(f"{len(raw)} tensors are stored as exact bytes: {', '.join(raw)}")
    inputs = _imagined(original, input_shape, seed, notes, tell) if data is None else data.inputs
    learns = data is not None and is_cheap(original, data.inputs[0])
    if data is not None and may_mirror(original, inputs):
        inputs = with_mirrored(inputs)
    chosen_passes = default_passes(distil=learns, refit=data is not None) if passes is None else passes
    others, likelihood, called = _outputs(own, data, original, adapter)
    if data is None and task is not None:
        likelihood = without_labels(original, inputs, task, adapter, notes)
    task_text = _task_text(own, evaluate is not None)
    if task_text:
        tell(task_text)
    job = Job(
        original, inputs, chosen_passes, seed, dict(meta or {}), score, START_LOSS * scale, tell,
        likelihood, called, progress=shown,
    )  # fmt: skip
    made = job.run(Goal(max_drop, max_bytes, lam, confidence, cap))
    if made.score is not None and not math.isfinite(made.score):
        raise SzilardError(
            "outputs of the compressed network are NaN or infinite, and those of the original are not; its weights are "
            "too large or too small for their type: convert it to float32, or give a smaller lam"
        )
    if job.promise is not None and max_drop is not None:
        notes += job.promise.notes()
    compressed = job.network(made)
    if data is None and score is None:
        notes += unjudged_notes(original, compressed, adapter.outputs)
    notes += _compared(own, others, data, original, compressed)
    return Compressed(
        made.data,
        made.ledger,
        compressed,
        made.lam,
        made.score,
        None if job.before is None else job.before.score,
        made.ledger.original_bytes or 0,
        job.tried,
        notes + made.notes,
        time.perf_counter() - started,
        task_text,
        job.promise,
        made.scores,
    )


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


def _outputs(
    own: Judge | None, data: Calibration | None, original: nn.Module, adapter: Adapter
) -> tuple[OtherOutputs | None, Likelihood | None, Forward]:
    """The other outputs next to the judged one, the likelihood of all together, and a forward that returns them."""
    if own is None or data is None:
        return None, None if own is None else own.likelihood, adapter.call
    others = OtherOutputs.of(original, adapter, data.inputs)
    called: Forward = others.call
    if not others.paths:
        called = usual_logits(own.choice.likelihood, original, data.inputs, called)
    return others, others.likelihood(own.likelihood, original, data.inputs), called


def _compared(
    own: Judge | None,
    others: OtherOutputs | None,
    data: Calibration | None,
    original: nn.Module,
    compressed: nn.Module,
) -> list[str]:
    """Notes on outputs that were not judged."""
    notes = []
    if others is not None and data is not None:
        notes += others.notes(original, compressed, data.judges)
    if own is not None and own.choice.labelled:
        left = constant_targets.changes(own.choice.likelihood, own.forward, own.inputs, original, compressed)
        notes += [left] if left else []
    return notes


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


def default_passes(*, distil: bool = False, refit: bool = True) -> list[Pass]:
    """Canonical BatchNorm, rounding, the fit to rounded layers, correction of means, posteriors, biases.

    Args:
        distil: also train the integers before the biases are rounded. :func:`compress` does this if there is data and
            it takes only seconds (:func:`szilard.compression.passes.distil.is_cheap`): small networks gain most.
        refit: fit layers to the outputs of rounded ones, which needs inputs that are not imagined.
    """
    quantise = Quantise()
    learning: list[Pass] = [Distil()] if distil else []
    fitting: list[Pass] = [Refit(quantise)] if refit else []
    return [
        CanonicalBatchNorm(),
        quantise,
        *fitting,
        Correct(),
        *learning,
        Posterior(),
        QuantiseVectors(quantise),
    ]
