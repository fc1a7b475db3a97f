"""Pictures with channels first or last: what is said of the order that a network is given."""

from __future__ import annotations

from szilard.cli.examples import Examples


def said(data: Examples) -> str:
    """The beginning of a sentence if pictures are turned, or have channels last; else empty."""
    shape = list(data.input_shape)
    if data.moved:
        return f"pictures of {[*shape[1:], shape[0]]} are turned to {shape}, channels first; "
    if data.channels_last and data.turned_from_first:
        return f"pictures of {[shape[2], *shape[:2]]} are turned to {shape}, channels last; "
    if data.channels_last:
        return f"pictures are taken as they are in the file, {shape}, channels last; "
    return ""


def refused(data: Examples, other: Examples | None) -> str:
    """The beginning of a sentence about inputs that a network takes in no order.

    Args:
        other: the same pictures turned; None where they are none.
    """
    if other is None:
        return f"the network cannot take inputs of {data.name}, {list(data.input_shape)} each"
    as_they_are, turned = (other, data) if data.moved else (data, other)
    return (
        f"the network takes pictures of {data.name} neither as they are in the file, {list(as_they_are.input_shape)}, "
        f"nor turned to {list(turned.input_shape)}"
    )
