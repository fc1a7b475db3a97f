"""Disjoint sets of channels that belong together, and why some of them must stay."""

from __future__ import annotations

from collections.abc import Iterable


class Ties:
    """Sets of channels, which only grow.

    A new channel is a set of its own. Tied channels are one set: one of them cannot leave the network without the
    others. A fixed set stays in the network, for the reason that was given first.
    """

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._reason: dict[int, str] = {}

    def new(self, count: int) -> list[int]:
        """Numbers of new channels."""
        first = len(self._parent)
        self._parent += range(first, first + count)
        return list(range(first, first + count))

    def find(self, channel: int) -> int:
        """The number that stands for the set of a channel."""
        while self._parent[channel] != channel:
            self._parent[channel] = self._parent[self._parent[channel]]
            channel = self._parent[channel]
        return channel

    def tie(self, one: int, other: int) -> None:
        """Join the sets of two channels."""
        one, other = sorted((self.find(one), self.find(other)))
        if one == other:
            return
        self._parent[other] = one
        reason = self._reason.pop(other, None)
        if reason is not None:
            self._reason.setdefault(one, reason)

    def fix(self, channels: Iterable[int], reason: str) -> None:
        """Keep sets in the network, for a reason that is half a sentence."""
        for channel in channels:
            self._reason.setdefault(self.find(channel), reason)

    def reason(self, channel: int) -> str | None:
        """Why the set of a channel is fixed; None: it is not."""
        return self._reason.get(self.find(channel))
