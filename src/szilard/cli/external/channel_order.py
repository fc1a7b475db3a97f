"""Messages about images with channels first or last."""

from __future__ import annotations

from szilard.cli.external.examples import Examples


def describe(data: Examples) -> str:
    """The beginning of a sentence if the order of channels is changed, or channels are last; else empty."""
    shape = list(data.input_shape)
    if data.moved:
        return f"images of {[*shape[1:], shape[0]]} are transposed to {shape}, channels first; "
    if data.channels_last and data.moved_from_first:
        return f"images of {[shape[2], *shape[:2]]} are transposed to {shape}, channels last; "
    if data.channels_last:
        return f"images are taken as they are in the file, {shape}, channels last; "
    return ""


def refusal(data: Examples, other: Examples | None) -> str:
    """The beginning of a sentence about inputs that a network cannot take in either order of channels.

    Args:
        other: the same images with the other order of channels; None where inputs are no images.
    """
    if other is None:
        return f"the network cannot take inputs of {data.name}, {list(data.input_shape)} each"
    as_they_are, transposed = (other, data) if data.moved else (data, other)
    return (
        f"the network takes images of {data.name} neither as they are in the file, {list(as_they_are.input_shape)}, "
        f"nor transposed to {list(transposed.input_shape)}"
    )
