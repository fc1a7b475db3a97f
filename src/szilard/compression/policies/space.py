"""The policies that a search chooses from: a few decisions, each with a few options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from szilard.compression.policies.policy import FLOAT, LayerPolicy, Policy

Choice = tuple[int, ...]
"""For each decision of a space the number of the chosen option; all zeros is the original network."""


@dataclass(frozen=True)
class Decision:
    """One thing that a policy decides.

    Attributes:
        name: of the pool of channels, or of the layer whose bits are chosen.
        kind: "channels": how many channels of a pool stay; "bits": the bits of a layer.
        layers: the layers that it changes.
        options: what can be chosen. The first leaves the network as it is, and the others follow in the order of
            falling cost. Numbers of channels, or pairs ``(weight_bits, activation_bits)``.
    """

    name: str
    kind: Literal["channels", "bits"]
    layers: tuple[str, ...]
    options: tuple[int, ...] | tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Space:
    """All decisions, and how they make a policy.

    Attributes:
        decisions: in the order of the network's layers.
        pools: for each layer, the pools that its output channels belong to; a layer has as many channels as its pools
            keep together, and ``fixed`` ones more.
        fixed: for each layer, the number of its output channels that always stay.
    """

    decisions: tuple[Decision, ...]
    pools: Mapping[str, tuple[str, ...]]
    fixed: Mapping[str, int] = field(default_factory=dict)

    @property
    def original(self) -> Choice:
        """The choice that leaves the network as it is."""
        return (0,) * len(self.decisions)

    @property
    def smallest(self) -> Choice:
        """The last option of every decision."""
        return tuple(len(decision.options) - 1 for decision in self.decisions)

    def kept(self, choice: Choice) -> dict[str, int]:
        """How many channels of each pool stay."""
        return {
            decision.name: decision.options[option]  # type: ignore[misc]
            for decision, option in zip(self.decisions, choice, strict=True)
            if decision.kind == "channels"
        }

    def policy(self, choice: Choice) -> Policy:
        """The policy of a choice."""
        kept = self.kept(choice)
        bits: dict[str, tuple[int, int]] = {}
        for decision, option in zip(self.decisions, choice, strict=True):
            if decision.kind == "bits":
                bits |= dict.fromkeys(decision.layers, decision.options[option])  # type: ignore[arg-type]
        return Policy(
            tuple(
                LayerPolicy(
                    name,
                    self.fixed.get(name, 0) + sum(kept[pool] for pool in pools),
                    *bits.get(name, (FLOAT, FLOAT)),
                )
                for name, pools in self.pools.items()
            )
        )
