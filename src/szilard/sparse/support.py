"""Which entries of a weight exist."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from szilard.errors import SzilardError
from szilard.sparse.pattern import UNSTRUCTURED, Pattern
from szilard.sparse.patterns import make_pattern


class Index(NamedTuple):
    """A support as arguments of the operators of :mod:`szilard.sparse.ops`: plain int32 tensors in two orders.

    Row order (CSR) is the order in which values are stored; column order (the CSR of the transpose) comes with
    ``t_perm``, the position of each of its entries in row order, so that no product has to sort.
    """

    crow: Tensor  # [rows + 1]
    col: Tensor  # [nnz], ascending within a row
    t_crow: Tensor  # [cols + 1]
    t_col: Tensor  # [nnz], the row of each entry in column order
    t_perm: Tensor  # [nnz]


class Support(nn.Module):
    """The existing entries of one weight: a fixed number of them throughout training.

    A weight of shape ``[out, ...]`` is read as a matrix of ``out`` rows and ``prod(...)`` columns; its existing entries
    are held in CSR with int32 indices and a cached transpose. Only the two CSR arrays are part of the state dict; the
    transpose is rebuilt when they are loaded. Values (means, log standard deviations, optimiser state) are arrays of
    length ``nnz`` in the same order and are stored elsewhere.

    Args:
        shape: shape of the dense weight.
        crow: int tensor ``[rows + 1]``.
        col: int tensor ``[nnz]``, strictly ascending within each row.
        pattern: the units in which it exists and moves, or its name, see :func:`~szilard.sparse.make_pattern`.

    Raises:
        SzilardError: if the arrays break an invariant (see :meth:`check`).
    """

    crow: Tensor
    col: Tensor
    t_crow: Tensor
    t_col: Tensor
    t_perm: Tensor
    existing_rows: int  # rows that have an entry
    kept_rows: Tensor  # int64, of the pattern "neuron" only
    kept_channels: Tensor  # int64, likewise: columns of a matrix, input channels of a convolution

    def __init__(
        self, shape: Sequence[int], crow: Tensor, col: Tensor, pattern: str | Pattern = UNSTRUCTURED
    ) -> None:
        super().__init__()
        self.pattern = make_pattern(pattern)
        self.shape = torch.Size(shape)
        self.rows = int(self.shape[0])
        self.cols = math.prod(self.shape[1:])
        self.register_buffer("crow", crow.to(torch.int32))
        self.register_buffer("col", col.to(torch.int32))
        for name in ("t_crow", "t_col", "t_perm"):
            self.register_buffer(name, torch.empty(0, dtype=torch.int32, device=col.device), persistent=False)
        self.check()
        self._build_index()

    # -- constructors -------------------------------------------------------------------------------

    @classmethod
    def full(cls, shape: Sequence[int]) -> Support:
        """Every entry exists."""
        return cls.from_flat(shape, torch.arange(math.prod(shape)))

    @classmethod
    def random(
        cls,
        shape: Sequence[int],
        nnz: int,
        generator: torch.Generator,
        pattern: str | Pattern = UNSTRUCTURED,
    ) -> Support:
        """``nnz`` entries (to the nearest unit of ``pattern``) drawn uniformly without replacement."""
        pattern = make_pattern(pattern)
        return cls.from_flat(shape, pattern.random(shape, nnz, generator), pattern)

    @classmethod
    def largest(cls, weight: Tensor, nnz: int, pattern: str | Pattern = UNSTRUCTURED) -> Support:
        """The ``nnz`` entries (to the nearest unit) of largest magnitude; ties go to the lowest index."""
        pattern = make_pattern(pattern)
        return cls.from_flat(weight.shape, pattern.largest(weight, nnz), pattern)

    @classmethod
    def from_mask(cls, mask: Tensor) -> Support:
        """The entries where ``mask`` is true."""
        return cls.from_flat(mask.shape, mask.flatten().nonzero().flatten())

    @classmethod
    def from_flat(cls, shape: Sequence[int], flat: Tensor, pattern: str | Pattern = UNSTRUCTURED) -> Support:
        """From ascending indices into the flattened weight (int64 ``[nnz]``)."""
        return cls(shape, *_csr(flat, int(shape[0]), math.prod(shape[1:])), pattern)

    @classmethod
    def outline(cls, shape: Sequence[int], nnz: int, pattern: str | Pattern = UNSTRUCTURED) -> Support:
        """A support of ``nnz`` entries that are not known yet, on the meta device; loading a state dict sets them."""
        support = cls.full((0, 1))
        support.pattern = make_pattern(pattern)
        support.shape = torch.Size(shape)
        support.rows, support.cols = int(support.shape[0]), math.prod(support.shape[1:])
        for name, size in (("crow", support.rows + 1), ("col", nnz)):
            support.register_buffer(name, torch.empty(size, dtype=torch.int32, device="meta"))
        return support

    # -- properties ---------------------------------------------------------------------------------

    @property
    def nnz(self) -> int:
        return self.col.numel()

    @property
    def density(self) -> float:
        """Fraction of the dense weight's entries that exist."""
        return self.nnz / (self.rows * self.cols)

    @property
    def is_full(self) -> bool:
        return self.nnz == self.rows * self.cols

    @property
    def index(self) -> Index:
        return Index(self.crow, self.col, self.t_crow, self.t_col, self.t_perm)

    @property
    def index_bits(self) -> int:
        """Bits that say which entries exist, as its pattern needs them (:meth:`Pattern.index_bits`); 0 if all do.

        The state dict holds CSR for every pattern, which can be larger.
        """
        return 0 if self.is_full else self.pattern.index_bits(self)

    @property
    def fan_in(self) -> float:
        """Mean number of existing entries of the rows that have any."""
        return self.nnz / max(1, self.existing_rows)

    def flat(self) -> Tensor:
        """Ascending indices of the entries in the flattened weight, int64 ``[nnz]``."""
        return flat_index(self.crow, self.col, self.cols)

    def mask(self) -> Tensor:
        """Bool tensor of the weight's shape."""
        mask = torch.zeros(self.rows * self.cols, dtype=torch.bool, device=self.col.device)
        mask[self.flat()] = True
        return mask.view(self.shape)

    def gather(self, dense: Tensor) -> Tensor:
        """The existing entries of a dense tensor of the weight's shape, ``[nnz]``."""
        return dense.reshape(-1)[self.flat()]

    def scatter(self, values: Tensor) -> Tensor:
        """A dense tensor of the weight's shape, zero where no entry exists."""
        return to_dense(values, self.crow, self.col, self.shape)

    def extra_repr(self) -> str:
        pattern = "" if self.pattern == UNSTRUCTURED else f", pattern={self.pattern.name}"
        return f"shape={tuple(self.shape)}, nnz={self.nnz}, density={self.density:.4g}{pattern}"

    # -- changes ------------------------------------------------------------------------------------

    def replace(self, flat: Tensor) -> Tensor:
        """Replace the entries by ``flat`` (ascending, int64, as many as before).

        Returns:
            int64 ``[nnz]``: the old position of each entry among the values, or -1 if it is new.
        """
        if flat.numel() != self.nnz:
            raise SzilardError(
                f"a support keeps its number of entries: {self.nnz} cannot become {flat.numel()}; "
                "make a new Support to change the density"
            )
        new = Support.from_flat(self.shape, flat, self.pattern)  # raises if not of the pattern
        old = self.flat()
        place = torch.searchsorted(old, flat).clamp_(max=max(self.nnz - 1, 0))
        source = torch.where(old[place] == flat, place, -1) if self.nnz else place
        # In place: everything that holds these buffers (a compiled graph, a process group) sees the new support.
        self.crow.copy_(new.crow)
        self.col.copy_(new.col)
        self.existing_rows = new.existing_rows
        for name, buffer in new.named_buffers():
            if name not in ("crow", "col"):
                self.register_buffer(name, buffer, persistent=False)
        return source

    def check(self) -> None:
        """Raise :class:`SzilardError` unless the arrays are a CSR pattern of this shape."""
        crow, col = self.crow.long(), self.col.long()
        broken = ""
        if crow.shape != (self.rows + 1,):
            broken = f"crow has {crow.numel()} entries where {self.rows + 1} are needed"
        elif int(crow[0]) != 0 or int(crow[-1]) != col.numel() or bool((crow.diff() < 0).any()):
            broken = "crow must increase from 0 to the number of entries"
        elif col.numel() and (int(col.min()) < 0 or int(col.max()) >= self.cols):
            broken = f"column indices must be in [0, {self.cols})"
        elif bool((flat_index(self.crow, self.col, self.cols).diff() <= 0).any()):
            broken = "columns must be strictly ascending within each row"
        broken = broken or self.pattern.broken(self)
        if broken:
            raise SzilardError(f"this is not a support of a weight of shape {tuple(self.shape)}: {broken}")

    def _build_index(self) -> None:
        flat = self.flat()
        row, col = flat // max(self.cols, 1), flat % max(self.cols, 1)
        perm = (col * self.rows + row).argsort()
        counts = torch.bincount(col, minlength=self.cols)
        self.t_crow = torch.cat([counts.new_zeros(1), counts.cumsum(0)]).to(torch.int32)
        self.t_col = row[perm].to(torch.int32)
        self.t_perm = perm.to(torch.int32)
        self.existing_rows = int((self.crow.diff() > 0).sum())
        for name, tensor in self.pattern.index(self).items():
            self.register_buffer(name, tensor, persistent=False)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        stored = state_dict.get(f"{prefix}col")
        if isinstance(stored, Tensor) and stored.shape != self.col.shape:
            total, held = max(1, self.rows * self.cols), stored.numel()
            name = prefix.removesuffix(".").removesuffix(".support") or "support"
            raise SzilardError(
                f"the stored {name} has {held:,} of {total:,} entries ({held / total:.3g}), and that of this network "
                f"{self.nnz:,} ({self.nnz / total:.3g}); prepare it with the density, allocation and pattern of the "
                "stored one, and for a method that changes the number in training call method.match_supports first"
            )
        before = self.crow.clone(), self.col.clone()
        super()._load_from_state_dict(state_dict, prefix, *rest)
        try:
            self.check()
        except SzilardError:
            self.crow.copy_(before[0])
            self.col.copy_(before[1])
            raise
        self._build_index()


def flat_index(crow: Tensor, col: Tensor, cols: int) -> Tensor:
    """Indices into the flattened matrix, int64 ``[nnz]``, from CSR."""
    rows = torch.arange(crow.numel() - 1, device=crow.device)
    return torch.repeat_interleave(rows, crow.diff().long(), output_size=col.numel()) * cols + col


def to_dense(values: Tensor, crow: Tensor, col: Tensor, shape: Sequence[int]) -> Tensor:
    """Dense tensor of ``shape`` with ``values`` at the entries of the CSR pattern and zero elsewhere."""
    if values.numel() == math.prod(shape):
        return values.view(*shape)
    dense = values.new_zeros(math.prod(shape))
    dense[flat_index(crow, col, math.prod(shape[1:]))] = values
    return dense.view(*shape)


def _csr(flat: Tensor, rows: int, cols: int) -> tuple[Tensor, Tensor]:
    counts = torch.bincount(flat // max(cols, 1), minlength=rows)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)]).to(torch.int32), (flat % max(cols, 1)).to(
        torch.int32
    )
