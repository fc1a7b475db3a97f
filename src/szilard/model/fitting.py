"""Which tensors of a file are a network's: names are compared, and a prefix is left out only where they then fit."""

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
_MOST_GROUPS = 4  # named in a sentence


@dataclass(frozen=True, eq=False)
class Fitted:
    """Tensors under the names that a network has.

    Attributes:
        state: a value for each name of the network's state dict but batch counters, which a file need not have.
        told: what was done to find them, in words; empty for a bare state dict.
        bytes: of the tensors in the file, in their own types, tied ones once.
        kind: the floating-point type that most of these bytes have.
    """

    state: dict[str, Any]
    told: str
    bytes: int
    kind: str


def fit(
    stored: Stored,
    wanted: Mapping[str, Any],
    key: str | None = None,
    spare: Mapping[str, Tensor] | None = None,
) -> Fitted:
    """Find the tensors that a network wants, all of them.

    Args:
        wanted: the state dict of the network.
        key: the group, or a prefix in it, if several fit.
        spare: buffers that the network has and does not store: a file may hold them, with the same values.

    Raises:
        SzilardFileError: some are missing, there are others of which the network knows nothing, they have other shapes,
            or several sets of tensors fit.
    """
    return _Search(stored.only(key), wanted, spare or {}).run()


class _Search:
    def __init__(self, stored: Stored, wanted: Mapping[str, Any], spare: Mapping[str, Tensor]) -> None:
        self.stored = stored
        self.wanted = wanted
        self.spare = spare
        # Names of one tensor are one of these: a file that holds any of them holds the tensor.
        self.identity: dict[str, Any] = {
            name: storage(value)
            for name, value in wanted.items()
            if isinstance(value, Tensor) and not name.endswith(COUNTER)
        }
        self.needed = len(set(self.identity.values()))

    def run(self) -> Fitted:
        both = [Names.of(self.stored, self.wanted, clean) for clean in (False, True)]
        tries = [(names, self._complete(names)) for names in both if names is not None]
        if not tries:
            raise SzilardFileError(
                f"{self.stored.path} holds two tensors of one name in different groups; save network.state_dict() by "
                "itself"
            )
        names, prefixes = max(tries, key=lambda one: len(one[1]))  # as they are, if that does
        if prefixes:
            return self._chosen(names, prefixes)
        self._refuse_missing([names for names, _ in tries])

    def _complete(self, names: Names) -> list[str]:
        """Prefixes under which every tensor is found."""
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

    def _chosen(self, names: Names, prefixes: list[str]) -> Fitted:
        right = [prefix for prefix in prefixes if not self._misshapen(names, prefix)]
        if not right:
            name, theirs, ours = self._misshapen(names, prefixes[0])[0]
            raise SzilardFileError(
                f"{self.stored.path} is of another network: in the file {printable(name)[:200]} has shape {theirs}, in "
                f"this network it has shape {ours}; name the network it was made with"
            )
        taken = [self._taken(names, prefix) for prefix in right]
        # Two names of one module are no choice; a model and its moving average are, though they may not differ yet.
        first = self._places(names, right[0], taken[0])
        for prefix, other in zip(right[1:], taken[1:], strict=True):
            if first != self._places(names, prefix, other):
                labels = ", ".join(repr(printable(prefix[:-1])[:80] or ".") for prefix in right[:6])
                raise SzilardFileError(
                    f"{self.stored.path} holds several sets of weights that fit ({labels}); choose one with --key (in "
                    "Python: key=)"
                )
        self._refuse_unexpected(names, right[0])
        return self._fitted(names, right[0], taken[0])

    def _taken(self, names: Names, prefix: str) -> dict[str, Tensor]:
        return {
            own: names.tensors[prefix + clean][1]
            for clean, own in names.own.items()
            if prefix + clean in names.tensors
        }

    def _places(self, names: Names, prefix: str, taken: dict[str, Tensor]) -> dict[str, Any]:
        """Where the tensors under a prefix lie: in which group and in which memory."""
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
                f"{self.stored.path} is of another network: it holds {listed(extra)}, which this network does not "
                "have; name the network it was made with"
            )

    def _is_spare(self, names: Names, name: str, value: Tensor) -> bool:
        """Whether a tensor is a buffer that the network makes itself, to the precision of half precision."""
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
                f"{path} is of another network: it holds {theirs}, and this network has {ours}; name the network it "
                "was made with"
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
        sure = best or len(self.stored.groups) == 1  # else they may be an optimiser's
        also = f" and holds {listed(extra)}, which this network does not have" if extra and sure else ""
        raise SzilardFileError(
            f"{path} is of another network: it lacks {listed(missing)}{also}; name the network it was made with"
        )

    def _refuse_special(self, names: Names, prefix: str, missing: list[str]) -> None:
        """A tensor that is there, but in a form that cannot be read."""
        for label, others in self.stored.others.items():
            for name, value in others.items():
                full = joined(label, name)
                own = names.own.get(full.removeprefix(prefix))
                if own in missing and isinstance(value, Unread):
                    raise SzilardFileError(
                        f"{self.stored.path} holds {printable(name)[:80]!r} as a sparse, quantized or other special "
                        f"tensor ({printable(value.name)[:80]}); make it dense"
                    )

    def _fitted(self, names: Names, prefix: str, taken: dict[str, Tensor]) -> Fitted:
        state: dict[str, Any] = dict(taken)
        by_identity = {self.identity[name]: value for name, value in taken.items() if name in self.identity}
        for name, one in self.identity.items():
            if name not in state:
                state[name] = by_identity[one]  # tied to one that the file holds
            elif not _same(state[name], by_identity[one]):
                twins = [other for other, two in self.identity.items() if two == one]
                raise SzilardFileError(
                    f"{self.stored.path} holds different values of {listed(twins)}, which are one tensor in this "
                    "network; name the network it was made with"
                )
        for name, value in self.wanted.items():
            if not isinstance(value, Tensor):
                state[name] = self._extra(names, prefix, name)
        return Fitted(state, self._told(names, prefix, taken), *size(taken.values()))

    def _extra(self, names: Names, prefix: str, name: str) -> Any:
        """What a module keeps in a state dict besides tensors."""
        for label, others in self.stored.others.items():
            for other, value in others.items():
                full = joined(label, names.clean(other))
                if full.startswith(prefix) and names.own.get(full[len(prefix) :]) == name:
                    return value
        raise SzilardFileError(
            f"{self.stored.path} is of another network: it lacks {printable(name)[:200]}; name the network it was "
            "made with"
        )

    def _told(self, names: Names, prefix: str, taken: dict[str, Tensor]) -> str:
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
    """Bytes of tensors in their own types, tied ones once, and the floating-point type that most of them have."""
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
