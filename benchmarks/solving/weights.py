"""The analytic weight: its diagonal, and how near its other products are to their bound."""

from __future__ import annotations

from typing import Any

from solving import problems
from szilard.solve import analytic_weight, symmetric_weight
from szilard.solve.weight import bound

Row = dict[str, Any]


def measured(seed: int) -> list[Row]:
    """A row for each matrix of a seed, in float64."""
    named = {
        "Gaussian, 250 x 500": problems.gaussian(problems.M, problems.N, seed),
        **problems.held_out(seed),
    }
    rows = []
    for name, A in named.items():
        m, n = A.shape
        least, own = bound(m, n), A.t() @ A
        row: Row = {"seed": seed, "matrix": name, "bound": least}
        row["matrix_vs_bound"] = float((own - own.diag().diag()).norm()) / least
        row["matrix_coherence"] = float((own - own.diag().diag()).abs().max())
        for kind, weight in (("analytic", analytic_weight(A)), ("symmetric", symmetric_weight(A)[1])):
            products = weight.W.t() @ A
            diagonal = products.diagonal()
            row[f"{kind}_diagonal_error"] = float((diagonal - 1).abs().max())
            row[f"{kind}_vs_bound"] = float((products - diagonal.diag()).norm()) / least
            row[f"{kind}_coherence"] = weight.coherence
        rows.append(row)
    return rows
