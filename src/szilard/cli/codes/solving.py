"""Codes of all measurements, some rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from szilard.solve import Guard

_ENTRIES = 1 << 22  # codes of one batch


def checked(guard: Guard, b: np.ndarray) -> Tensor:
    """Measurements as the solver takes them; a row that does not fit is refused before any is solved."""
    from szilard.solve.checks import measurements

    operator = guard.solver.operator
    return measurements(b, operator.shape, operator.dtype, operator.device)


def solve(guard: Guard, b: Tensor, told: Callable[[int, int], None]) -> tuple[dict[str, Any], int]:
    """Codes and their certificates, as arrays for a file; and how many samples fell back.

    Args:
        guard: of the solver.
        b: measurements ``[N, m]``.
        told: called with (rows that are done, rows).
    """
    import numpy as np

    size = max(1, _ENTRIES // guard.solver.operator.shape[1])
    fell = 0
    parts: dict[str, list[np.ndarray]] = {
        name: [] for name in ("x", "residual", "certificate", "penalty", "gap")
    }
    for start in range(0, len(b), size) or [0]:
        answer = guard(b[start : start + size])
        fell += answer.counts["fallback"]
        for name, values in parts.items():
            part = getattr(answer, name)
            values.append(np.array(part, dtype="U7") if name == "certificate" else part.cpu().numpy())
        if len(b) > size:
            told(min(start + size, len(b)), len(b))
    return {name: np.concatenate(values) for name, values in parts.items()}, fell
