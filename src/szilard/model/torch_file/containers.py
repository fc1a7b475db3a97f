"""Containers and small values that a pickle makes by calling functions, no larger than its bytes allow."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Any

import torch

from szilard.model.torch_file.refusals import Damaged, Objects
from szilard.model.torch_file.tensors import MOST_DIMENSIONS
from szilard.model.torch_file.unread import Unread

_MOST_DEPTH = 100  # of nested containers
_MOST_KEY = 16  # entries of a tuple that is a key of a dict
_SCALARS = (str, int, float, bool, bytes, complex, type(None))


class Containers:
    """Makes the containers of one pickle.

    Args:
        size: of the pickle in bytes: each entry and byte that functions create takes one of them, unless it is a copy.
    """

    def __init__(self, size: int) -> None:
        self._left = size

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise Damaged("copies of copies")

    def ordered_dict(self, items: Any = ()) -> OrderedDict[Any, Any]:
        """``collections.OrderedDict`` of pairs."""
        if type(items) not in (list, tuple) or not all(
            type(pair) in (list, tuple) and len(pair) == 2 for pair in items
        ):
            raise Objects("collections.OrderedDict of other items than pairs")
        self._spend(len(items))
        for key, _ in items:
            check_key(key)
        return OrderedDict(items)

    def counter(self, *items: Any) -> Counter[Any]:
        """``collections.Counter`` of at most one dict."""
        if len(items) > 1 or not all(type(item) is dict for item in items):
            raise Objects("collections.Counter")
        self._spend(sum(map(len, items)))
        return Counter(*items)

    def set_of(self, items: Any = ()) -> set[Any]:
        """``set`` of a list."""
        if type(items) not in (list, tuple):
            raise Objects("a set that is not made from a list")
        self._spend(len(items))
        for item in items:
            check_key(item)
        return set(items)

    def encode(self, text: Any, code: Any = "latin1") -> bytes:
        """``_codecs.encode``, which pickles of bytes call."""
        if type(text) is not str or code not in ("latin1", "latin-1", "utf-8", "utf8"):
            raise Objects("_codecs.encode")
        self._spend(len(text))
        return text.encode(code)


def size(shape: Any) -> tuple[int, ...]:
    """``torch.Size``."""
    if type(shape) not in (list, tuple) or len(shape) > MOST_DIMENSIONS:
        raise Damaged("an invalid shape")
    return torch.Size(shape)


def device(*names: Any) -> str:
    """The name of a ``torch.device``; tensors are read onto the CPU whatever it is."""
    if len(names) > 2 or not all(type(name) in (str, int) and len(str(name)) <= 32 for name in names[:2]):
        raise Damaged("an invalid device")
    return ":".join(str(name) for name in names)


def complex_number(*parts: Any) -> complex:
    """``complex`` of up to two finite numbers."""
    if len(parts) > 2 or not all(type(part) in (int, float) and abs(part) < 1e300 for part in parts):
        raise Damaged("an invalid complex number")
    return complex(*parts)


def check_key(key: Any) -> None:
    """Raise unless a key is a scalar or a short tuple of scalars: hashing nested tuples can take exponential time."""
    parts = key if type(key) in (tuple, torch.Size) and len(key) <= _MOST_KEY else (key,)
    if not all(
        isinstance(part, _SCALARS) or type(part) in (torch.dtype, torch.device, Unread) for part in parts
    ):
        raise Objects(f"a {type(key).__name__} as a key")


def check_tree(found: Any, size: int) -> None:
    """Raise for containers that are too deep, cyclic, or repeated so often that walking them takes too long."""
    left = 1000 + 4 * size  # an entry takes more than a byte of the pickle

    def walk(value: Any, depth: int) -> None:
        nonlocal left
        left -= 1
        if left < 0 or depth > _MOST_DEPTH:
            raise Damaged("containers that are nested or repeated too often")
        if isinstance(value, dict):
            for key, item in value.items():
                walk(key, depth + 1)
                walk(item, depth + 1)
        elif isinstance(value, list | tuple | set):
            for item in value:
                walk(item, depth + 1)

    walk(found, 0)
