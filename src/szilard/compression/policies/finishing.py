"""The chosen network, ready for its runtime or its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from szilard.compression.channels.cutting import cut
from szilard.compression.channels.removal import agree
from szilard.compression.channels.units import ChannelUnits
from szilard.compression.compressed import Compressed
from szilard.compression.network_to_file import compress
from szilard.compression.policies import norm_statistics
from szilard.compression.policies.divergence import kl, likelihood_of, outputs_of
from szilard.compression.policies.integers import measuring, without_integers
from szilard.errors import SzilardError, printable
from szilard.likelihood import Likelihood
from szilard.networks import copied
from szilard.networks.evaluating import evaluating

Kept = Mapping[str, Sequence[int]]


def finish(
    small: nn.Module,
    original: nn.Module,
    units: ChannelUnits,
    kept: Kept,
    inputs: Tensor,
    *,
    likelihood: Likelihood | None = None,
) -> nn.Module:
    """The network for a runtime: plain layers with float weights, which the runtime's quantiser rounds.

    BatchNorms get statistics from all calibration inputs, relative to the original's
    (:mod:`szilard.compression.policies.norm_statistics`), if that lowers KL(original ‖ network) on them: those of a
    long training can be better.

    Args:
        small: of :func:`szilard.compression.policies.applied.apply`, trained or not; it is not changed.
        original: the network that it was made of.
        units: of the original.
        kept: positions of the units that stayed (:func:`szilard.compression.policies.applied.positions_kept`).
        inputs: calibration inputs ``[N, ...]``.
        likelihood: of the outputs; None: seen from the original's.
    """
    with evaluating(original):
        wanted = outputs_of(original, inputs)
    known = likelihood or likelihood_of(wanted)
    before, after = copied(small).eval(), copied(small).eval()
    rows = norm_statistics.rows_of(units, kept)
    with measuring(after):
        norm_statistics.follow(after, norm_statistics.seen(original, inputs), rows, inputs)
    better = kl(wanted, after, inputs, known) < kl(wanted, before, inputs, known)
    return without_integers(after if better else before)


@torch.no_grad()
def put_back(small: nn.Module, original: nn.Module, units: ChannelUnits, kept: Kept) -> nn.Module:
    """The small network's weights in the shapes of the original, with zeros for the channels that are gone.

    Args:
        small, original, units, kept: as of :func:`finish`.

    Returns:
        a network of the original's class, in eval mode, with the outputs of the small one without integers.

    Raises:
        SzilardError: the small network is not of these units, or has other outputs.
    """
    plain = without_integers(small).eval()
    made = units.masked(original, kept)
    gone = norm_statistics.gone_of(units, kept)
    theirs = dict(plain.named_modules())
    for name, module in made.named_modules():
        own, trained = _tensors(module), _tensors(theirs[name]) if name in theirs else {}
        where = _places(module, units, name, gone) if name in units.cuts else {}
        for leaf, tensor in trained.items():
            places, target = where.get(leaf), own[leaf]
            if tensor.shape != (target if places is None else places).shape:
                raise SzilardError(
                    f"{printable(name)}.{leaf} has shape {list(tensor.shape)} in the small network, which is not what "
                    "these units keep; give the units and positions that it was made with"
                )
            if places is None:
                target.copy_(tensor)
            else:
                target.view(-1)[places.flatten()] = tensor.flatten()
    if not agree(plain, made, units._inputs):
        raise SzilardError(
            "the small network in the shapes of the original has other outputs; give the network that the units are of"
        )
    return made


def to_file(
    small: nn.Module, original: nn.Module, units: ChannelUnits, kept: Kept, calibration: Any, **options: Any
) -> Compressed:
    """The small network as a ``.szd`` file that opens into the original's class.

    Channels that are gone are zeros, which cost nearly nothing, and :func:`szilard.compression.shrink` removes them
    from the opened network. The integers are those of :func:`szilard.compression.compress`: they minimise F = loss +
    λ · bits for the curvature of the weights. At equal KL that takes about 0.7 of the bytes of one number of bits for
    each layer (digits, KL of 0.001 nats), so the bits of a policy guide the search, and the file has its own.

    Args:
        small, original, units, kept: as of :func:`finish`, after it.
        calibration: as of :func:`szilard.compression.compress`.
        options: of :func:`szilard.compression.compress`: ``max_bytes``, or ``lam``, ``max_drop``.
    """
    return compress(put_back(small, original, units, kept), calibration, **options)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {
        name: tensor.detach()
        for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    }


def _places(module: nn.Module, units: ChannelUnits, name: str, gone: set[int]) -> dict[str, Tensor]:
    """By name of a tensor of a module, the places in it (flattened) of what stays, in the shape of what stays."""
    numbered = copied(module).double()
    for tensor in _tensors(numbered).values():
        tensor.copy_(torch.arange(tensor.numel(), dtype=torch.float64).view(tensor.shape))
    one = units.cuts[name]
    stays = [
        None if part is None else torch.tensor([unit not in gone for unit in part])
        for part in (one.inputs, one.outputs)
    ]
    cut(numbered, *stays)
    return {leaf: tensor.long() for leaf, tensor in _tensors(numbered).items()}
