"""What the plots of a stream show: sums over blocks of rows, whose number stays bounded."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

MOST_BLOCKS = 600
_SUMS = ("scored", "nll", "square")
_LAST = ("end", "width", "rate", "age")


class Trace:
    """Blocks of equally many labelled rows. When there are too many blocks, neighbours are joined.

    Args:
        predictors: M.

    Attributes:
        size: rows of a block.
        blocks: of each figure, ``[B]`` or ``[B, M]``: ``scored`` rows, sums of ``nll`` and of squared errors
            (``square``), and at the block's end the number of the row (``end``), the ``width`` of the belief, the
            mean ``rate`` of forgetting, and the rows since the last change (``age``).
    """

    def __init__(self, predictors: int) -> None:
        self.predictors = predictors
        self.size = 1
        self.blocks: dict[str, list[np.ndarray]] = {name: [] for name in (*_SUMS, *_LAST)}
        self._fresh()

    def _fresh(self) -> None:
        self.rows = 0
        self._scored = 0.0
        self._nll, self._square = np.zeros((2, self.predictors))

    def add(self, log_probability: np.ndarray, errors: np.ndarray) -> bool:
        """Add a row; NaN: it is not scored. Returns whether a block is full and :meth:`close` must follow."""
        self.rows += 1
        if not np.isnan(log_probability).any():
            self._scored += 1
            self._nll = self._nll - log_probability
            self._square = self._square + errors**2
        return self.rows >= self.size

    def close(self, row: int, width: float, rate: float, age: float) -> None:
        """End a block at a row, with the state of the filter there."""
        values = (self._scored, self._nll, self._square, row, width, rate, age)
        for name, value in zip((*_SUMS, *_LAST), values, strict=True):
            self.blocks[name].append(np.array(value, dtype=float))
        self._fresh()
        if len(self.blocks["end"]) >= MOST_BLOCKS:
            for name, found in self.blocks.items():
                pairs = zip(found[::2], found[1::2], strict=True)
                self.blocks[name] = [a + b if name in _SUMS else b for a, b in pairs]
            self.size *= 2

    def arrays(self) -> dict[str, np.ndarray]:
        """The blocks as arrays."""
        shapes = {name: (0, self.predictors) if name in ("nll", "square") else (0,) for name in self.blocks}
        return {
            name: np.array(found) if found else np.zeros(shapes[name]) for name, found in self.blocks.items()
        }

    def state_dict(self) -> dict[str, np.ndarray]:
        return {
            **self.arrays(),
            "size": np.array(self.size),
            "rows": np.array(self.rows),
            "open": np.stack((np.full(self.predictors, self._scored), self._nll, self._square)),
        }

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue; raises ValueError if the arrays are damaged."""
        wanted = self.arrays()
        count = len(state["end"])
        self.size, self.rows, held = int(state["size"]), int(state["rows"]), state["open"]
        fits = all(
            state[name].shape == (count, *one.shape[1:]) and state[name].dtype == float
            for name, one in wanted.items()
        )
        if not fits or count >= MOST_BLOCKS or self.size < 1 or not 0 <= self.rows < self.size:
            raise ValueError("trace")
        if held.shape != (3, self.predictors) or held.dtype != float:
            raise ValueError("trace")
        if not all(np.isfinite(one).all() for one in (held, *(state[name] for name in wanted))):
            raise ValueError("trace")
        self.blocks = {name: list(state[name]) for name in wanted}
        self._scored, self._nll, self._square = float(held[0, 0]), held[1], held[2]
