"""Bounds and chunks as they are typed: ``t2m=0.05`` and ``time=24,lat=-1``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from szilard.errors import SzilardError, printable

if TYPE_CHECKING:
    import xarray as xr

_SHOWN = 20  # names in a message


def bounds(typed: Sequence[str], dataset: xr.Dataset, path: object) -> dict[str, str]:
    """Bounds by variable, as text that ``szilard.fields`` reads.

    Args:
        typed: values of ``--bound``.
        dataset: whose variables they are for.
        path: of the dataset, named in errors.

    Raises:
        SzilardError: there is none, one is without a name although there are several variables, or a name is twice.
    """
    if not typed:
        raise SzilardError(
            f"no bound was given; type the largest error of a variable, such as --bound {_example(dataset)}=0.05, or "
            f"of all with --bound '*=range:1e-3'; {path} has {named(dataset)}"
        )
    found: dict[str, str] = {}
    for text in typed:
        name, given, bound = text.partition("=")
        if not given:
            name, bound = _only(dataset, text, path), text
        name, bound = name.strip(), bound.strip()
        if not name or not bound:
            raise SzilardError(
                f"--bound must be NAME=B, such as {_example(dataset)}=0.05, not {printable(text)!r}"
            )
        if name in found:
            raise SzilardError(f"--bound is typed twice for {printable(name)}; give a variable one bound")
        found[name] = bound
    return found


def chunks(typed: str | None) -> dict[str, int] | None:
    """Lengths of chunks by dimension.

    Raises:
        SzilardError: a part is not ``NAME=N``, or a name is twice.
    """
    if typed is None:
        return None
    found: dict[str, int] = {}
    for part in typed.split(","):
        name, _, length = (word.strip() for word in part.rpartition("="))
        try:
            size = int(length)
        except ValueError:
            size = 0
        if not name or not (size > 0 or size == -1):
            raise SzilardError(
                f"--chunks must be DIM=N,... such as time=24,lat=-1, with -1 for a whole axis, not {printable(typed)!r}"
            )
        if name in found:
            raise SzilardError(f"--chunks names {printable(name)} twice; give a dimension one length")
        found[name] = size
    return found


def named(dataset: xr.Dataset) -> str:
    """Names of the float variables with their units, or of all variables if none is of floats."""
    floats = [name for name in map(str, dataset.data_vars) if dataset[name].dtype.kind == "f"]
    names = floats or [str(name) for name in dataset.data_vars]
    shown = []
    for name in names[:_SHOWN]:
        units = dataset[name].attrs.get("units")
        shown.append(printable(name, 60) + (f" ({printable(str(units), 30)})" if units else ""))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(shown) or "no variables") + more


def _only(dataset: xr.Dataset, text: str, path: object) -> str:
    names = [str(name) for name in dataset.data_vars]
    floats = [name for name in names if dataset[name].dtype.kind == "f"]
    if len(floats) == 1 or len(names) == 1:
        return (floats or names)[0]
    raise SzilardError(
        f"--bound {printable(text)} names no variable; type --bound NAME=B, or '*=B' for all of them; {path} has "
        f"{named(dataset)}"
    )


def _example(dataset: xr.Dataset) -> str:
    floats = [str(name) for name in dataset.data_vars if dataset[name].dtype.kind == "f"]
    return printable((floats or ["t2m"])[0], 60)
