"""Rounding by row: the baseline that a compression must beat at the same error of the outputs.

Each row of a matrix has one scale, the largest magnitude divided by the largest level (or the clipping scale with the
least squared error). Each entry is rounded to the nearest level, and the file is compressed with zstd at level 19.
Vectors are float16, scales float32. Levels are stored as bytes or bit-packed, whichever gives the smaller file. Only
values are compared; int8 kernels would give the same values.
"""

from __future__ import annotations

import importlib
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from files.plain_files import int8_zstd
from szilard.networks import copied

BITS = (3, 4, 5, 6, 7, 8, 9, 10, 12)
COARSE = (3, 4, 5)  # with more bits, clipping does not help
KINDS = ("by row", CLIPPED := "by row, clipped", FIRST := "by row, the first matrix in float16")
CLIPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
LEVEL = 19
GROUP = 64  # number of columns that share a scale in torchao's int4


@dataclass(frozen=True)
class Point:
    """One file: its format, size in bytes, and error of the outputs. Files of one kind differ in their bit width."""

    kind: str
    name: str
    bytes: int
    error: float


def points(network: nn.Module, error: Callable[[nn.Module], float], *, level: int = LEVEL) -> list[Point]:
    """Files of a network in all formats of this module.

    Args:
        error: measures the error of a network's outputs.
    """
    found = []
    first = next((p for p in network.parameters() if p.dim() > 1), None)
    at = None if first is None else next(i for i, p in enumerate(network.parameters()) if p is first)
    for kind in KINDS:
        for bits in COARSE if kind == CLIPPED else BITS:
            rounded = copied(network).eval()
            parts: list[bytes] = []
            with torch.no_grad():
                for i, p in enumerate(rounded.parameters()):
                    if p.dim() < 2 or (kind == FIRST and i == at):
                        half = p.half()
                        parts.append(half.numpy().tobytes())
                        p.copy_(half)
                        continue
                    levels, scale = _rows(p.detach().flatten(1), bits, kind == CLIPPED)
                    parts += [scale.numpy().tobytes(), _packed(levels, bits, level)]
                    p.copy_((levels * scale[:, None]).reshape(p.shape))
            found.append(
                Point(kind, f"{bits} bits {kind}", len(_zstd(b"".join(parts), level)), error(rounded))
            )
    return found + _torchao(network, error, level)


def bytes_at(points: list[Point], error: float) -> int | None:
    """Least bytes at an error: between neighbouring bit widths of one kind, bytes are linear in the log of the error.

    Theory gives this for fractional bit widths. None if the error of every file is larger.
    """
    found = [p.bytes for p in points if p.error <= error]
    kinds: dict[str, list[Point]] = {}
    for p in points:
        kinds.setdefault(p.kind, []).append(p)
    for made in kinds.values():
        for small, large in itertools.pairwise(sorted(made, key=lambda p: p.bytes)):
            if small.error > error >= large.error > 0:
                share = math.log(small.error / error) / math.log(small.error / large.error)
                found.append(round(small.bytes + share * (large.bytes - small.bytes)))
    return min(found, default=None)


def _rows(weight: Tensor, bits: int, clip: bool) -> tuple[Tensor, Tensor]:
    top = 2 ** (bits - 1) - 1
    most = weight.abs().amax(1).clamp_min(1e-12)
    best, least = None, None
    for share in CLIPS if clip else (1.0,):
        scale = most * share / top
        levels = (weight / scale[:, None]).round().clamp(-top, top)
        missed = (levels * scale[:, None] - weight).square().sum(1)
        if best is None or least is None:
            best, least = (levels, scale), missed
            continue
        better = missed < least
        best = torch.where(better[:, None], levels, best[0]), torch.where(better, scale, best[1])
        least = torch.minimum(missed, least)
    assert best is not None
    return best


def _packed(levels: Tensor, bits: int, level: int) -> bytes:
    whole = levels.to(torch.int32).numpy().reshape(-1)
    unsigned = (whole + (1 << (bits - 1))).astype(">u2")
    octets = unsigned.view(np.uint8).reshape(-1, 2)
    high, low = octets[:, 0].tobytes(), octets[:, 1].tobytes()
    loose = low if bits <= 8 else high + low  # high bytes repeat
    tight = np.packbits(np.unpackbits(octets, axis=1)[:, 16 - bits :]).tobytes()
    return min(loose, tight, key=lambda content: len(_zstd(content, 3 if len(content) > 1 << 22 else level)))


def _zstd(content: bytes, level: int) -> bytes:
    zstandard = importlib.import_module("zstandard")
    return bytes(zstandard.ZstdCompressor(level=level).compress(content))


def _torchao(network: nn.Module, error: Callable[[nn.Module], float], level: int) -> list[Point]:
    """torchao's int8 by row and int4 by groups of columns; empty if it is not installed."""
    try:
        coded = int8_zstd(network.state_dict())
    except ImportError:
        return []
    rounded = copied(network).eval()
    rounded.load_state_dict(coded.state)
    return [
        Point("torchao int8", "torchao int8", coded.n_bytes, error(rounded)),
        _int4(network, error, level),
    ]


def _int4(network: nn.Module, error: Callable[[nn.Module], float], level: int) -> Point:
    """torchao's asymmetric int4 values; the remaining columns form a smaller last group."""
    primitives = importlib.import_module("torchao.quantization.quant_primitives")
    rounded = copied(network).eval()
    parts: list[bytes] = []
    with torch.no_grad():
        for p in rounded.parameters():
            if p.dim() < 2:
                parts.append(p.half().numpy().tobytes())
                p.copy_(p.half())
                continue
            matrix = p.detach().flatten(1)
            for block in matrix.split(GROUP, 1):
                size = [1, block.shape[1]]
                scale, zero = primitives.choose_qparams_affine(
                    block,
                    primitives.MappingType.ASYMMETRIC,
                    size,
                    torch.int8,
                    0,
                    15,
                    scale_dtype=torch.float32,
                )
                levels = primitives.quantize_affine(block, size, scale, zero, torch.int8, 0, 15)
                values = primitives.dequantize_affine(levels, size, scale, zero, torch.int8, 0, 15)
                block.copy_(values)
                parts += [
                    _packed(levels.float() - 8, 4, level),
                    scale.float().numpy().tobytes(),
                    zero.to(torch.int8).numpy().tobytes(),
                ]
    return Point(
        "torchao int4", f"torchao int4, groups of {GROUP}", len(_zstd(b"".join(parts), level)), error(rounded)
    )
