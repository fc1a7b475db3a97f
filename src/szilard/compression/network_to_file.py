"""A trained network to one small file: the passes, the price, and the search for it."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from szilard.compression.adapter import Adapter
from szilard.compression.calibration import Calibration
from szilard.compression.check import (
    check_functions,
    check_network,
    check_shape,
    check_share,
    check_weights,
    check_wishes,
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
from szilard.compression.mirrored_images import is_cheap as may_mirror
from szilard.compression.mirrored_images import with_mirrored
from szilard.compression.others import Others
from szilard.compression.own_units import own_units
from szilard.compression.passes.batchnorm import CanonicalBatchNorm
from szilard.compression.passes.correct import Correct
from szilard.compression.passes.distil import Distil, is_cheap
from szilard.compression.passes.posterior import LOSS, Posterior, is_posterior
from szilard.compression.passes.refit import Refit
from szilard.compression.passes.rounding import Quantise, QuantiseVectors
from szilard.compression.plain import plain
from szilard.compression.plain import told as told_plain
from szilard.compression.probe import Probe
from szilard.compression.progress import Progress
from szilard.compression.room import fitted
from szilard.compression.steady import check_steady
from szilard.compression.unjudged import told as told_unjudged
from szilard.errors import SzilardError, SzilardWarning
from szilard.likelihood import Likelihood
from szilard.networks import computed

MAX_DROP = 0.005
CONFIDENCE = 0.9
START_LOSS = 0.1  # nats; where a search begins


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

    Give at most one of ``max_drop``, ``max_bytes`` and ``lam``; the default is a drop of 0.005 where something can
    judge. Elsewhere λ is such that rounding n weights costs
    :data:`szilard.compression.passes.posterior.LOSS` nats if the loss is
    a parabola, that is n λ / (2 ln 2). For a Bayesian network λ is at most that by default, because its accuracy does
    not tell what becomes of its uncertainty. The network is not changed.

    Args:
        network: trained; its eval mode is what is compressed.
        calibration: a tensor of inputs, or batches as the network takes them, with labels or without: tensors, tuples
            of inputs, (inputs, labels), mappings for ``network(**batch)`` whose ``labels`` are kept from it. 512
            examples are enough to compress with, further ones judge. Images with three channels are also used mirrored
            if the network is small (:mod:`szilard.compression.mirrored_images`). None: without data; inputs are then
            imagined (:func:`szilard.compression.imagined_inputs.imagine`) if the network has BatchNorms to
            imagine them from.
        max_drop: by how much the score may fall: points of accuracy (0.005 is half a percentage point), a share of the
            original's score where it is no accuracy, and units of ``evaluate`` if that is given.
        max_bytes: of the file.
        lam: λ, in nats of mean loss per example and bit.
        evaluate: a score of a network, the higher the better, on data that is not the test set; a number, or a
            tensor with a value for each example, whose mean is the score. By default
            :func:`szilard.compression.judge.judge` on the calibration examples.
        task: what the outputs mean: one of :data:`szilard.likelihood.TASKS`; by default found out from labels and
            outputs. Without data, it says what the answers to imagined inputs mean.
        confidence: with which ``max_drop`` is kept on examples like those that judge: the upper end of a one-sided
            interval of the paired differences stays within it. 0: the drop on these examples does.
        forward: gets a network and a batch without labels, and gives the tensor that counts, ``[B, ...]``. A pair is
            inputs and labels if it takes the first part of it, and goes to it as a whole otherwise, as longer tuples
            do; a mapping goes to it without its ``labels``. By default the network is called as its signature says,
            and ``logits`` or the first tensor of its answer counts.
        input_shape: of one input, for imagining; by default the first that the network takes.
        passes: instead of :func:`default_passes`.
        seed: of what is drawn.
        meta: kept in the file, as small JSON.
        progress: by default, what takes more than a few seconds shows on standard error where it is and how long it
            will take: one line that is updated in a terminal or a notebook, else a line now and then. False: nothing.
            A function is told what is found, line by line.

    Raises:
        SzilardError: contradictory wishes, calibration that does not fit, weights that are not finite, a network that
            answers differently each time, or a goal that cannot be reached.
    """
    started = time.perf_counter()
    check_wishes(max_drop, max_bytes, lam, confidence, task)
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
    original, names = plain(original, probe)
    own, data = (None, None) if data is None else _judge(original, data, task, needed=evaluate is None)
    score = evaluate or (None if own is None else own.scores)
    scale = 2 * math.log(2) / values
    cap = None
    if max_drop is None and max_bytes is None and lam is None:
        cap = LOSS * scale if is_posterior(original) else None
        lam, max_drop = (None, MAX_DROP) if score else (LOSS * scale, None)
    if max_drop is not None and score is None:
        raise SzilardError("max_drop needs something that judges; give calibration data or evaluate")
    notes = unwrapped + ([told_plain(names)] if names else [])
    for note in notes[len(unwrapped) :]:
        warnings.warn(note, SzilardWarning, stacklevel=2)
    notes += [] if data is None else data.notes
    raw = warn_of_exact_tensors(original)
    if raw:
        notes.append(f"{len(raw)} tensors keep their exact bytes: {', '.join(raw)}")
    inputs = _imagined(original, input_shape, seed, notes, tell) if data is None else data.inputs
    learns = data is not None and is_cheap(original, data.inputs[0])
    if data is not None and may_mirror(original, inputs):
        inputs = with_mirrored(inputs)
    chosen_passes = default_passes(distil=learns, refit=data is not None) if passes is None else passes
    others, likelihood, called = _outputs(own, data, original, adapter)
    if data is None and task is not None:
        likelihood = without_labels(original, inputs, task, adapter, notes)
    told = _told(own, evaluate is not None)
    if told:
        tell(told)
    job = Job(
        original, inputs, chosen_passes, seed, dict(meta or {}), score, START_LOSS * scale, tell,
        likelihood, called, progress=shown,
    )  # fmt: skip
    made = job.run(Goal(max_drop, max_bytes, lam, confidence, cap))
    if made.score is not None and not math.isfinite(made.score):
        raise SzilardError(
            "the compressed network answers with NaN or infinite values where the original does not; its weights are "
            "too large or too small for their type: convert it to float32, or give a smaller lam"
        )
    if job.promise is not None and max_drop is not None:
        notes += job.promise.notes()
    compressed = job.network(made)
    if data is None and score is None:
        notes += told_unjudged(original, compressed, adapter.outputs)
    if others is not None and data is not None:
        notes += others.notes(original, compressed, data.judges)
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
        told,
        job.promise,
        made.scores,
    )


def _judge(
    original: nn.Module, data: Calibration, task: str | None, needed: bool
) -> tuple[Judge, Calibration]:
    """What judges by labels or by the original's outputs; labels that do not go with them are set aside.

    Args:
        needed: nobody else judges, so that such labels are a mistake.
    """
    try:
        return judge(original, data, task=task), data
    except SzilardError as error:
        if needed or data.labels is None:
            raise
        note = f"labels are set aside, because evaluate judges and {error}"
    without = replace(data, labels=None, notes=[*data.notes, note])
    return judge(original, without, task=task), without


def _outputs(
    own: Judge | None, data: Calibration | None, original: nn.Module, adapter: Adapter
) -> tuple[Others | None, Likelihood | None, Forward]:
    """The outputs beside the judged one, what all of them mean together, and how the network is called for them."""
    if own is None or data is None:
        return None, None if own is None else own.likelihood, adapter.call
    others = Others.of(original, adapter, data.inputs)
    called: Forward = others.call
    if not others.paths:
        called = usual_logits(own.choice.likelihood, original, data.inputs, called)
    return others, others.likelihood(own.likelihood, original, data.inputs), called


def _told(own: Judge | None, evaluated: bool) -> str:
    """What the outputs were taken for, in words."""
    if own is None:
        return "judged by evaluate" if evaluated else ""
    if evaluated:
        return f"{own.choice.likelihood.name} ({own.choice.reason}), judged by evaluate"
    return f"{own.choice}, by its output {own.output}" if own.output else str(own.choice)


def _imagined(
    network: nn.Module, shape: Sequence[int] | None, seed: int, notes: list[str], tell: Callable[[str], None]
) -> list[Any]:
    """Batches to compress with where there is no data; none where nothing can be imagined."""
    check_steady(network)
    if is_posterior(network):  # σ tells how sensitive a weight is
        return []
    if not any(True for _ in norms(network)):
        notes.append(
            "no data, and no BatchNorm that remembers any: every layer was taken to be as sensitive as others"
        )
        return []
    found = guess_shape(network) if shape is None else shape_of(shape)
    if found is None:
        notes.append("no data, and no guess of the inputs' shape: give input_shape for a smaller file")
        return []
    check_shape(network, found)
    tell(f"imagining inputs of shape {list(found)} from BatchNorm statistics")
    return list(imagine(network, found, seed=seed, scale=own_units(network).scale).split(64))


def default_passes(*, distil: bool = False, refit: bool = True) -> list[Pass]:
    """Canonical BatchNorm, rounding, the fit to rounded inputs, correction of means, posteriors, biases.

    Args:
        distil: let the integers learn, too, before the biases are rounded. :func:`compress` does where there is data
            and it takes seconds (:func:`szilard.compression.passes.distil.is_cheap`): small networks gain most from it.
        refit: fit layers to what rounded ones give, which needs inputs that are not imagined.
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
