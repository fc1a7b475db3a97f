"""Normalise names of tensors, so that names in a file and in a network can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from szilard.model.stored import Stored, joined

#: Parts that DataParallel and AveragedModel, torch.compile, FSDP, activation checkpointing and Lightning add to names.
WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")


@dataclass(frozen=True, eq=False)
class Names:
    """Normalised names of a file and of a network.

    Attributes:
        tensors: group and tensor, by the normalised name with the group as prefix.
        own: names of the network, by normalised name.
        dropped: parts that were removed from the file's names.
        cleaned: whether parts that wrappers add were removed.
    """

    tensors: dict[str, tuple[str, Tensor]]
    own: dict[str, str]
    dropped: frozenset[str]
    cleaned: bool

    @classmethod
    def of(cls, stored: Stored, wanted: Mapping[str, Any], clean: bool) -> Names | None:
        """None if different names would become equal without the parts that wrappers add."""
        tidy = without_wrappers if clean else str
        own = {tidy(name): name for name in wanted}
        tensors: dict[str, tuple[str, Tensor]] = {}
        dropped: set[str] = set()
        for label, found in stored.groups.items():
            for name, value in found.items():
                full = joined(label, tidy(name))
                if full in tensors:
                    return None
                tensors[full] = label, value
                if clean:
                    dropped.update(part for part in WRAPPERS if part in name.split("."))
        return None if len(own) != len(wanted) else cls(tensors, own, frozenset(dropped), clean)

    def clean(self, name: str) -> str:
        return without_wrappers(name) if self.cleaned else name


def without_wrappers(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS) or name


def ends(full: str) -> Iterator[int]:
    """Positions in a dotted name at which a shorter name can begin."""
    yield 0
    at = full.find(".")
    while at >= 0:
        yield at + 1
        at = full.find(".", at + 1)
