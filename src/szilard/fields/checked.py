"""What a check of a store against its original gave."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class CheckedVariable:
    """A variable with a bound, compared with its original.

    Attributes:
        name: of the variable.
        bound: in words, with units.
        values: how many were compared.
        beyond: values that are farther from the original than the bound; 0 if the promise holds.
        largest: the largest error in units of the bound; at most 1 if the promise holds.
        error: the largest error in the variable's units.
        moved: values that are NaN or infinite in the store or in the original alone, or infinities of the other sign.
    """

    name: str
    bound: str
    values: int
    beyond: int
    largest: float
    error: float
    moved: int

    @property
    def ok(self) -> bool:
        """Whether every value is within its bound."""
        return not self.beyond and not self.moved and not math.isnan(self.largest)


@dataclass(frozen=True)
class Checked:
    """A store, compared with its original.

    Attributes:
        variables: those with a bound, by name.
        exact: variables and coordinates without a bound that are equal to the original.
        changed: variables and coordinates without a bound that differ.
        missing: variables and coordinates of the original that the store lacks.
    """

    variables: dict[str, CheckedVariable]
    exact: tuple[str, ...]
    changed: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every value is within its bound, everything else is equal, and nothing is missing."""
        return not (self.changed or self.missing) and all(one.ok for one in self.variables.values())
