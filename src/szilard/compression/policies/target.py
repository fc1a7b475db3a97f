"""The target of a search: a share of the original network's cost, or an amount with a unit."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from szilard.errors import SzilardError, printable

_UNITS: dict[str, dict[str, float]] = {
    "seconds": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9},
    "joules": {"J": 1.0, "mJ": 1e-3, "uJ": 1e-6, "µJ": 1e-6, "nJ": 1e-9},
    "bytes": {"B": 1.0, "kB": 1e3, "KiB": 1024.0, "MB": 1e6, "MiB": 1024.0**2},
}
FUNCTION = "units"  #: of a user's own function; amounts are numbers that it returns
_AMOUNT = re.compile(r"\s*([0-9.]+(?:e[-+]?[0-9]+)?)\s*([a-zA-Zµ]*)\s*")


@dataclass(frozen=True)
class Target:
    """The largest allowed cost.

    Attributes:
        amount: a share of the original's cost, or a number of ``unit``.
        unit: "seconds", "joules" or "bytes"; empty: ``amount`` is a share.
    """

    amount: float
    unit: str = ""

    @classmethod
    def of(cls, given: float | str, unit: str) -> Target:
        """A number between 0 and 1 is a share; text has a unit, such as "1.5ms"; bytes and a user's function need none.

        Args:
            given: as a user writes it.
            unit: of the cost that is searched for: "seconds", "joules", "bytes", or "units" of a user's function.

        Raises:
            SzilardError: it is neither.
        """
        text = f"{given!r}" if isinstance(given, int | float) else str(given)
        found = _AMOUNT.fullmatch(text)
        units = _UNITS.get(unit, {})
        examples = f"such as 0.4, or an amount with a unit ({', '.join(units)})" if units else "such as 0.4"
        wrong = f"the target {printable(text, 40)} is not a share of the original's cost, {examples}"
        if found is None:
            raise SzilardError(wrong)
        try:
            amount = float(found[1])
        except ValueError as error:
            raise SzilardError(wrong) from error
        if not (math.isfinite(amount) and amount > 0):
            raise SzilardError(f"the target {printable(text, 40)} is not positive; give a share {examples}")
        if found[2]:
            if found[2] not in units:
                raise SzilardError(wrong)
            return cls(amount * units[found[2]], unit)
        if amount < 1:
            return cls(amount)
        if unit in ("bytes", FUNCTION) and amount > 1:
            return cls(amount, unit)
        raise SzilardError(f"{wrong}; a share is below 1")

    def share(self, reference: float) -> float:
        """As a share of the original's cost ``reference``.

        Raises:
            SzilardError: the original costs no more than the target.
        """
        if not self.unit:
            return self.amount
        share = self.amount / reference
        if share >= 1:
            raise SzilardError(
                f"the target is {self.amount:.4g} {self.unit}, and the original takes {reference:.4g}; give a smaller "
                "target"
            )
        return share
