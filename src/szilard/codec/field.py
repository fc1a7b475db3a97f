"""Code fields with a network that is fitted to them, once or for each."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np

from szilard.codec import marks, slices, stream, weights
from szilard.codec.grid import MOST_LEVELS
from szilard.codec.lattice import Bound
from szilard.codec.network import Network
from szilard.coding import shapes
from szilard.errors import SzilardError

HIDDEN = (8, 16, 24)  #: units of a hidden layer that are tried
_STAGES = ((400, 1.0), (300, 0.5), (300, 0.3))  # steps and speed of the fit; after each, the field is coded
_SHORT = 30_000, 200  # values and steps of the fit that chooses a distribution
_LEAST = 5_000  # values of a sample
_LARGE = 25  # bits of a stream for each bit of weights from which on more units are tried
_SMALL = 2_000  # values of an array below which no fit pays
_MOST_TEXT = 20_000  # characters of weights in base64
_MOST_FITTED = 2_000_000  # values of a sample that are coded after each stage


@dataclass(frozen=True, eq=False)
class FieldCodec:
    """A bound, and the weights that predict a field.

    Attributes:
        bound: no value is farther from the original.
        periodic: whether the last axis goes around, as longitudes do.
        network: the weights; None: arrays are stored as they are.
        steps: log2 of the steps to which the weights are rounded.
        within: whether each stream holds the weights, or needs :meth:`decode` of this codec.
    """

    bound: Bound
    periodic: bool = False
    network: Network | None = None
    steps: dict[str, int] | None = None
    within: bool = True

    @classmethod
    def fit(
        cls,
        sample: np.ndarray,
        bound: Bound,
        *,
        periodic: bool = False,
        within: bool = False,
        seed: int = 0,
        effort: float = 1.0,
    ) -> FieldCodec:
        """Fit the weights to a sample of a field, in half a minute of a core.

        The number of units and the steps of the weights are those of the shortest file, weights included.

        Args:
            sample: float32 or float64, one to five dimensions; a chunk, or several along a leading axis.
            bound: of the error of every value.
            periodic: whether the last axis goes around.
            within: put the weights in each stream.
            seed: of the first weights and the choice of values.
            effort: factor on the number of steps, positive; below 1 also on the number of values.
        """
        if not (effort > 0 and np.isfinite(effort)):
            raise SzilardError(f"effort must be positive and finite, not {effort:g}")
        array = stream.checked(sample)
        best: tuple[float, Network, dict[str, int]] | None = None
        fitted = _Fit.of(array, bound, periodic, seed, effort)
        if fitted is None:
            return cls(bound, periodic, within=within)
        shape = fitted.shape()
        for hidden in HIDDEN:
            found = fitted.network(hidden, shape)
            if best is not None and found[0] >= best[0]:
                break
            best = found
            if found[0] < _LARGE * 8 * len(weights.encode(found[1], found[2], fitted.layout.levels)):
                break
        assert best is not None
        return cls(bound, periodic, best[1], best[2], within)

    def to_dict(self) -> dict[str, Any]:
        """The codec as JSON can hold it: bound, axis, and the weights in base64."""
        bits = None
        if self.network is not None and self.steps is not None:
            bits = base64.b64encode(weights.encode(self.network, self.steps, MOST_LEVELS)).decode()
        return {
            "bound": self.bound.size,
            "kind": "relative" if self.bound.relative else "absolute",
            "periodic": self.periodic,
            "weights": bits,
            "within": self.within,
        }

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> FieldCodec:
        """Undo :meth:`to_dict`.

        Raises:
            SzilardError: a value has the wrong type, or the weights are damaged.
        """
        wanted = {"bound": (int, float), "kind": (str,), "periodic": (bool,), "within": (bool,)}
        kind, text = given.get("kind"), given.get("weights")
        if (
            set(given) != {*wanted, "weights"}
            or any(type(given[name]) not in types for name, types in wanted.items())
            or kind not in ("absolute", "relative")
            or not (text is None or (isinstance(text, str) and len(text) <= _MOST_TEXT))
        ):
            raise SzilardError("the settings of the field codec are damaged, or of a newer version")
        bound = Bound(float(given["bound"]), kind == "relative")
        if text is None:
            return cls(bound, given["periodic"], within=given["within"])
        try:
            data = base64.b64decode(text, validate=True)
        except ValueError:
            raise SzilardError("the weights of the field codec are not base64") from None
        network, steps = weights.decode(data, MOST_LEVELS), weights.steps_of(data)
        return cls(bound, given["periodic"], network, steps, given["within"])

    def encode(self, array: np.ndarray) -> bytes:
        """A stream; no value of its array is farther from the original than the bound, whatever the weights."""
        return stream.encode(
            array, self.bound, self.network, self.steps or {}, periodic=self.periodic, within=self.within
        )

    def decode(self, data: bytes) -> np.ndarray:
        """The array of a stream of this codec."""
        return stream.decode(data, self.network)


@dataclass(frozen=True, eq=False)
class _Fit:
    """A field that networks are fitted to."""

    layout: slices.Layout
    points: np.ndarray
    coded: np.ndarray
    seed: int
    effort: float

    @classmethod
    def of(cls, array: np.ndarray, bound: Bound, periodic: bool, seed: int, effort: float) -> _Fit | None:
        """None if there is too little to fit, or the values are beyond the lattice."""
        if array.size > _MOST_FITTED and array.ndim > 2:
            array = array.reshape(-1, *array.shape[-2:])[
                : max(1, _MOST_FITTED // int(np.prod(array.shape[-2:])))
            ]
        layout = stream.layout_of(array, periodic)
        marked = marks.marks_of(array, bound)
        if array.size < _SMALL or marked is None or not layout.levels:
            return None
        points = marks.points_of(array, bound, marked, layout)
        if points is None or not marked.coded.any():
            return None
        return cls(layout.along(points), points, marked.coded.reshape(points.shape), seed, effort)

    def shape(self) -> int:
        """The distribution under which a first, short fit gives fewer bits."""
        from szilard.codec import fitting

        generator = np.random.default_rng(self.seed)
        given = fitting.sample(self.layout, self.points, generator, coded=self.coded, size=_SHORT[0])
        models = [fitting.Model(HIDDEN[0], self.seed, shape) for shape in range(shapes.SHAPES)]
        costs = [
            fitting.cost(fitting.integers(fitting.fit(given, model, self._steps(_SHORT[1]))), given)
            for model in models
        ]
        return int(np.argmin(costs))

    def network(self, hidden: int, shape: int) -> tuple[float, Network, dict[str, int]]:
        """Bits of data and weights, the network, and the steps of its weights."""
        from szilard.codec import fitting

        generator = np.random.default_rng(self.seed)
        model = fitting.Model(hidden, self.seed, shape)
        size = max(_LEAST, round(fitting.SAMPLE * min(1.0, self.effort)))
        previous = fitting.sample(self.layout, self.points, generator, coded=self.coded, size=size)
        given = previous
        for number, (steps, speed) in enumerate(_STAGES):
            model = fitting.fit(given, model, self._steps(steps), self.seed + number, speed)
            decoded, _ = self._coded(fitting.integers(model))
            latest = fitting.sample(self.layout, self.points, generator, decoded, coded=self.coded, size=size)
            given, previous = fitting.joined(previous, latest), latest
        whole = fitting.integers(model)
        rounded, steps_ = weights.choose(
            whole, self.layout.levels, lambda network: fitting.cost(network, previous)
        )
        bits = self._coded(rounded)[1] + 8 * len(weights.encode(rounded, steps_, self.layout.levels))
        return bits, rounded, steps_

    def _steps(self, usual: int) -> int:
        return max(1, round(self.effort * usual))

    def _coded(self, network: Network) -> tuple[np.ndarray, float]:
        """What a decoder would have, and the bits of all bins."""
        points = self.points.copy()
        _, bins, scales = slices.encode(self.layout, network, points, self.coded)
        return points, float(shapes.bits(bins, scales, network.shape).sum())
