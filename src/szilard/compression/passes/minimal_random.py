"""Minimal random coding: a posterior's sample for its divergence (Havasi, Peharz and Hernández-Lobato 2019).

Encoder and decoder share a generator of candidates from the prior p. Of 2^b candidates for a block of weights the
encoder chooses one, with probability proportional to q / p, and stores its index: b bits for approximately a sample of
q, if the block's divergence KL(q ‖ p) is at most b ln 2 nats.

The published sizes need training between the blocks: later blocks compensate the errors of earlier samples, and the
weight of each block's divergence is adjusted until it fits into the block's bits. Here the posterior is not trained
further. Only the scale of the prior (the best for each tensor) and the number of entries in a block are chosen, so that
blocks can hold their divergence on average. An entry with a divergence above a block's bits is coded badly. Entries are
shuffled, so the larger the blocks, the more similar they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from szilard.compression.draft import Draft, Setting
from szilard.compression.passes.posterior import posteriors
from szilard.compression.sequential_rounding import nearest
from szilard.errors import SzilardError
from szilard.file import Random, random, steps
from szilard.file.kinds.random import INDEX_BITS, MOST_BLOCK

POINT = -16.0  # ln σ of a weight with a fixed value
_AT_ONCE = 1 << 19  # variates


@dataclass(frozen=True, eq=False)
class Coded:
    """A posterior coded as one sample.

    Attributes:
        record: for the file.
        divergence: KL(q ‖ p) of each block, nats, float64 ``[blocks]``.
    """

    record: Random
    divergence: np.ndarray

    @property
    def overfull(self) -> float:
        """Share of the blocks whose divergence is more than their bits."""
        return float((self.divergence > self.record.bits * math.log(2)).mean())


def encode(
    name: str,
    mean: np.ndarray,
    std: np.ndarray,
    *,
    bits: int = 12,
    slack: float = 0.0,
    seed: int = 0,
    dtype: str = "float32",
) -> Coded:
    """Code a sample of N(mean, std²).

    Args:
        name: of the tensor.
        mean, std: float ``[...]``, the same shape; every std positive.
        bits: of a block's index; each bit doubles the time.
        slack: nats by which a block's mean divergence is kept below its bits. With more slack, the sample is closer to
            one of q.
        seed: of the candidates and of the choice.

    Raises:
        SzilardError: ``bits`` is out of range, or the posterior is not finite.
    """
    if not INDEX_BITS[0] <= bits <= INDEX_BITS[1]:
        raise SzilardError(f"bits of a block must be from {INDEX_BITS[0]} to {INDEX_BITS[1]}, not {bits}")
    shape, mean, std = mean.shape, mean.astype(np.float64).reshape(-1), std.astype(np.float64).reshape(-1)
    if not (mean.size and np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
        raise SzilardError(
            f"{name} has no posterior that can be sampled; all means and σ must be finite, and σ > 0"
        )
    step = steps.nearest(math.sqrt(float((mean**2 + std**2).mean())) / random.SPREAD)
    unit = float(steps.value(step))
    # In units of the prior's standard deviation.
    mean, std = mean / (unit * random.SPREAD), std / (unit * random.SPREAD)
    nats = (std**2 + mean**2 - 1) / 2 - np.log(std)
    budget = max(bits * math.log(2) - slack, 1e-3)
    size = int(np.clip(budget / max(float(nats.mean()), 1e-9), 1, min(MOST_BLOCK, mean.size)))
    order = random.order(mean.size, seed)
    blocks = -(-mean.size // size)
    indices = np.empty(blocks, np.uint32)
    generator = np.random.default_rng(seed)
    for block in range(blocks):
        entries = order[block * size : (block + 1) * size]
        ratios = _log_ratios(block * size, mean[entries], std[entries], bits, seed)
        # The argmax after adding Gumbel noise is a sample from the softmax.
        indices[block] = np.argmax(ratios + generator.gumbel(size=ratios.size))
    divergence = np.add.reduceat(nats[order], np.arange(0, mean.size, size))
    return Coded(Random(name, dtype, shape, indices, step, seed, bits, size), divergence)


def _log_ratios(place: int, mean: np.ndarray, std: np.ndarray, bits: int, seed: int) -> np.ndarray:
    """ln q - ln p, up to a constant, of each candidate for the block that starts at ``place``, float64 ``[2^bits]``."""
    places = np.arange(place, place + len(mean), dtype=np.uint64)
    found = np.empty(1 << bits)
    stride = max(1, _AT_ONCE // len(mean))
    for start in range(0, len(found), stride):
        numbers = np.arange(start, min(start + stride, len(found)), dtype=np.uint64)
        drawn = random.variates(np.tile(places, len(numbers)), np.repeat(numbers, len(places)), seed)
        z = drawn.reshape(len(numbers), -1) / random.SPREAD
        found[numbers.astype(np.int64)] = (z**2 / 2 - ((z - mean) / std) ** 2 / 2).sum(1)
    return found


class MinimalRandom:
    """Replace each Bayesian weight by one sample of its posterior, at the cost of its divergence; σ is lost.

    λ is not used, because training has determined the posterior. It replaces :class:`~szilard.compression.Posterior`.

    Args:
        bits: of a block's index; each bit doubles the time.
        slack: nats by which a block's mean divergence is kept below its bits.
    """

    name = "minimal-random"
    summary = "Codes one posterior sample in about KL divergence bits"
    source = "Havasi et al. 2019, arXiv:1810.00440"
    order = 9

    def __init__(self, *, bits: int = 12, slack: float = 0.0) -> None:
        self.bits, self.slack = bits, slack

    def __call__(self, draft: Draft, setting: Setting) -> None:
        overfull, blocks = 0.0, 0
        for number, (name, weight) in enumerate(posteriors(draft.network).items()):
            if weight.log_std is None or not weight.mean.numel():
                continue
            mean, log_std = (t.detach().double().cpu() for t in (weight.mean, weight.log_std))
            dtype = str(weight.mean.dtype).removeprefix("torch.")
            coded = encode(
                f"{name}.mean", mean.numpy(), log_std.exp().numpy(), bits=self.bits, slack=self.slack,
                seed=(setting.seed + number) % (1 << 32), dtype=dtype,
            )  # fmt: skip
            draft.draw(coded.record)
            draft.set(f"{name}.log_std", nearest((0 * log_std + POINT)[None], 64))
            overfull += coded.overfull * len(coded.divergence)
            blocks += len(coded.divergence)
        if overfull:
            draft.notes.append(
                f"{overfull:.0f} of {blocks} blocks have a larger divergence than {self.bits} bits, so their samples "
                "do not follow the posterior; use more slack or bits, or train with a higher temperature"
            )
