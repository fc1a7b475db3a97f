"""Names of tensors in a file and in a network, made comparable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from szilard.model.stored import Stored, joined

#: What DataParallel and AveragedModel, torch.compile, FSDP, activation checkpointing and Lightning put into names.
WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")


@dataclass(frozen=True, eq=False)
class Names:
    """Names of a file and of a network, made comparable.

    Attributes:
        tensors: group and tensor, by the name that has the group's before it.
        own: names of the network by what they are compared as.
        dropped: parts that were left out of the file's names.
    """

    tensors: dict[str, tuple[str, Tensor]]
    own: dict[str, str]
    dropped: frozenset[str]
    cleaned: bool

    @classmethod
    def of(cls, stored: Stored, wanted: Mapping[str, Any], clean: bool) -> Names | None:
        """None where names would become equal without the parts that wrappers put into them."""
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
    """Where a name may begin in a longer one."""
    yield 0
    at = full.find(".")
    while at >= 0:
        yield at + 1
        at = full.find(".", at + 1)
