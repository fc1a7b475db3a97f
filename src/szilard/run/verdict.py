"""In words, whether the draws of several chains can be trusted as a posterior."""

from __future__ import annotations

from typing import Any

AGREE = 1.05  #: largest R̂ of chains that agree
PUBLISHED = 1.01  #: that of figures that are published (Vehtari et al. 2021)
FEW = 100  #: effective draws below which a mean is uncertain


def verdict(found: dict[str, Any]) -> str:
    """One or two sentences on figures of chains (:mod:`szilard.run.chains_result`)."""
    chains, draws = found["chains"], found["draws"]
    if found["rhat"] is None:
        if chains < 2:
            return (
                f"One chain of {draws} draws: whether it has explored the posterior cannot be told. Run two or more "
                "chains."
            )
        return f"{chains} chains of {draws} draws: too few to compare the chains. Keep at least four draws of each."
    rhat, effective = found["rhat"], min(found["ess_bulk"], float(chains * draws))
    worth = f"{chains * draws} draws are worth {effective:.0f} independent ones"
    if rhat > AGREE:
        return (
            f"The chains disagree (R̂ {rhat:.2f}): {_number(chains)} local posteriors averaged, not one posterior. "
            "Use them as an ensemble, whose spread is uncertainty all the same, or run longer chains."
        )
    sure = (
        ""
        if rhat <= PUBLISHED
        else f" For published figures R̂ should be at most {PUBLISHED}: run longer chains."
    )
    if effective < FEW:
        more = "Keep more draws." if chains * draws < 2 * FEW else "Run longer chains."
        return f"The chains agree (R̂ {rhat:.2f}), but {worth}, too few for quantiles. {more}"
    return f"The chains agree (R̂ {rhat:.2f}), and {worth}.{sure}"


def _number(count: int) -> str:
    words = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight"}
    return words.get(count, str(count))
