"""One row of a latency table: a layer of a certain size, with certain bits."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd, prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from szilard.compression.channels.layer_shapes import LayerShape


@dataclass(frozen=True)
class Row:
    """A layer whose seconds are measured on their own, for one example.

    Attributes:
        kind: "conv" or "linear".
        inputs, outputs: channels of a convolution, or features.
        kernel, stride, dilation: of a convolution, a number for each dimension; () for a linear layer.
        pads: zeros at the beginnings of all dimensions, then at the ends.
        groups: of a convolution.
        positions: size of its input without channels; () for a linear layer of ``[B, F]``.
        bits: 32: float32; 8: integers.
        first: whether its input is that of the network, which no layer has brought into the runtime's own layout.
    """

    kind: str
    inputs: int
    outputs: int
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    groups: int = 1
    positions: tuple[int, ...] = ()
    bits: int = 32
    first: bool = False

    @classmethod
    @functools.lru_cache(maxsize=1 << 16)  # a search asks for the same few again and again
    def of(cls, shape: LayerShape, inputs: int, outputs: int, bits: int, first: bool = False) -> Row:
        """The row of a layer when it has fewer channels.

        Args:
            shape: of the layer in the original network, a ``LayerShape``.
            inputs, outputs: channels, or features, that it has now.
            bits: 32 or 8.
            first: whether its input is that of the network.
        """
        if shape.kind == "linear":
            positions = tuple(shape.positions_in)
            return cls("linear", inputs, outputs, positions=positions, bits=bits, first=first)
        kernel, stride, dilation = (tuple(one) for one in (shape.kernel, shape.stride, shape.dilation))
        depthwise = shape.groups > 1 and shape.groups == shape.inputs
        groups = max(inputs, 1) if depthwise else gcd(shape.groups, inputs, outputs) or 1
        before = tuple(shape.padding)
        row = cls(
            "conv", inputs, outputs, kernel, stride, dilation, before + before, groups, tuple(shape.positions_in),
            bits, first,
        )  # fmt: skip
        # With padding="same" and an even kernel there is one zero more behind than before.
        behind = (
            pad + int(out < wanted)
            for pad, out, wanted in zip(before, row.positions_out, shape.positions_out, strict=True)
        )
        return replace(row, pads=(*before, *behind))

    @functools.cached_property
    def key(self) -> str:
        """A text that names the row in a file, such as ``conv 16>32 at 32x32 3x3 s2x2 d1x1 p1x1x1x1 g1 8 bits``."""
        parts = [
            self.kind,
            f"{self.inputs}>{self.outputs}",
            *([f"at {_by_x(self.positions)}"] if self.positions else []),
        ]
        if self.kind == "conv":
            parts += [
                _by_x(self.kernel), f"s{_by_x(self.stride)}", f"d{_by_x(self.dilation)}", f"p{_by_x(self.pads)}",
                f"g{self.groups}",
            ]  # fmt: skip
        return " ".join([*parts, f"{self.bits} bits", *(["first"] if self.first else [])])

    @property
    def empty(self) -> bool:
        """Whether a policy has left nothing of the layer, which then is not in the network."""
        return not (self.inputs and self.outputs)

    @property
    def macs(self) -> int:
        """Multiply-adds for one example."""
        if self.kind == "linear":
            return prod(self.positions) * self.inputs * self.outputs
        return prod(self.positions_out) * self.outputs * (self.inputs // self.groups) * prod(self.kernel)

    @property
    def positions_out(self) -> tuple[int, ...]:
        """Size of its output without channels."""
        d = len(self.kernel)
        if not d:
            return self.positions
        return tuple(
            (size + self.pads[i] + self.pads[i + d] - self.dilation[i] * (self.kernel[i] - 1) - 1)
            // self.stride[i]
            + 1
            for i, size in enumerate(self.positions)
        )

    @property
    def values(self) -> int:
        """Number of values of its input."""
        return self.inputs * prod(self.positions)

    @property
    def weights(self) -> int:
        """Number of entries of its weight."""
        return self.outputs * (self.inputs // self.groups) * prod(self.kernel)


def _by_x(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes)) or "1"
