"""What this package asks of a field codec, in one place."""

from __future__ import annotations

import math

import numpy as np

from szilard.codec import Bound, FieldCodec, head
from szilard.errors import SzilardError, printable


def fitted(
    sample: np.ndarray, bound: Bound, bounds: np.ndarray | None, *, periodic: bool, seed: int, effort: float
) -> FieldCodec:
    """A codec whose weights lie outside its streams.

    Args:
        sample: values of the variable.
        bound: of every value; with ``bounds`` the least of these.
        bounds: of each value of the sample; None: the same for all.
        periodic: whether the last axis goes around.
        seed: of the fit.
        effort: of the fit.
    """
    return FieldCodec.fit(
        sample, bound, bounds=bounds, periodic=periodic, within=False, seed=seed, effort=effort
    )


def encoded(codec: FieldCodec, array: np.ndarray, bounds: np.ndarray | None = None) -> bytes:
    """The stream of an array, of any number of dimensions.

    Args:
        codec: of the variable.
        array: float32 or float64.
        bounds: of each value; None: the codec's bound.
    """
    shape = folded(array.shape)
    return codec.encode(array.reshape(shape), None if bounds is None else bounds.reshape(shape))


def decoded(codec: FieldCodec, data: bytes, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The array of a stream, which must have this shape and type.

    Raises:
        SzilardError: the stream is damaged, or of another array.
    """
    count = int(np.prod(shape, dtype=np.int64))
    array = codec.decode(data, most=count)
    if array.shape != folded(shape) or array.dtype != dtype.newbyteorder("<"):
        raise SzilardError(
            f"a chunk holds {array.dtype} of shape {array.shape}, but {dtype} of shape {shape} is expected; "
            "the store is damaged"
        )
    return array.reshape(shape).astype(dtype, copy=False)


def check_size(chunks: tuple[int, ...], name: str) -> None:
    """Raise for chunks that are too large for a stream.

    Args:
        chunks: shape of a chunk.
        name: of the variable.
    """
    if math.prod(chunks) > head.MOST_VALUES or math.prod(chunks[-2:]) > head.MOST_SLICE:
        raise SzilardError(
            f"chunks of {printable(name)} would have {math.prod(chunks):,} values, {math.prod(chunks[-2:]):,} of them "
            f"along the last two axes; at most {head.MOST_VALUES:,} and {head.MOST_SLICE:,} are possible"
        )


def folded(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape of one to five dimensions for as many values: leading axes beyond five are one."""
    if len(shape) > 5:
        return (int(np.prod(shape[:-4], dtype=np.int64)), *shape[-4:])
    return shape or (1,)
