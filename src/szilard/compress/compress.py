"""A trained network to one small file: the passes, the price, and the search for it."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from szilard import file
from szilard.compress.batchnorm import CanonicalBatchNorm
from szilard.compress.calibration import Calibration
from szilard.compress.certificate import Certificate, certificate
from szilard.compress.distil import Distil
from szilard.compress.draft import Draft, Pass, Setting
from szilard.compress.posterior import Posterior, is_posterior
from szilard.compress.rounding import Offsets, Quantise
from szilard.compress.search import START, best, largest_allowed
from szilard.errors import SzilardError

Evaluate = Callable[[nn.Module], float]


@dataclass(frozen=True, eq=False)
class Compressed:
    """What came out.

    Attributes:
        data: the bytes of the file.
        ledger: where each of them goes.
        network: a copy of the original with the weights that the file holds, in eval mode.
        lam: λ, nats per bit.
        score, original_score: of the compressed and the original network where they were judged, else None.
        original_bytes: of the original's tensors.
        trials: λ, bytes and score of each attempt.
        notes: what a person should know, one sentence each.
        seconds: that it took.
    """

    data: bytes
    ledger: file.Ledger
    network: nn.Module
    lam: float
    score: float | None
    original_score: float | None
    original_bytes: int
    trials: list[tuple[float, int, float | None]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def drop(self) -> float | None:
        """By how much the score fell, or None if nobody judged."""
        if self.score is None or self.original_score is None:
            return None
        return self.original_score - self.score

    @property
    def ratio(self) -> float:
        """Bytes of the original's tensors over bytes of the file."""
        return self.original_bytes / len(self.data)

    def certificate(self, errors: int, n: int, delta: float = 0.05) -> Certificate:
        """What the length of the file promises about unseen examples, with its assumptions.

        Args:
            errors: wrong answers of :attr:`network` over the training examples.
            n: how many training examples there are.
            delta: probability that a bound is wrong.

        Raises:
            SzilardError: numbers that cannot be.
        """
        return certificate(8 * len(self.data), errors, n, delta)

    def save(self, path: str | Path) -> None:
        """Write the file in one step; one that was there stays whole if this is interrupted."""
        from szilard import atomic

        atomic.write(Path(path), self.data)


def compress(
    network: nn.Module,
    calibration: Any = None,
    *,
    max_drop: float | None = None,
    max_bytes: int | None = None,
    lam: float | None = None,
    evaluate: Evaluate | None = None,
    passes: Sequence[Pass] | None = None,
    seed: int = 0,
    meta: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Compressed:
    """Minimise F = E[loss] + λ · bits over integers for a network's weights, and code them into one file.

    Give at most one of ``max_drop``, ``max_bytes`` and ``lam``; the default is a drop of 0.005 where something can
    judge, and λ = 1e-8 elsewhere, and for a Bayesian network: accuracy does not see what becomes of its uncertainty,
    and its σ say how exact it must be. The network is not changed.

    Args:
        network: trained; its eval mode is what is compressed.
        calibration: a tensor of inputs, or batches of inputs or of (inputs, labels); 512 examples are enough to
            compress with, further ones judge. None: without data.
        max_drop: by how much ``evaluate`` may fall.
        max_bytes: of the file.
        lam: λ, in nats of mean loss per example and bit.
        evaluate: a score of a network, the higher the better, on data that is not the test set. By default accuracy on
            labelled calibration examples, or else agreement with the original network's answers.
        passes: instead of :func:`default_passes`.
        seed: of what is drawn.
        meta: kept in the file, as small JSON.
        progress: is told what is being done.

    Raises:
        SzilardError: contradictory wishes, calibration that does not fit, or a goal that cannot be reached.
    """
    started = time.perf_counter()
    if sum(wish is not None for wish in (max_drop, max_bytes, lam)) > 1:
        raise SzilardError("give one of max_drop, max_bytes and lam; the others follow from it")
    if lam is not None and not (lam > 0 and math.isfinite(lam)):
        raise SzilardError(f"lam must be a positive number of nats per bit, not {lam}")
    if max_drop is not None and not max_drop >= 0:  # NaN is caught, too
        raise SzilardError(f"max_drop must not be negative, and is {max_drop}")
    original = copy.deepcopy(network).eval()
    if not [p for p in original.parameters() if p.is_floating_point() and p.numel()]:
        raise SzilardError("the network has no weights; nothing can be compressed")
    data = None if calibration is None else Calibration.of(calibration)
    judge = evaluate or (None if data is None else _judge(original, data))
    if max_drop is None and max_bytes is None and lam is None:
        if judge is None or is_posterior(original):
            lam = START
        else:
            max_drop = 0.005
    if max_drop is not None and judge is None:
        raise SzilardError("max_drop needs something that judges; give calibration data or evaluate")
    job = _Job(
        original,
        [] if data is None else data.inputs,
        list(default_passes(data is not None) if passes is None else passes),
        seed,
        dict(meta or {}),
        judge,
        progress or (lambda text: None),
    )
    return job.run(max_drop, max_bytes, lam, started)


def default_passes(with_data: bool = True) -> list[Pass]:
    """Canonical BatchNorm, rounding, distillation where there is data, posteriors, biases."""
    quantise = Quantise()
    middle: list[Pass] = [quantise, Distil()] if with_data else [quantise]
    return [CanonicalBatchNorm(), *middle, Posterior(), Offsets(quantise)]


@dataclass(eq=False)
class _Attempt:
    lam: float
    draft: Draft
    data: bytes
    ledger: file.Ledger
    score: float | None


@dataclass(eq=False)
class _Job:
    original: nn.Module
    inputs: list[Tensor]
    passes: list[Pass]
    seed: int
    meta: dict[str, Any]
    judge: Evaluate | None
    tell: Callable[[str], None]

    def run(
        self, max_drop: float | None, max_bytes: int | None, lam: float | None, started: float
    ) -> Compressed:
        before = None if self.judge is None else self._score(self.original)
        tried: list[tuple[float, int, float | None]] = []

        def attempt(lam: float) -> tuple[float, _Attempt]:
            made = self.attempt(lam)
            tried.append((lam, len(made.data), made.score))
            judged = "" if made.score is None else f", score {made.score:.4f}"
            self.tell(f"λ = {lam:.2e}: {len(made.data):,} bytes{judged}")
            if max_drop is not None:
                assert made.score is not None
                assert before is not None
                return before - made.score - max_drop, made
            return (0.0 if max_bytes is None else math.log2(len(made.data) / max_bytes)), made

        if lam is not None:
            _, chosen = attempt(lam)
        elif max_drop is not None:
            found = best(largest_allowed(attempt))
            if found is None:
                raise SzilardError(
                    f"no λ keeps the drop within {max_drop:g}; the network may be more sensitive than the calibration "
                    "data show: give more of them, or allow more"
                )
            chosen = found.result
        else:
            # Size falls as λ grows: the smallest λ that fits.
            fits = largest_allowed(lambda x: _negated(attempt, x), trials=10)
            allowed = [t for t in fits if len(t.result.data) <= (max_bytes or 0)]
            if not allowed:
                smallest = min(len(t.result.data) for t in fits)
                raise SzilardError(
                    f"the file does not fit into {max_bytes} bytes; {smallest} is the least that was reached"
                )
            found = max(allowed, key=lambda t: len(t.result.data))
            chosen = found.result
        return Compressed(
            chosen.data,
            chosen.ledger,
            chosen.draft.network,
            chosen.lam,
            chosen.score,
            before,
            sum(t.numel() * t.element_size() for t in self.original.state_dict().values()),
            tried,
            chosen.draft.notes,
            time.perf_counter() - started,
        )

    def attempt(self, lam: float) -> _Attempt:
        draft = Draft(copy.deepcopy(self.original))
        setting = Setting(lam, self.inputs, self.original, self.seed)
        for one in self.passes:
            one(draft, setting)
        document = to_document(draft, self.meta)
        data, ledger = file.encode(document)
        draft.network.load_state_dict(file.to_state_dict(file.loads(data)))
        score = None if self.judge is None else self._score(draft.network)
        return _Attempt(lam, draft, data, ledger, score)

    def _score(self, network: nn.Module) -> float:
        assert self.judge is not None
        with torch.no_grad():
            return float(self.judge(network))


def _negated(attempt: Callable[[float], tuple[float, _Attempt]], inverse: float) -> tuple[float, _Attempt]:
    """By 1/λ, so that what is too large comes with the larger argument."""
    return attempt(START * START / inverse)


def to_document(draft: Draft, meta: Mapping[str, Any]) -> file.Document:
    """The file's records of a draft."""
    state = draft.network.state_dict()
    levels = {
        name: file.Levels(
            name,
            str(state[name].dtype).removeprefix("torch."),
            tuple(state[name].shape),
            np.ascontiguousarray(q.levels.reshape(tuple(state[name].shape))),
            q.step,
            q.row,
        )
        for name, q in draft.quantised.items()
        if name in state
    }
    return file.from_state_dict(state, {**levels, **draft.random}, meta)


def _judge(original: nn.Module, data: Calibration) -> Evaluate:
    """Accuracy where there are labels, else agreement with the original."""
    labels = data.labels
    if labels is None or labels[0].is_floating_point():
        with torch.no_grad():
            labels = [_answer(original, x) for x in data.judges]

    def score(network: nn.Module) -> float:
        right = sum(int((_answer(network, x) == y).sum()) for x, y in zip(data.judges, labels, strict=True))
        return right / sum(len(y) for y in labels)

    return score


def _answer(network: nn.Module, x: Tensor) -> Tensor:
    return network(x).argmax(1)
