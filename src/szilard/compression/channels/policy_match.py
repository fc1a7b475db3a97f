"""Which channels a policy keeps of each pool, or the first layer for which it does not fit the network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from szilard.compression.policies.policy import Policy
from szilard.errors import SzilardError, printable


def kept_by(
    policy: Policy,
    outputs: Mapping[str, int],
    of_layer: Mapping[str, tuple[str, ...]],
    fixed: Mapping[str, int],
    sizes: Mapping[str, int],
    whole: Mapping[str, str],
    optional: Collection[str] = (),
    ends: Mapping[str, str] | None = None,
) -> dict[str, int]:
    """How many units of each pool a policy keeps.

    Layers that read one pool decide it; those of several pools decide the one that the others leave open.

    Args:
        policy: for all layers of ``outputs``.
        outputs: number of output channels of each layer.
        of_layer: pools of each layer's outputs.
        fixed: number of output channels of each layer that stay.
        sizes: number of units of each pool.
        whole: why layers stay whole.
        optional: layers that can lose all of their channels.
        ends: the last layer of each branch of a residual sum, with the layer inside of the branch that decides whether
            it goes. If that has no channels, the last layer may have 0, too, or those that the sum has.

    Raises:
        SzilardError: the policy is for another network, or tied layers differ.
    """
    _check_names(policy, outputs)
    wanted = {layer.name: layer.channels for layer in policy.layers}
    without = _ended(wanted, ends or {})
    outputs = {name: count for name, count in outputs.items() if name not in without}
    of_layer = {name: pools for name, pools in of_layer.items() if name not in without}
    for name, count in outputs.items():
        least = 0 if name in optional and fixed[name] == 0 and of_layer[name] else 1
        if not least <= wanted[name] <= count:
            raise SzilardError(
                f"the policy says {wanted[name]} channels for {printable(name)}, which has {count}; choose {least} to "
                f"{count}"
            )
        if not of_layer[name] and wanted[name] != count:
            raise SzilardError(
                f"the policy says {wanted[name]} channels for {printable(name)}, but all {count} of its channels "
                f"have to stay: {whole.get(name, 'none can be removed')}"
            )
    kept: dict[str, int] = {}
    owner: dict[str, str] = {}  # the layer that decided a pool
    while True:
        before = len(kept)
        for name, pools in of_layer.items():
            held = Counter(pools)
            open_pools = [pool for pool in held if pool not in kept]
            if len(open_pools) != 1:
                continue
            pool = open_pools[0]
            left = wanted[name] - fixed[name] - sum(n * kept[one] for one, n in held.items() if one in kept)
            if left % held[pool] or not 0 <= left // held[pool] <= sizes[pool]:
                raise SzilardError(
                    _impossible(name, wanted[name], pool, held, fixed[name], sizes, kept, owner)
                )
            kept[pool], owner[pool] = left // held[pool], name
        if len(kept) == before:
            break
    for name, pools in of_layer.items():
        if all(pool in kept for pool in pools):
            total = fixed[name] + sum(kept[pool] for pool in pools)
            if total != wanted[name]:
                first = printable(next((owner[pool] for pool in pools), name))
                raise SzilardError(
                    f"the policy says {wanted[name]} channels for {printable(name)}, and {wanted[owner[pools[0]]]} for "
                    f"{first}, which is tied to it, so that it would have {total}; give tied layers the same channels"
                )
    missing = next((pool for pool in sizes if pool not in kept), None)
    if missing is not None:
        name = next(name for name, pools in of_layer.items() if missing in pools)
        raise SzilardError(
            f"the policy says {wanted[name]} channels for {printable(name)}, whose channels are of several kinds, and "
            "no other layer says how many of each; leave this layer whole or say how many units each pool keeps"
        )
    return kept


def _ended(wanted: Mapping[str, int], ends: Mapping[str, str]) -> set[str]:
    """The last layers of branches for which a policy says 0 channels, because their branch goes."""
    found = {name for name in ends if wanted[name] == 0}
    for name in found:
        inside = ends[name]
        if wanted[inside]:
            raise SzilardError(
                f"the policy says 0 channels for {printable(name)}, the end of a branch, and {wanted[inside]} for "
                f"{printable(inside)} inside of it; the branch goes if {printable(inside)} has 0 channels"
            )
    return found


def _check_names(policy: Policy, outputs: Mapping[str, int]) -> None:
    given = [layer.name for layer in policy.layers]
    for name, count in Counter(given).items():
        if count > 1:
            raise SzilardError(
                f"the policy says {count} times what is kept of {printable(name)}; say it once"
            )
        if name not in outputs:
            raise SzilardError(
                f"the policy has a layer {printable(name)}, which the network does not have; correct the "
                "name, or give a policy for this network"
            )
    missing = next((name for name in outputs if name not in set(given)), None)
    if missing is not None:
        raise SzilardError(
            f"the policy says nothing of layer {printable(missing)}, which the network has; it is incomplete, or a "
            "policy for another network"
        )


def _impossible(
    name: str,
    wanted: int,
    pool: str,
    held: Mapping[str, int],
    fixed: int,
    sizes: Mapping[str, int],
    kept: Mapping[str, int],
    owner: Mapping[str, str],
) -> str:
    least = fixed + sum(n * kept[one] for one, n in held.items() if one in kept)
    most = least + held[pool] * sizes[pool]
    step = f" in steps of {held[pool]}" if held[pool] > 1 else ""
    range_ = f"the policy says {wanted} channels for {printable(name)}, which can have {max(least, 1)} to {most}{step}"
    others = [owner[one] for one in held if one in kept]
    if others:
        return (
            f"{range_} because of those of {printable(others[0])}, to which it is tied; change one of the two"
        )
    return f"{range_}; choose one of these"
