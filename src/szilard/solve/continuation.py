r"""FISTA with continuation: λ falls from ‖Aᵀb‖_∞, the step fits where x moves, and momentum restarts.

While λ falls, x stays sparse, and A is much better conditioned on its few entries than as a whole. Three things follow,
each for every sample by itself:

- λ_k = max(λ, decrease^k ‖Aᵀb‖_∞) (Hale, Yin and Zhang 2008);
- the step starts at more than 1/L, and shrinks when ‖A(x - z)‖² of a step shows that it was too long; it is never below
  1/L, so that FISTA's guarantee holds from then on;
- momentum starts again when F rises (O'Donoghue and Candès 2015).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.solve.checks import warn_zero_codes
from szilard.solve.duality import relative_gap
from szilard.solve.ista import share
from szilard.solve.solver import Solver
from szilard.solve.state import State
from szilard.sparse import ops

_GROWTH = 1.3  # of the curvature that a step showed, for the next one
_GOLDEN = (1 + 5**0.5) / 2  # FISTA's t after 1
_CHECK = 10  # layers between two duality gaps


class Memory(NamedTuple):
    """What continuation carries; ``[B]`` where not said."""

    penalty: Tensor  # at the end
    now: Tensor  # λ of the last step
    t: Tensor
    before: Tensor  # t one step ago
    lipschitz: Tensor
    residual: Tensor  # of the previous x, [B, m]
    norm: Tensor  # ‖x‖₁
    gap: Tensor  # relative, when it was last found


class ContinuationFISTA(Solver):
    """Accelerated proximal gradient steps while λ falls to its value: the classical solver to beat.

    Args:
        A: matrix ``[m, n]`` or operator.
        penalty: λ, in the units of ½‖b - A x‖² over ‖x‖₁; a number, or one for each sample ``[B]``.
        layers: the most iterations of a call.
        gap: a call stops when each sample's duality gap is at most this share of F; None: after all layers.
        relative: the penalty is a share of each sample's ‖Aᵀb‖_∞.
        decrease: factor of λ from layer to layer; below 0.75 or above 0.85 more layers are needed. 0 starts at λ.
        longest: the first step, in units of 1/L; 1 for FISTA's own.
        restart: whether momentum starts again when F rises.
    """

    name = "continuation"
    summary = "accelerated proximal gradient steps while the penalty falls to its value"

    def __init__(
        self,
        A: Any,
        penalty: float | Tensor,
        layers: int = 2000,
        gap: float | None = None,
        *,
        relative: bool = False,
        decrease: float = 0.79,
        longest: float = 3.0,
        restart: bool = True,
    ) -> None:
        super().__init__(A, layers)
        values = torch.as_tensor(penalty, dtype=torch.float64).detach()
        if values.ndim > 1 or not bool(((values >= 0) & values.isfinite()).all()):
            raise SzilardError(
                f"penalty={penalty}; give a number that is not negative, or one for each sample"
            )
        if not 0 <= decrease < 1:
            raise SzilardError(f"decrease={decrease}; give a factor of at least 0 and below 1")
        if not longest >= 1:
            raise SzilardError(f"longest={longest}; give a first step of at least 1 (in units of 1/L)")
        self.penalty, self.relative, self.gap = values, relative, gap
        self.decrease, self.longest, self.restart = decrease, longest, restart
        self.lipschitz = self.operator.largest_eigenvalue()

    def start(self, state: State) -> Memory:
        B = len(state.b)
        if self.penalty.ndim and len(self.penalty) != B:
            raise SzilardError(
                f"penalty has {len(self.penalty)} numbers and b {B} rows; give one for each row"
            )
        largest = self.operator.adjoint(state.b).abs().amax(1)
        penalty = self.penalty.to(largest).expand(B)
        if self.relative:
            penalty = penalty * largest
        warn_zero_codes(penalty, largest)
        one = torch.ones_like(largest)
        curvature = one * (self.lipschitz / self.longest)
        return Memory(penalty, largest, one, one, curvature, state.residual, 0 * one, torch.inf * one)

    def finished(self, state: State) -> bool:
        return self.gap is not None and bool((state.memory.gap <= self.gap).all())

    def step(self, state: State) -> State:
        memory: Memory = state.memory
        now = torch.maximum(memory.now * self.decrease, memory.penalty)
        momentum = (memory.before - 1) / memory.t
        shift = momentum[:, None]
        at = state.residual + shift * (state.residual - memory.residual)
        scale = 1 / memory.lipschitz
        x, count, norm = ops.shrink(
            state.x, self.operator.adjoint(at), scale, state.previous, momentum, now * scale, None
        )
        lipschitz, t, before = memory.lipschitz, (1 + (1 + 4 * memory.t.square()).sqrt()) / 2, memory.t
        following = self.moved(state, x, None, share(count, self.operator.shape[1]))
        if bool((lipschitz < self.lipschitz).any()):
            moved = x - state.x - shift * (state.x - state.previous)
            curvature = (following.residual - at).square().sum(1) / moved.square().sum(1)
            larger = (_GROWTH * curvature).clamp_max(self.lipschitz)
            lipschitz = larger.where(curvature > lipschitz, lipschitz)  # 0 / 0 is not larger
        if self.restart:
            rise = following.residual.square().sum(1) - state.residual.square().sum(1)
            rises = rise / 2 + now * (norm - memory.norm) > 0
            t, before = t.masked_fill(rises, _GOLDEN), before.masked_fill(rises, 1.0)
        gap = memory.gap
        if self.gap is not None and following.layer % _CHECK == 0 and bool((now <= memory.penalty).all()):
            gap = relative_gap(self.operator, x, following.residual, state.b, memory.penalty).to(gap)
        return following._replace(
            memory=Memory(memory.penalty, now, t, before, lipschitz, state.residual, norm, gap)
        )
