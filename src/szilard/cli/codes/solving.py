"""Codes of all measurements, some rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from szilard.solve import Guard

_ENTRIES = 1 << 22  # codes of one batch


def solve(guard: Guard, b: np.ndarray, n: int, told: Callable[[int, int], None]) -> dict[str, Any]:
    """Codes and their certificates, as arrays for a file.

    Args:
        guard: of the solver.
        b: measurements ``[N, m]``.
        n: codes of a sample.
        told: called with (rows that are done, rows).
    """
    import numpy as np

    from szilard.solve.checks import measurements

    operator = guard.solver.operator
    whole = measurements(
        b, operator.shape, operator.dtype, operator.device
    )  # refuses a row before any is solved
    size = max(1, _ENTRIES // n)
    parts: dict[str, list[np.ndarray]] = {
        name: [] for name in ("x", "residual", "certificate", "penalty", "gap")
    }
    for start in range(0, len(whole), size):
        answer = guard(whole[start : start + size])
        for name, values in parts.items():
            part = getattr(answer, name)
            values.append(np.array(part) if name == "certificate" else part.cpu().numpy())
        told(min(start + size, len(whole)), len(whole))
    return {name: np.concatenate(values) for name, values in parts.items()}
