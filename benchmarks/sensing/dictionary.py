"""A dictionary of patches, learned online (Mairal, Bach, Ponce and Sapiro 2009).

Each step codes a batch by FISTA and adds the codes x and patches y to the sums S = Σ x xᵀ and T = Σ y xᵀ, which forget
their beginning; then each atom in turn gets the best place for these sums, d_j ← (t_j - D s_j) / s_jj + d_j, cut to
unit norm. Atoms that no patch of a while used become patches.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sensing.measuring import generator
from sensing.photographs import PIXELS, Photograph, centred, drawn
from szilard.solve import FISTA

ATOMS = 512
STEPS, BATCH = 300, 1024
PENALTY = 0.1  # λ; patches have grey levels in units of white
ITERATIONS = 40  # of FISTA
_FLAT = 0.02  # standard deviation of pixels below which a patch teaches nothing
_MEMORY = 0.98


def cosines() -> Tensor:
    """The orthonormal two-dimensional DCT of patches ``[256, 256]``, its atoms in columns."""
    side = int(PIXELS**0.5)
    place = torch.arange(side, dtype=torch.float64)
    one = torch.cos(torch.pi * (place[:, None] + 0.5) * place / side) * (2 / side) ** 0.5
    one[:, 0] /= 2**0.5
    return torch.kron(one, one).float()


def learned(pictures: Sequence[Photograph], steps: int = STEPS, atoms: int = ATOMS) -> Tensor:
    """A dictionary ``[256, atoms]`` with atoms of unit norm, the same for every call; the most used are the first."""
    own = generator(7)

    def batch() -> Tensor:
        found, _ = centred(drawn(list(pictures), 2 * BATCH, own))
        return found[found.std(1) > _FLAT][:BATCH]

    first = batch()
    while len(first) < atoms:
        first = torch.cat((first, batch()))
    D = _units(first[:atoms].t().contiguous())
    S, T, used = torch.zeros(atoms, atoms), torch.zeros(PIXELS, atoms), torch.zeros(atoms)
    for step in range(steps):
        y = batch()
        x = FISTA(D, PENALTY, ITERATIONS)(y).x
        S, T = _MEMORY * S + x.t() @ x, _MEMORY * T + y.t() @ x
        used = _MEMORY * used + (x != 0).sum(0)
        for j in range(atoms):
            if S[j, j] > 1e-6:
                atom = D[:, j] + (T[:, j] - D @ S[:, j]) / S[j, j]
                D[:, j] = atom / atom.norm().clamp_min(1e-12)
        if step % 20 == 19 and step < steps - 20:
            unused = (used < 1e-3 * used.mean()).nonzero()[:, 0]
            D[:, unused] = _units(batch()[: len(unused)].t())
            S[unused], S[:, unused], T[:, unused] = 0, 0, 0
    return D[:, used.argsort(descending=True, stable=True)].contiguous()


def _units(columns: Tensor) -> Tensor:
    return columns / columns.norm(dim=0).clamp_min(1e-12)
