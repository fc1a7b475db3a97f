"""Code fields with a network that is fitted to them, once or for each."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np

from szilard.codec import base_search, head, opening, stream
from szilard.codec.grid import MOST_LEVELS
from szilard.codec.lattice import Bound
from szilard.codec.weights import Weights, unchanged
from szilard.errors import SzilardError

_MOST_TEXT = 20_000  # characters of weights in base64


@dataclass(frozen=True, eq=False)
class FieldCodec:
    """A bound, and the weights that predict a field.

    Attributes:
        bound: no value is farther from the original. With a map of bounds, the least of them.
        periodic: whether the last axis goes around, as longitudes do.
        raster: whether values are coded from the first row to the last, instead of from coarse to fine.
        weights: of the network; None: arrays are stored as they are.
        within: whether each stream holds the weights, or needs :meth:`decode` of this codec.
        noise: deviation that the base of an array leaves, in bounds; 0: arrays have no base.
    """

    bound: Bound
    periodic: bool = False
    raster: bool = False
    weights: Weights | None = None
    within: bool = True
    noise: float = 0.0

    @classmethod
    def default(cls, bound: Bound, *, periodic: bool = False) -> FieldCodec:
        """The codec with the weights that are shipped, without a fit: files are longer, by a fifth to a third.

        Args:
            bound: of the error of every value.
            periodic: whether the last axis goes around.
        """
        return cls(bound, periodic, weights=unchanged())

    @classmethod
    def fit(
        cls,
        sample: np.ndarray,
        bound: Bound,
        *,
        bounds: np.ndarray | None = None,
        periodic: bool = False,
        within: bool = False,
        seed: int = 0,
        effort: float = 1.0,
    ) -> FieldCodec:
        """Fit the weights to a sample of a field, in half a minute of a core.

        The order of the values, the number of units and the steps of the weights are those of the shortest stream,
        weights included.

        Args:
            sample: float32 or float64, one to five dimensions; a chunk, or several along a leading axis.
            bound: of the error of every value.
            bounds: of each value of the sample, none below ``bound``, of its shape; None: all are ``bound``.
            periodic: whether the last axis goes around.
            within: put the weights in each stream.
            seed: of the first weights and the choice of values.
            effort: factor on the number of steps; below 1 also on the number of values. 0: keep the default weights,
                and choose a base alone, in a second or two.

        Raises:
            SzilardError: the sample or the bounds cannot be coded.
        """
        from szilard.codec import candidates

        if not (effort >= 0 and np.isfinite(effort)):
            raise SzilardError(f"effort must be finite and not negative, not {effort:g}")
        found = candidates.best(stream.checked(sample), bound, bounds, periodic, seed, effort)
        if found is None:
            return cls(bound, periodic, within=within)
        return cls(bound, periodic, found.raster, found.weights, within, found.noise)

    def encode(self, array: np.ndarray, bounds: np.ndarray | None = None) -> bytes:
        """A stream; no value of its array is farther from the original than the bound, whatever the weights.

        Args:
            array: float32 or float64, one to five dimensions.
            bounds: of each value, none below :attr:`bound`, of the array's shape; the decoder needs no map.

        Raises:
            SzilardError: the array or the bounds cannot be coded.
        """
        return stream.encode(
            array, self.bound, self.weights, periodic=self.periodic, raster=self.raster,
            within=self.within, bounds=bounds, noise=self.noise,
        )  # fmt: skip

    def decode(self, data: bytes, *, most: int = head.MOST_VALUES) -> np.ndarray:
        """The array of a stream of this codec; raises if it has more than ``most`` values."""
        return opening.decode(data, None if self.weights is None else self.weights.network, most=most)

    def to_dict(self) -> dict[str, Any]:
        """The codec as JSON can hold it: bound, axis, order, and the weights in base64."""
        bits = None if self.weights is None else base64.b64encode(self.weights.encode(MOST_LEVELS)).decode()
        return {
            "bound": self.bound.size,
            "kind": "relative" if self.bound.relative else "absolute",
            "periodic": self.periodic,
            "raster": self.raster,
            "weights": bits,
            "within": self.within,
            "noise": self.noise,
        }

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> FieldCodec:
        """Undo :meth:`to_dict`.

        Raises:
            SzilardError: a value has the wrong type, or the weights are damaged.
        """
        if not isinstance(given, dict):
            raise SzilardError("the settings of the field codec must be an object")
        flags = ("periodic", "raster", "within")
        bound, kind, text, noise = (given.get(name) for name in ("bound", "kind", "weights", "noise"))
        if (
            set(given) != {"bound", "kind", "weights", "noise", *flags}
            or any(type(given[name]) is not bool for name in flags)
            or type(bound) not in (int, float)
            or type(noise) not in (int, float)
            or not 0 <= noise <= base_search.MOST * 2  # type: ignore[operator]
            or kind not in ("absolute", "relative")
            or not (text is None or (isinstance(text, str) and len(text) <= _MOST_TEXT))
        ):
            raise SzilardError("the settings of the field codec are damaged, or of a newer version")
        weights = None
        if text is not None:
            try:
                data = base64.b64decode(text, validate=True)
            except ValueError:
                raise SzilardError("the weights of the field codec are not base64") from None
            weights = Weights.decode(data, MOST_LEVELS)
        try:
            size = float(bound)  # type: ignore[arg-type]
        except OverflowError:
            raise SzilardError("the bound of the field codec is too large") from None
        of = Bound(size, kind == "relative")
        return cls(of, given["periodic"], given["raster"], weights, given["within"], float(noise))  # type: ignore[arg-type]
