"""A prior of one weight from another posterior: a mean and a standard deviation for each entry."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from szilard.bayes.divergence import gaussian_kl
from szilard.errors import SzilardError


class SourcePrior(nn.Module):
    """N(m_i, s_i²) for each entry that a source knows; N(0, scale² / fan_in) for every other one.

    It holds dense tensors and reads them at the entries of a support, so that it survives moves and resizes. With m = 0
    and s = scale / sqrt(fan_in), or with nothing known, value and gradients are those of
    :class:`~szilard.bayes.FanInPrior`, bit for bit. Its tensors are buffers that no state dict holds.

    Args:
        mean: m, of the weight's shape.
        log_std: ln s, of the same shape.
        known: bool, of the same shape: the entries that the source has; by default all.
        scale: of the prior of the other entries, as that of :class:`~szilard.bayes.FanInPrior`.

    Raises:
        SzilardError: shapes that differ, or a known value that is not finite.
    """

    mean: Tensor
    log_std: Tensor
    known: Tensor

    def __init__(
        self, mean: Tensor, log_std: Tensor, known: Tensor | None = None, scale: float = 1.0
    ) -> None:
        super().__init__()
        if not scale > 0:
            raise SzilardError(f"a prior's scale must be positive, not {scale:g}")
        self.scale = scale
        for name, tensor in zip(("mean", "log_std", "known"), _checked(mean, log_std, known), strict=True):
            self.register_buffer(name, tensor.clone(), persistent=False)
        self._count()

    @classmethod
    def of_nothing(cls, like: Tensor, scale: float = 1.0) -> SourcePrior:
        """The prior of a weight that the source does not have: fan-in for every entry.

        Args:
            like: a tensor of the weight's shape, type and device.
            scale: as that of :class:`~szilard.bayes.FanInPrior`.
        """
        zeros = torch.zeros_like(like)
        return cls(zeros, zeros, torch.zeros_like(like, dtype=torch.bool), scale)

    @torch.no_grad()
    def set(self, mean: Tensor, log_std: Tensor, known: Tensor | None = None) -> None:
        """Take other values of the same shape, in place.

        Raises:
            SzilardError: as for a new one; or another shape than before.
        """
        given = _checked(mean, log_std, known)
        if mean.shape != self.mean.shape:
            raise SzilardError(
                f"this prior is of a weight of shape {list(self.mean.shape)}, and the values have shape "
                f"{list(mean.shape)}; make a new SourcePrior"
            )
        for buffer, tensor in zip((self.mean, self.log_std, self.known), given, strict=True):
            buffer.copy_(tensor)
        self._count()

    def _count(self) -> None:
        self._all, self._none = bool(self.known.all()), not bool(self.known.any())
        self.pulls = bool(self.mean.any())  #: Whether its mean differs from zero anywhere.

    def kl(self, mean: Tensor, log_std: Tensor, fan_in: float, flat: Tensor | None = None) -> Tensor:
        """``Σ KL(N(μ_i, σ_i²) ‖ N(m_i, s_i²))`` in nats, scalar.

        With t = scale / sqrt(fan_in) it is the divergence of N((μ - m) t/s, (σ t/s)²) from N(0, t²).

        Args:
            mean, log_std: μ and ln σ of the existing entries, ``[nnz]``.
            fan_in: mean number of existing entries that an output depends on.
            flat: their ascending indices in the flattened weight, int64; by default all entries exist.
        """
        scale = self.scale / math.sqrt(max(fan_in, 1.0))
        if self._none:
            return gaussian_kl(mean, log_std, scale)
        centre, log_ratio, known = self._at(flat)
        log_ratio = log_ratio - math.log(scale)
        if not self._all:
            log_ratio = torch.where(known, log_ratio, 0.0)
        return gaussian_kl((mean - centre) * (-log_ratio).exp(), log_std - log_ratio, scale)

    def start(self, flat: Tensor, log_std: Tensor | float) -> tuple[Tensor, Tensor]:
        """μ and ln σ with which entries begin: the source's, or 0 and the given ln σ where it has none.

        Args:
            flat: indices in the flattened weight, int64 ``[n]``.
            log_std: ln σ of entries that the source does not have, a number or ``[n]``.
        """
        mean, log_std_, known = self._at(flat)
        return mean, torch.where(known, log_std_, log_std)

    def pull(self) -> Tensor:
        """The gradient of the divergence in μ at μ = 0, where an entry that does not exist is: -m / s².

        Returns:
            of the weight's shape; zero where the source has no entry.
        """
        return -self.mean * (-2 * self.log_std).exp()

    def _at(self, flat: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        held = self.mean.view(-1), self.log_std.view(-1), self.known.view(-1)
        return held if flat is None else (held[0][flat], held[1][flat], held[2][flat])

    def extra_repr(self) -> str:
        known = int(self.known.sum())
        return f"shape={tuple(self.mean.shape)}, known={known} of {self.mean.numel()}, scale={self.scale:g}"


def _checked(mean: Tensor, log_std: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Contiguous tensors, with zeros where nothing is known."""
    known = torch.ones_like(mean, dtype=torch.bool) if known is None else known.to(mean.device, torch.bool)
    if not mean.shape == log_std.shape == known.shape:
        raise SzilardError(
            f"mean, log_std and known of a prior need one shape, not {list(mean.shape)}, {list(log_std.shape)} and "
            f"{list(known.shape)}; give dense tensors of the weight's shape"
        )
    mean = torch.where(known, mean.detach(), 0.0).contiguous()
    log_std = torch.where(known, log_std.detach().to(mean), 0.0).contiguous()
    if not bool(torch.isfinite(mean).all() and torch.isfinite(log_std).all()):
        raise SzilardError(
            "a mean or ln σ of a prior is NaN or infinite; give finite values, and mark the others as "
            "not known"
        )
    return mean, log_std, known.contiguous()
