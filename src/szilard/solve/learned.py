"""Solvers whose layers have parameters that are trained."""

from __future__ import annotations

from typing import Any, Self

from szilard.solve.samples import CodePrior
from szilard.solve.training import train
from szilard.solve.unrolled import Unrolled


class Learned(Unrolled):
    """A solver with a fixed number of layers and parameters for each, which :meth:`fit` trains.

    Args:
        A: matrix ``[m, n]`` or operator.
        layers: K.
        selection: (per cent that each layer adds to the entries that pass, and at most); None switches selection off.
    """

    def fit(self, data: CodePrior | Any, seed: int = 0, **options: Any) -> Self:
        """Train the parameters (:func:`szilard.solve.training.train`).

        Args:
            data: a :class:`~szilard.solve.samples.CodePrior`, of which fresh samples are drawn; a pair of codes
                ``[N, n]`` and measurements ``[N, m]``; or measurements alone, with ``penalty=``.
            seed: of everything that is random.
            options: as of ``train``.

        Returns:
            The solver itself.
        """
        train(self, data, seed=seed, **options)
        return self
