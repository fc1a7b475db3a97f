"""Lottery tickets of one depth for networks of another depth (Chen et al. 2021, arXiv:2103.16547)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from szilard.bayes.weight import Weight
from szilard.errors import SzilardError
from szilard.networks.blocks import Blocks, blocks_of

ORDERS = ("interleave", "append")
_PAIR = re.compile(r"(\d{1,4}):(\d{1,4}(?:,\d{1,4})*)")


@dataclass(frozen=True)
class Ticket:
    """A lottery ticket.

    Attributes:
        network: that it was found in; only names and shapes are read.
        values: by the names of the network's state dict: ``support.crow`` and ``support.col`` of each weight; its
            ``mean`` with the size of the flattened dense weight, as of :func:`szilard.topology.rewind.snapshot`; and
            all other tensors.
    """

    network: nn.Module
    values: Mapping[str, Tensor]


def block_map(source: int, target: int, order: str = "interleave") -> list[int]:
    """The block of a ticket that each block of a stage of the target copies.

    Block 0, which changes the size, is copied once. The others are repeated in a deeper target, and left out in a
    shallower one.

    Args:
        source: number of blocks of a stage of the ticket.
        target: number of blocks of a stage of the target.
        order: ``"interleave"`` repeats each block before the next one (1 1 2 2), and leaves out blocks at equal
            distances; ``"append"`` repeats all of them together (1 2 1 2), and leaves out the last ones. Or a map such
            as ``"0:0;1:1,2;2:3,4"``: the block of the ticket, and those of the target that copy it.

    Returns:
        ``[target]``.

    Raises:
        SzilardError: an unknown order, or a block of the target that copies none or several blocks.
    """
    if order not in ORDERS:
        return _given(order, source, target)
    if source == 1 and target > 1:
        raise SzilardError(
            f"a stage of the ticket has one block, which changes the size, so that blocks 1 to {target - 1} of the "
            "target would be empty; start from a deeper ticket"
        )
    if order == "append":
        return [0, *(1 + i % (source - 1) for i in range(target - 1))]
    return [0, *(1 + i * (source - 1) // (target - 1) for i in range(target - 1))]


def _given(order: str, source: int, target: int) -> list[int]:
    found: dict[int, int] = {}
    for part in order.split(";"):
        pair = _PAIR.fullmatch(part.strip())
        if pair is None:
            raise SzilardError(
                f"unknown order {order[:80]!r}: choose {' or '.join(ORDERS)}, or a map such as '0:0;1:1,2'"
            )
        for block in map(int, pair[2].split(",")):
            if int(pair[1]) >= source or block >= target or block in found:
                raise SzilardError(
                    f"{part.strip()!r} in the map of blocks names a block twice, or one of more than {source} blocks "
                    f"of the ticket and {target} of the target; count from 0"
                )
            found[block] = int(pair[1])
    empty = [str(block) for block in range(target) if block not in found]
    if empty:
        raise SzilardError(
            f"the map of blocks leaves block {', '.join(empty)} of the target empty; name a block of the ticket for it"
        )
    return [found[block] for block in range(target)]


def elastic(ticket: Ticket, target: nn.Module, order: str = "interleave") -> dict[str, Tensor]:
    """The values of a ticket for a deeper or shallower network: its entries, and all tensors of the rewind step.

    Args:
        ticket: of a network of the same family and widths.
        target: an ordinary or a prepared network.
        order: see :func:`block_map`.

    Returns:
        values for each name of the target, as in :class:`Ticket`.

    Raises:
        SzilardError: networks of two families or of other widths, or a block that would be empty.
    """
    theirs, ours = blocks_of(ticket.network), blocks_of(target)
    if theirs.family != ours.family:
        raise SzilardError(
            f"a ticket of {theirs.family} does not fit {ours.family}; name a network of the ticket's family"
        )
    sizes = _sizes(ticket.network), _sizes(target)
    found: dict[str, Tensor] = {}
    for source, place in _pairs(theirs, ours, order):
        names = {name[len(place) :] for name in sizes[1] if name.startswith(f"{place}.")}
        for leaf in sorted(names | {n[len(source) :] for n in sizes[0] if n.startswith(f"{source}.")}):
            had, wanted = (
                held.get(f"{name}{leaf}") for held, name in zip(sizes, (source, place), strict=True)
            )
            if had != wanted:
                raise SzilardError(
                    f"{place}{leaf} of the target has shape {_shown(wanted)}, and {source}{leaf} of the ticket "
                    f"{_shown(had)}; name a network of the ticket's widths, inputs and outputs"
                )
        found |= {
            place + name[len(source) :]: value
            for name, value in ticket.values.items()
            if name.startswith(f"{source}.")
        }
    return found


def _pairs(theirs: Blocks, ours: Blocks, order: str) -> list[tuple[str, str]]:
    """Names of modules of the ticket and of those of the target that copy them."""
    pairs = list(zip(theirs.outside, ours.outside, strict=True))
    for source, place in zip(theirs.stages, ours.stages, strict=True):
        copied = block_map(len(source), len(place), order)
        pairs += [(source[block], name) for block, name in zip(copied, place, strict=True)]
    return pairs


def _sizes(network: nn.Module) -> dict[str, torch.Size]:
    """Shapes of parameters by name; that of a weight on a support is dense."""
    found: dict[str, torch.Size] = {}
    for name, module in network.named_modules():
        if isinstance(module, Weight):
            found[name] = module.support.shape
        else:
            own = module.named_parameters(recurse=False)
            found |= {f"{name}.{leaf}" if name else leaf: parameter.shape for leaf, parameter in own}
    return found


def _shown(shape: torch.Size | None) -> str:
    return "none" if shape is None else str(list(shape))
