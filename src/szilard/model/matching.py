"""Find the tensors of a network in a file: compare names, and remove a prefix if the rest then matches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor

from szilard.file.error import SzilardFileError, printable
from szilard.file.state import contiguous, storage
from szilard.model.naming import WRAPPERS, Names, ends
from szilard.model.stored import Stored, joined, listed
from szilard.model.torch_file import Unread

COUNTER = "num_batches_tracked"
_MOST_GROUPS = 4  # named in a message


@dataclass(frozen=True, eq=False)
class Matched:
    """Tensors of a file under the names of a network.

    Attributes:
        state: a value for each name of the network's state dict, except batch counters that the file does not have.
        note: describes the group, prefix and left-out tensors; empty for a bare state dict.
        bytes: size of the tensors in the file, in their own types, with tied tensors once.
        kind: the floating-point type of most of these bytes.
    """

    state: dict[str, Any]
    note: str
    bytes: int
    kind: str


def match(
    stored: Stored,
    wanted: Mapping[str, Any],
    key: str | None = None,
    spare: Mapping[str, Tensor] | None = None,
) -> Matched:
    """Find all tensors of a network in a file.

    Args:
        wanted: the state dict of the network.
        key: the group, or a prefix in it, if several match.
        spare: non-persistent buffers of the network: a file can contain them, with the same values.

    Raises:
        SzilardFileError: tensors are missing, unknown to the network or of another shape, or several sets of tensors
            match.
    """
    return _Search(stored.only(key), wanted, spare or {}).run()


class _Search:
    def __init__(self, stored: Stored, wanted: Mapping[str, Any], spare: Mapping[str, Tensor]) -> None:
        self.stored = stored
        self.wanted = wanted
        self.spare = spare
        # Names of tied tensors have the same identity: a file that has any of these names has the tensor.
        self.identity: dict[str, Any] = {
            name: storage(value)
            for name, value in wanted.items()
            if isinstance(value, Tensor) and not name.endswith(COUNTER)
        }
        self.needed = len(set(self.identity.values()))

    def run(self) -> Matched:
        both = [Names.of(self.stored, self.wanted, clean) for clean in (False, True)]
        tries = [(names, self._complete(names)) for names in both if names is not None]
        if not tries:
            raise SzilardFileError(
                f"{self.stored.path} has two tensors with the same name in different groups; save "
                "network.state_dict() alone"
            )
        names, prefixes = max(
            tries, key=lambda one: len(one[1])
        )  # the first one if equal: names as in the file
        if prefixes:
            return self._chosen(names, prefixes)
        self._refuse_missing([names for names, _ in tries])

    def _complete(self, names: Names) -> list[str]:
        """Prefixes under which all tensors are found."""
        under = self._under(names)
        if not self.needed:
            return [""]
        return [prefix for prefix, found in under.items() if len(found) == self.needed]

    def _under(self, names: Names) -> dict[str, set[Any]]:
        under: dict[str, set[Any]] = defaultdict(set)
        for full in names.tensors:
            for at in ends(full):
                own = names.own.get(full[at:])
                if own is not None and own in self.identity:
                    under[full[:at]].add(self.identity[own])
        return under

    def _chosen(self, names: Names, prefixes: list[str]) -> Matched:
        right = [prefix for prefix in prefixes if not self._misshapen(names, prefix)]
        if not right:
            name, theirs, ours = self._misshapen(names, prefixes[0])[0]
            raise SzilardFileError(
                f"{self.stored.path} is of another network: in the file {printable(name)[:200]} has shape {theirs}, in "
                f"this network it has shape {ours}; give the network that the file was made with"
            )
        taken = [self._taken(names, prefix) for prefix in right]
        # Two names of the same module are not ambiguous. A model and its moving average are, even if they are equal.
        first = self._places(names, right[0], taken[0])
        for prefix, other in zip(right[1:], taken[1:], strict=True):
            if first != self._places(names, prefix, other):
                labels = ", ".join(repr(printable(prefix[:-1])[:80] or ".") for prefix in right[:6])
                raise SzilardFileError(
                    f"{self.stored.path} has several sets of weights that match ({labels}); choose one with --key (in "
                    "Python: key=)"
                )
        self._refuse_unexpected(names, right[0])
        return self._matched(names, right[0], taken[0])

    def _taken(self, names: Names, prefix: str) -> dict[str, Tensor]:
        return {
            own: names.tensors[prefix + clean][1]
            for clean, own in names.own.items()
            if prefix + clean in names.tensors
        }

    def _places(self, names: Names, prefix: str, taken: dict[str, Tensor]) -> dict[str, Any]:
        """Group and storage of each tensor under a prefix."""
        groups = {own: names.tensors[prefix + clean][0] for clean, own in names.own.items() if own in taken}
        return {name: (groups[name], storage(value)) for name, value in taken.items() if value.numel()}

    def _misshapen(self, names: Names, prefix: str) -> list[tuple[str, list[int], list[int]]]:
        return [
            (name, list(value.shape), list(self.wanted[name].shape))
            for name, value in self._taken(names, prefix).items()
            if value.shape != self.wanted[name].shape
        ]

    def _refuse_unexpected(self, names: Names, prefix: str) -> None:
        groups = {
            group
            for full, (group, _) in names.tensors.items()
            if full.startswith(prefix) and full[len(prefix) :] in names.own
        }
        extra = [
            full[len(prefix) :]
            for full, (group, _) in names.tensors.items()
            if group in groups and full.startswith(prefix) and full[len(prefix) :] not in names.own
        ]
        extra = [name for name in extra if not self._is_spare(names, name, names.tensors[prefix + name][1])]
        if extra:
            raise SzilardFileError(
                f"{self.stored.path} is of another network: it has {listed(extra)}, which this network does not "
                "have; give the network that the file was made with"
            )

    def _is_spare(self, names: Names, name: str, value: Tensor) -> bool:
        """Whether a tensor equals a non-persistent buffer of the network, within half precision."""
        own = {names.clean(one): buffer for one, buffer in self.spare.items()}.get(name)
        if own is None or own.shape != value.shape or own.is_complex() or value.is_complex():
            return False
        here, there = own.detach().cpu().double(), value.double()
        return torch.allclose(here, there, rtol=1e-2, atol=1e-6, equal_nan=True)

    def _refuse_missing(self, tries: list[Names]) -> NoReturn:
        best, names, count = "", tries[0], -1
        for one in tries:
            for prefix, found in self._under(one).items():
                if len(found) > count:
                    best, names, count = prefix, one, len(found)
        path = self.stored.path
        if count < 1:
            theirs = listed(list(tries[0].tensors)) or "no tensors"
            ours = listed(list(self.identity))
            raise SzilardFileError(
                f"{path} is of another network: it has {theirs}, and this network has {ours}; give the network that "
                "the file was made with"
            )
        own = set(self._taken(names, best))
        has = {self.identity[name] for name in own if name in self.identity}
        missing = [name for name, one in self.identity.items() if one not in has]
        self._refuse_special(names, best, missing)
        extra = [
            full[len(best) :]
            for full in names.tensors
            if full.startswith(best) and full[len(best) :] not in names.own
        ]
        sure = best or len(self.stored.groups) == 1  # otherwise they can be an optimiser's
        also = f" and has {listed(extra)}, which this network does not have" if extra and sure else ""
        raise SzilardFileError(
            f"{path} is of another network: it lacks {listed(missing)}{also}; give the network that the file was made "
            "with"
        )

    def _refuse_special(self, names: Names, prefix: str, missing: list[str]) -> None:
        """Raise for a missing tensor that the file has in a form that cannot be read."""
        for label, others in self.stored.others.items():
            for name, value in others.items():
                full = joined(label, name)
                own = names.own.get(full.removeprefix(prefix))
                if own in missing and isinstance(value, Unread):
                    raise SzilardFileError(
                        f"{self.stored.path} has {printable(name)[:80]!r} as a sparse, quantized or other special "
                        f"tensor ({printable(value.name)[:80]}); make it dense"
                    )

    def _matched(self, names: Names, prefix: str, taken: dict[str, Tensor]) -> Matched:
        state: dict[str, Any] = dict(taken)
        by_identity = {self.identity[name]: value for name, value in taken.items() if name in self.identity}
        for name, one in self.identity.items():
            if name not in state:
                state[name] = by_identity[one]  # tied to a tensor in the file
            elif not _same(state[name], by_identity[one]):
                twins = [other for other, two in self.identity.items() if two == one]
                raise SzilardFileError(
                    f"{self.stored.path} has different values for {listed(twins)}, which are one tensor in this "
                    "network; give the network that the file was made with"
                )
        for name, value in self.wanted.items():
            if not isinstance(value, Tensor):
                state[name] = self._extra(names, prefix, name)
        return Matched(state, self._note(names, prefix, taken), *size(taken.values()))

    def _extra(self, names: Names, prefix: str, name: str) -> Any:
        """The extra state of a module, which is not a tensor."""
        for label, others in self.stored.others.items():
            for other, value in others.items():
                full = joined(label, names.clean(other))
                if full.startswith(prefix) and names.own.get(full[len(prefix) :]) == name:
                    return value
        raise SzilardFileError(
            f"{self.stored.path} is of another network: it lacks {printable(name)[:200]}; give the network that the "
            "file was made with"
        )

    def _note(self, names: Names, prefix: str, taken: dict[str, Tensor]) -> str:
        used = {id(value) for value in taken.values()}
        groups = [
            label
            for label, tensors in self.stored.groups.items()
            if any(id(value) in used for value in tensors.values())
        ]
        parts = []
        if groups and groups != [""]:
            parts.append("of " + " and ".join(repr(printable(label)[:80]) for label in groups[:_MOST_GROUPS]))
        rest = prefix.removeprefix(f"{groups[0]}.") if len(groups) == 1 and groups[0] else prefix
        dropped = [f"{name}." for name in WRAPPERS if name in names.dropped]
        gone = ([rest] if rest and len(groups) <= 1 else []) + dropped
        if gone:
            parts.append("without " + " and ".join(f"the prefix {printable(name)[:80]!r}" for name in gone))
        left = [
            name
            for label in groups
            for name, value in self.stored.groups[label].items()
            if id(value) not in used and not name.endswith(COUNTER)
        ]
        if left:
            parts.append(f"leaving out {listed(left)}")
        return f"weights {', '.join(parts)}" if parts else ""


def _same(one: Tensor, other: Tensor) -> bool:
    if one is other or storage(one) == storage(other):
        return True
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    a, b = (contiguous(value).reshape(-1).view(torch.uint8) for value in (one, other))
    return torch.equal(a, b)


def size(tensors: Iterable[Any]) -> tuple[int, str]:
    """Bytes of tensors in their own types, with tied tensors once, and the most frequent floating-point type."""
    seen: set[Any] = set()
    total = 0
    kinds: dict[str, int] = defaultdict(int)
    for value in tensors:
        if not isinstance(value, Tensor) or storage(value) in seen:
            continue
        seen.add(storage(value))
        count = value.numel() * value.element_size()
        total += count
        if value.is_floating_point() or value.is_complex():
            kinds[str(value.dtype).removeprefix("torch.")] += count
    return total, max(kinds, key=lambda kind: kinds[kind], default="")
