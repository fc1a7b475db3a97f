"""Remove parametrisations from a network without changing its outputs, and report it."""

from __future__ import annotations

import warnings

from torch import nn

from szilard.compression.probe import Probe
from szilard.errors import SzilardWarning, printable
from szilard.networks import computed, copied, make_plain


def without_parametrisations(network: nn.Module, probe: Probe | None) -> tuple[nn.Module, list[str]]:
    """A copy in which computed weights are ordinary ones, if there are any, and their names.

    Weights for which the outputs would differ from those of ``probe`` stay computed, and a warning names them.

    Args:
        network: in eval mode.
        probe: of this network; None if no input is known, and nothing is compared.
    """
    names = computed(network)
    if not names:
        return network, []
    whole = _without(network, set(names), probe)
    if whole is not None:
        return whole, names
    done = []
    for name in names:
        found = _without(network, {name}, probe)
        if found is None:
            _warn(
                f"{printable(name)} stays computed from other tensors, because the network's outputs would change "
                "otherwise; it is not compressed"
            )
        else:
            network = found
            done.append(name)
    return network, done


def plain_note(names: list[str]) -> str:
    """The note for the user about weights that were computed and are now ordinary."""
    shown = ", ".join(printable(name) for name in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (
        f"{shown}{more}: computed from other tensors, as by weight_norm, spectral_norm or prune, and now ordinary "
        "weights; remove the parametrisation from your network, too, before you load this state dict into it"
    )


def _without(network: nn.Module, names: set[str], probe: Probe | None) -> nn.Module | None:
    tried = copied(network)
    try:
        make_plain(tried, names)
    except Exception:  # a user's parametrisation may refuse
        return None
    return tried if probe is None or probe.agrees(tried) else None


def _warn(text: str) -> None:
    warnings.warn(text, SzilardWarning, stacklevel=3)
