"""Predict the targets of a pass, in C++ if it is built and in numpy otherwise, with the same numbers."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np

from szilard.codec.features import PREVIOUS, features
from szilard.codec.grid import Pass
from szilard.codec.network import Network
from szilard.kernels import native
from szilard.kernels.functions.field import FieldNetwork, FieldPass

Predict = Callable[[np.ndarray, Pass, tuple[np.ndarray, ...], int, int], tuple[np.ndarray, np.ndarray]]
"""From the slice so far, the pass, earlier slices, the place of the slice and the mean of its coarse grid to predicted
values and scales, both int64 ``[M]``."""

_BLOCK = 1 << 14  # targets whose features numpy computes at once


def predictor(network: Network, compiled: bool | None = None) -> Predict:
    """Predictions of a network.

    Args:
        network: its weights.
        compiled: use the C++ kernel; None: if it is built.
    """
    if native.available() if compiled is None else compiled:
        return _Compiled(network)

    def predict(
        known: np.ndarray, step: Pass, earlier: tuple[np.ndarray, ...], place: int, anchor: int
    ) -> tuple[np.ndarray, np.ndarray]:
        starts = range(0, max(len(step.targets), 1), _BLOCK)
        parts = [step.of(slice(start, start + _BLOCK)) for start in starts]
        found = [network.predict(features(known, part, earlier, place, anchor), part) for part in parts]
        return np.concatenate([one for one, _ in found]), np.concatenate([one for _, one in found])

    return predict


class _Compiled:
    def __init__(self, network: Network) -> None:
        self._linear = network.linear.astype(np.int32)
        self._weights = {
            name: np.ascontiguousarray(getattr(network, name), dtype=np.int32)
            for name in ("first", "second", "last", "biases")
        }
        addresses = {name: values.ctypes.data for name, values in self._weights.items()}
        self._network = FieldNetwork(hidden=network.hidden, **addresses)

    def __call__(
        self, known: np.ndarray, step: Pass, earlier: tuple[np.ndarray, ...], place: int, anchor: int
    ) -> tuple[np.ndarray, np.ndarray]:
        self._network.linear = self._linear[step.level, step.kind].ctypes.data
        count = len(step.targets)
        others = [slice_.ctypes.data for slice_ in earlier] + [None] * (PREVIOUS - len(earlier))
        given = FieldPass(
            size=len(known), count=count, level=step.level, kind=step.kind, neighbours=len(step.neighbours),
            place=place, anchor=anchor, targets=step.targets.ctypes.data, near=step.neighbours.ctypes.data,
            latitude=step.latitude.ctypes.data, values=known.ctypes.data,
            first_earlier=others[0], second_earlier=others[1],
        )  # fmt: skip
        predicted, scales = np.empty(count, np.int64), np.empty(count, np.int32)
        status = native.library().szilard_field_predict(
            ctypes.byref(self._network),
            ctypes.byref(given),
            predicted.ctypes.data,
            count,
            scales.ctypes.data,
            count,
        )
        native.check(status, "field_predict")
        return predicted, scales.astype(np.int64)
