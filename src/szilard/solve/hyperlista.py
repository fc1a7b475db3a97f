r"""HyperLISTA: an unrolled solver with three numbers.

Chen, Liu, Wang and Yin 2021, "Hyperparameter tuning is all you need for LISTA".

With the analytic weight W of A ``[m, n]``, its diagonal d and the residual r = A x - b, one layer is

    e = ‖A⁺ r‖₁ = Σ_i d_i |w_iᵀ r|,      θ = c₁ e / m,      β = c₂ ‖x‖₀ / m,      p = c₃ n log(‖A⁺ b‖₁ / e),
    x ← SS_{θ, p}( x - Wᵀ r + β (x - previous x) ).

The estimate e of ‖x - x*‖₁ comes from the product that the gradient needs. SS keeps the p largest entries above θ as
they are and soft-thresholds the rest. The step is 1: published code has 1/‖A‖² as a default, which stops at -27 dB.

The paper has the coherence μ = max |w_iᵀ a_j| where 1/m stands here. Numbers found on one matrix then fail on others:
the largest of n² products says little about the rest. 1/m is the scale of their effect: e is about √m ‖x - x*‖₂, and an
entry of Wᵀ A (x - x*) about ‖x - x*‖₂ / √m. With 1/m, numbers of one Gaussian matrix 250 x 500 reached -82 dB where
columns are correlated and -71 dB on 128 x 256; with μ the same search reached -1 and -35 dB there.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.solve.checks import whole
from szilard.solve.ista import share
from szilard.solve.samples import CodePrior, batch_error_db
from szilard.solve.solver import Solver
from szilard.solve.state import State
from szilard.solve.tuning import Numbers, search
from szilard.sparse import ops

_AROUND = (0.92, 1.0, 1.08)  # times the threshold, when numbers are judged
_SAMPLES, _LEAST_SAMPLES = 48, 8  # of a search by default, for few codes and for many
_MANY_CODES = 500  # from which on there are fewer samples
DEFAULT = (4.0, 0.75, 1.0)


class Memory(NamedTuple):
    """What HyperLISTA carries."""

    first_error: Tensor | None  # ‖A⁺ b‖₁ of each sample
    active: Tensor  # entries of x that are not zero, of each sample


class HyperLISTA(Solver):
    """Momentum, support selection and a threshold that follow from the residual, by three numbers.

    Args:
        A: matrix ``[m, n]`` or :class:`~szilard.solve.convolution.Convolution`; its columns are scaled to unit norm
            inside.
        layers: how many steps a call does.
        numbers: (c₁, c₂, c₃): threshold, momentum, selection; those of another solver may be given. The defaults are
            good for density 0.1 without noise; :meth:`tune` finds those of your density and noise.
        damping: for matrices of a rank below m (:func:`~szilard.solve.weight.analytic_weight`).
    """

    name = "hyperlista"
    summary = "three numbers, found by a search; the analytic weight"
    equivariant = True
    goes_on = True
    unit_columns = True
    numbers: Tensor

    def __init__(
        self,
        A: Any,
        layers: int = 16,
        numbers: Sequence[float] | Tensor = DEFAULT,
        damping: float = 0.0,
    ) -> None:
        super().__init__(A, layers)
        self.damping = damping
        self.weight = self.operator.weight(self.name, self.without_matrix, damping)
        values = torch.as_tensor(numbers, dtype=torch.float64).detach().cpu().clone()
        if values.shape != (3,) or not bool(((values >= 0) & values.isfinite()).all()):
            raise SzilardError(f"numbers={numbers}; give three numbers that are not negative")
        self.register_buffer("numbers", values.to(self.operator.device))

    def start(self, state: State) -> Memory:
        return Memory(None, state.x.new_zeros(len(state.x)))

    def step(self, state: State) -> State:
        c_threshold, c_momentum, c_selection = self.numbers.tolist()
        memory: Memory = state.memory
        m, n = self.operator.shape
        gradient = self.weight.transposed(state.residual)
        error = ops.weighted_norm(gradient, self.weight.diagonal)
        first = error if memory.first_error is None else memory.first_error
        passing = (c_selection * n * (first / error).log()).clamp(0, n).nan_to_num(n).long()
        x, count, _ = ops.shrink(
            state.x,
            gradient,
            torch.ones_like(error),
            state.previous,
            c_momentum / m * memory.active,
            c_threshold / m * error,
            passing,
        )
        return self.moved(state, x, Memory(first, count), share(count, n))

    def tune(
        self,
        density: float = 0.1,
        snr: float | None = None,
        amplitude: float = 1.0,
        seed: int = 0,
        *,
        samples: int | None = None,
        evaluations: int = 150,
    ) -> Self:
        """Search the numbers on synthetic codes of this matrix, and keep the best.

        The score is the error of the batch after all layers, in float64. The best few are judged on other codes, four
        times as many, by the worst of three thresholds 8 % apart: numbers at the edge of a cliff lose a few samples of
        other batches. The time grows as the samples times m n:
        on one thread it was 3 seconds at m = 250 and n = 500, 8 at n = 1500 and 25 at n = 3000 (m = n / 2, 16 layers).

        Args:
            density: share of entries that are not zero, in (0, 1).
            snr: signal-to-noise ratio of measurements in dB; None: no noise.
            amplitude: standard deviation of entries that are not zero.
            seed: of codes, noise and search; the same seed gives the same numbers.
            samples: how many codes; None: 48, and from n = 500 on fewer, 48 · 500 / n, but at least 8.
            evaluations: how many numbers are tried.

        Raises:
            SzilardError: for a density outside (0, 1), or too few samples or evaluations.
        """
        if samples is None:
            samples = max(_LEAST_SAMPLES, round(_SAMPLES * min(1.0, _MANY_CODES / self.operator.shape[1])))
        for name, value in (("samples", samples), ("evaluations", evaluations)):
            if not whole(value) or value < 1:
                raise SzilardError(f"{name}={value!r}; give a whole number of at least 1")
        twin = self._in_double()
        prior = CodePrior(density, amplitude, snr)
        generator = torch.Generator().manual_seed(seed)
        training = prior.draw(twin.operator, samples, generator)
        validation = prior.draw(twin.operator, 4 * samples, generator)

        def error(numbers: Numbers, codes: tuple[Tensor, Tensor]) -> float:
            twin.numbers.copy_(torch.tensor(numbers))
            return batch_error_db(twin(codes[1]).x, codes[0])

        with torch.no_grad():
            found = search(
                lambda numbers: error(numbers, training),
                lambda numbers: max(
                    error((numbers[0] * factor, *numbers[1:]), validation) for factor in _AROUND
                ),
                DEFAULT,
                evaluations,
                seed,
            )
            self.numbers.copy_(torch.tensor(found.numbers))
        return self

    def _in_double(self) -> Self:
        """The same solver in float64 where its operator can, in the units of its scaled columns."""
        twin = copy.deepcopy(self).double()
        twin.scales = None
        return twin
