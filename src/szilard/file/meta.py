"""The small JSON with metadata of the network."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from szilard.file import deflate
from szilard.file.error import Broken, SzilardFileError

LONGEST = 1 << 20  #: bytes of JSON
DEEPEST = 100  #: nesting of lists and objects
_DIGITS = 309  # of an integer in the range of float64


def pack(meta: Mapping[str, Any]) -> bytes:
    """The block of metadata; empty if there are none.

    Raises:
        SzilardFileError: it is not a JSON object, or too large for a file.
    """
    if not meta:
        return b""
    try:
        text = json.dumps(meta, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)
        if len(text.encode()) <= LONGEST:
            _loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise SzilardFileError(
            f"the metadata cannot be written as JSON ({error}); use only strings, numbers, lists and dicts"
        ) from error
    data = text.encode()
    if len(data) > LONGEST:
        raise SzilardFileError(
            f"the metadata are {len(data)} bytes of JSON, and at most {LONGEST} are allowed; store less in them"
        )
    return deflate.compress(data)


def unpack(block: bytes) -> dict[str, Any]:
    """Undo :func:`pack`.

    Raises:
        Broken: it is not a JSON object, or too large for a file.
    """
    if not block:
        return {}
    text = deflate.expand(block, LONGEST, "the metadata")
    try:
        found = _loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise Broken("the metadata are not JSON that the format allows") from error
    if not isinstance(found, dict):
        raise Broken("the metadata are not a JSON object")
    return found


def _loads(text: str) -> Any:
    """JSON, without constructs that readers interpret differently.

    Raises:
        ValueError: it is not.
        RecursionError: likewise.
    """
    found = json.loads(
        text, parse_constant=_refuse, parse_float=_float, parse_int=_int, object_pairs_hook=_object
    )
    level = [found]
    for _ in range(DEEPEST):
        level = [inner for one in level if isinstance(one, list | dict) for inner in _inside(one)]
    if level:
        raise ValueError(f"lists are nested more than {DEEPEST} deep")
    return found


def _inside(one: list[Any] | dict[str, Any]) -> list[Any]:
    """The values in a list or an object; raises for a name that is not valid text."""
    held = one if isinstance(one, list) else [*one, *one.values()]
    for text in held:
        if isinstance(text, str):
            text.encode()  # half a surrogate pair is a ValueError
    return [inner for inner in held if isinstance(inner, list | dict)]


def _float(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise ValueError(f"{text[:20]} is outside the range of float64")
    return found


def _int(text: str) -> int:
    if len(text.lstrip("-")) > _DIGITS or not math.isfinite(_float(text)):
        raise ValueError(f"{text[:20]}... is outside the range of float64")
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has an entry twice")
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)
