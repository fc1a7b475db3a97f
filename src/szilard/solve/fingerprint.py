"""By what a matrix or an operator is recognised.

A matrix has a hash of its shape and of its values rounded to float32, so that a copy in float32 of a matrix in float64
is the same matrix, on every device and machine. An operator has no values to hash, and its products differ in their
last bits from machine to machine: it is recognised by sixteen numbers u·A v for fixed vectors u and v of ones and minus
ones, to 1e-4 of their size. A matrix has those, too, so that an operator that does the same is recognised.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import numpy as np
import torch
from torch import Tensor

from szilard.solve.operators import Matrix, Operator

PROBES = 16
SAME = 1e-4  # of the size of the numbers


def matrix_hash(A: Tensor) -> str:
    """BLAKE2b, 16 bytes in hex, of shape and values rounded to float32; -0 is 0."""
    values = (A.detach().cpu().to(torch.float32) + 0.0).contiguous().numpy()
    found = hashlib.blake2b(struct.pack("<2Q", *values.shape), digest_size=16)
    found.update(np.ascontiguousarray(values.astype("<f4", copy=False)).data)
    return found.hexdigest()


@torch.no_grad()
def probe(operator: Operator) -> list[float]:
    """u·A v for each pair of probe vectors, over √(m n)."""
    m, n = operator.shape
    inputs = torch.stack([_signs("in", index, n) for index in range(PROBES)])
    outputs = torch.stack([_signs("out", index, m) for index in range(PROBES)])
    measured = operator.product(inputs.to(operator.device, operator.dtype)).cpu().double()
    values: list[float] = ((measured * outputs).sum(1) / (m * n) ** 0.5).tolist()
    return values


def _signs(which: str, index: int, count: int) -> Tensor:
    """Ones and minus ones, the same on every machine and for ever: the bits of a SHAKE-256 stream."""
    stream = hashlib.shake_256(f"szilard solve {which} {index}".encode()).digest((count + 7) // 8)
    bits = np.unpackbits(np.frombuffer(stream, np.uint8))[:count]
    return torch.from_numpy(bits.astype(np.float64) * 2 - 1)


def of_operator(operator: Operator) -> dict[str, Any]:
    """What recognises an operator, as JSON."""
    return {
        "shape": list(operator.shape),
        "hash": matrix_hash(operator.A) if isinstance(operator, Matrix) else None,
        "probes": probe(operator),
    }


def same(found: dict[str, Any], operator: Operator) -> bool:
    """Whether an operator is that of which ``found`` is the fingerprint."""
    if list(operator.shape) != found["shape"]:
        return False
    if found["hash"] is not None and isinstance(operator, Matrix):
        return bool(matrix_hash(operator.A) == found["hash"])
    expected, got = np.array(found["probes"]), np.array(probe(operator))
    return bool(np.abs(got - expected).max() <= SAME * max(float(np.abs(expected).max()), 1e-300))
