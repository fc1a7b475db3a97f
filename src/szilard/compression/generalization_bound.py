"""Generalization bound from the length of a file: a limit on the error rate on unseen examples.

The files of a format that marks the end of each file are a prefix code: a file of b bits has the prior probability
2^-b, and few short files can fit the training examples by chance. With probability 1 - δ over the N training examples,
at once for all files (Blumer et al. 1987; Langford and Seeger 2001; McAllester 2003; Maurer 2004):

    kl(ê ‖ e) ≤ (b ln 2 + ln(2 √N / δ)) / N      and      e ≤ ê + √((b ln 2 + ln(1 / δ)) / (2 N))
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from szilard.errors import SzilardError

ASSUMPTIONS = (
    "the training examples are independent draws from the same distribution as the unseen ones",
    "the errors are those of the network in the file, by one fixed rule, over all of these examples, each counted once "
    "and none left out",
    "the format, the network's code and how inputs are prepared were chosen without these examples; weights, BatchNorm "
    "statistics, steps, λ and everything else in the file may depend on them, because their bits are counted",
)


@dataclass(frozen=True)
class Certificate:
    """Bounds on the error rate on unseen examples, each true with probability ``1 - delta``.

    Attributes:
        bits: of the whole file.
        train_error: ê, error rate on the training examples.
        examples: N.
        delta: δ, probability that a bound is wrong.
        kl_bound: bound on e from the inverted divergence; the tighter one except for very small N.
        occam_bound: bound on e from the Occam bound, at most 1.
        assumptions: that both bounds need.
    """

    bits: int
    train_error: float
    examples: int
    delta: float
    kl_bound: float
    occam_bound: float
    assumptions: tuple[str, ...] = ASSUMPTIONS

    def __str__(self) -> str:
        return (
            f"At most {100 * self.kl_bound:.1f} % errors on unseen examples, with probability {1 - self.delta:g} "
            f"({self.bits} bits, {100 * self.train_error:.2f} % errors on {self.examples} training examples), if "
            + "; ".join(self.assumptions)
            + "."
        )


def certificate(bits: int, errors: int, examples: int, delta: float = 0.05) -> Certificate:
    """The bounds for a file.

    Args:
        bits: length of the whole file.
        errors: wrong predictions of the network in it on the training examples.
        examples: N.
        delta: δ.

    Raises:
        SzilardError: a number is out of range.
    """
    if not (bits >= 0 and examples >= 1 and 0 <= errors <= examples):
        raise SzilardError(
            f"a certificate needs at least one example and no more errors than examples, not {errors} errors of "
            f"{examples}; count both over the training set"
        )
    if not 0 < delta < 1:
        raise SzilardError(f"delta must be a probability between 0 and 1, not {delta}; take 0.05")
    share = errors / examples
    nats = bits * math.log(2)
    kl_bound = inverse_kl(share, (nats + math.log(2 * math.sqrt(examples) / delta)) / examples)
    occam_bound = min(1.0, share + math.sqrt((nats - math.log(delta)) / (2 * examples)))
    return Certificate(bits, share, examples, delta, kl_bound, occam_bound)


def bernoulli_kl(p: float, q: float) -> float:
    """KL divergence of Bernoulli(q) from Bernoulli(p), nats; infinite if q excludes an outcome that p allows."""
    total = 0.0
    for a, b in ((p, q), (1 - p, 1 - q)):
        if a > 0:
            if b <= 0:
                return math.inf
            total += a * math.log(a / b)
    return total


def inverse_kl(p: float, budget: float) -> float:
    """The largest q with ``kl(p ‖ q) ≤ budget``, from above, by bisection."""
    low, high = p, 1.0
    if bernoulli_kl(p, high) <= budget:
        return high
    for _ in range(60):
        middle = (low + high) / 2
        if bernoulli_kl(p, middle) <= budget:
            low = middle
        else:
            high = middle
    return high
