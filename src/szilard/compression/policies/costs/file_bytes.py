"""Bytes of the .szd file of a policy's network: predicted from kept weights and their bits, and measured by coding."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from szilard.compression.policies.costs.policy_rows import policy_rows
from szilard.compression.policies.policy import LayerPolicy, Policy
from szilard.compression.policies.space import Space

if TYPE_CHECKING:
    from szilard.compression.channels.units import ChannelUnits

_PRIOR = 0.02  # weight of "a weight takes the bits of its policy" beside a file that was coded


class BytesCost:
    """Bytes of a file: a constant, and for each number of bits a factor on kept weights · bits / 8.

    A coder takes fewer bits than a policy says, by a factor that depends on the values. It is fitted on files that were
    really coded: the original network with the same bits in all layers, and every candidate that is measured.

    Args:
        network: the original, in eval mode.
        units: its channels.
        code: makes the file of the network of a policy; its length counts.

    Attributes:
        notes: what a reader of the figures has to know.
    """

    unit = "bytes"

    def __init__(
        self, network: nn.Module, units: ChannelUnits, code: Callable[[nn.Module, Policy], bytes]
    ) -> None:
        self._network, self._units, self._code = network, units, code
        self.notes: list[str] = []
        self._points: list[tuple[dict[int, float], float]] = []
        self._errors: list[float] = []
        self._reference: float | None = None
        self._fit: tuple[float, dict[int, float]] | None = None

    @property
    def reference(self) -> float:
        """Bytes of the file of the original network, whose weights have 32 bits."""
        if self._reference is None:
            original = self._same(32, 32)
            self._reference = self._coded(self._network, original)
            self._points.append((self._weights(original), self._reference))
        return self._reference

    @property
    def error_percent(self) -> float | None:
        """Mean error of the predictions of candidates before they were measured, percent; None: none was."""
        return 100 * float(np.mean(np.abs(self._errors))) if self._errors else None

    def prepare(self, space: Space, progress: Callable[[int, int], None] | None = None) -> None:
        """Code the original network once for each choice of bits in the space, for all layers.

        Args:
            space: of policies.
            progress: is told how many files are coded, and of how many.
        """
        _ = self.reference
        pairs = dict.fromkeys(
            pair
            for decision in space.decisions
            if decision.kind == "bits"
            for pair in decision.options
            if isinstance(pair, tuple) and pair[0] < 32
        )
        for number, pair in enumerate(pairs):
            policy = self._same(*pair)
            self._add(policy, self._coded(self._network, policy))
            if progress is not None:
                progress(number + 1, len(pairs))

    def predicted(self, policy: Policy) -> float:
        """Bytes of the file of a policy's network."""
        _ = self.reference
        if self._fit is None:
            self._fit = _fitted(self._points)
        constant, factors = self._fit
        coded = (size * factors.get(bits, 1.0) for bits, size in self._weights(policy).items())
        return constant + sum(coded)

    def measured(self, network: nn.Module, policy: Policy) -> float:
        """Bytes of the file of the network that a policy made."""
        return self._coded(network, policy)

    def observe(self, policy: Policy, value: float) -> None:
        """Correct later predictions by what was measured of a policy's network."""
        self._errors.append(self.predicted(policy) / value - 1)
        self._add(policy, value)

    def _add(self, policy: Policy, value: float) -> None:
        self._points.append((self._weights(policy), value))
        self._fit = None

    def _coded(self, network: nn.Module, policy: Policy) -> float:
        return float(len(self._code(network, policy)))

    def _same(self, weight_bits: int, activation_bits: int) -> Policy:
        shapes = self._units.layers.items()
        return Policy(
            tuple(LayerPolicy(name, shape.outputs, weight_bits, activation_bits) for name, shape in shapes)
        )

    def _weights(self, policy: Policy) -> dict[int, float]:
        """By bits, the bytes of all kept weights if each took its bits."""
        found: dict[int, float] = defaultdict(float)
        given = {layer.name: layer for layer in policy.layers}
        for name, row in policy_rows(self._units, policy).items():
            bits = given[name].weight_bits
            found[bits] += row.weights * bits / 8
        return dict(found)


def _fitted(points: Sequence[tuple[Mapping[int, float], float]]) -> tuple[float, dict[int, float]]:
    """The constant, and the factor of each number of bits, by least squares of relative errors; none is negative."""
    from scipy.optimize import nnls

    bits = sorted({one for weights, _ in points for one in weights})
    sizes = np.array([[weights.get(one, 0.0) for one in bits] for weights, _ in points])
    values = np.array([value for _, value in points])
    unit = values.min()
    measured = np.hstack([np.full((len(points), 1), unit), sizes]) / values[:, None]
    prior = _PRIOR * np.hstack([np.zeros((len(bits), 1)), np.eye(len(bits))])
    target = np.append(np.ones(len(points)), np.full(len(bits), _PRIOR))
    found, _ = nnls(np.vstack([measured, prior]), target)
    return float(found[0] * unit), dict(zip(bits, found[1:].tolist(), strict=True))
