"""Compress a trained network to one small file."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from szilard.compression.attempt import Attempt
from szilard.compression.check import check_functions, check_goal, check_share
from szilard.compression.compressed import Compressed
from szilard.compression.draft import Pass
from szilard.compression.job import Evaluate, Goal, Job
from szilard.compression.judge import Forward
from szilard.compression.no_data_comparison import unjudged_notes
from szilard.compression.passes.batchnorm import CanonicalBatchNorm
from szilard.compression.passes.correct import Correct
from szilard.compression.passes.distil import Distil, is_cheap
from szilard.compression.passes.posterior import LOSS, Posterior, is_posterior
from szilard.compression.passes.refit import Refit
from szilard.compression.passes.rounding import Quantise
from szilard.compression.passes.rounding_vectors import QuantiseVectors
from szilard.compression.preparation import Outputs, Prepared
from szilard.compression.progress import Progress
from szilard.errors import SzilardError

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
    shown = Progress.of(progress)
    prepared = Prepared.of(network, calibration, forward, task, evaluate)
    goal = _goal(prepared, max_drop, max_bytes, lam, confidence)
    prepared.warn()
    inputs = prepared.inputs(input_shape, seed, shown.tell)
    chosen = _passes_for(prepared) if passes is None else passes
    outputs = Outputs.of(prepared, inputs, task)
    if prepared.task_text:
        shown.tell(prepared.task_text)
    job = Job(
        prepared.original, inputs, chosen, seed, dict(meta or {}), prepared.score, START_LOSS * prepared.scale,
        shown.tell, outputs.likelihood, outputs.forward, progress=shown,
    )  # fmt: skip
    return _result(prepared, outputs, job, job.run(goal), goal, started)


def _goal(
    prepared: Prepared, max_drop: float | None, max_bytes: int | None, lam: float | None, confidence: float
) -> Goal:
    """The goal that the user gave, or the default one for a network that can be judged, or not."""
    cap = None
    if max_drop is None and max_bytes is None and lam is None:
        cap = LOSS * prepared.scale if is_posterior(prepared.original) else None
        lam, max_drop = (None, MAX_DROP) if prepared.score else (LOSS * prepared.scale, None)
    if max_drop is not None and prepared.score is None:
        raise SzilardError("max_drop needs data to judge by; give calibration data or evaluate")
    return Goal(max_drop, max_bytes, lam, confidence, cap)


def _passes_for(prepared: Prepared) -> list[Pass]:
    data = prepared.data
    learns = data is not None and is_cheap(prepared.original, data.inputs[0])
    return default_passes(distil=learns, refit=data is not None)


def _result(
    prepared: Prepared, outputs: Outputs, job: Job, made: Attempt, goal: Goal, started: float
) -> Compressed:
    """The chosen attempt with its network and all notes.

    Raises:
        SzilardError: outputs of the compressed network are not finite.
    """
    if made.score is not None and not math.isfinite(made.score):
        raise SzilardError(
            "outputs of the compressed network are NaN or infinite, and those of the original are not; its weights are "
            "too large or too small for their type: convert it to float32, or give a smaller lam"
        )
    notes = prepared.notes
    if job.promise is not None and goal.max_drop is not None:
        notes += job.promise.notes()
    compressed = job.network(made)
    if prepared.data is None and prepared.score is None:
        notes += unjudged_notes(prepared.original, compressed, prepared.adapter.outputs)
    notes += outputs.unjudged(prepared, compressed)
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
        prepared.task_text,
        job.promise,
        made.scores,
    )


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
