"""The small JSON beside the tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from szilard.file import deflate
from szilard.file.error import Broken, SzilardFileError

LONGEST = 1 << 20  #: bytes of JSON


def pack(meta: Mapping[str, Any]) -> bytes:
    """The block of metadata; of none, no bytes.

    Raises:
        SzilardFileError: it is no JSON object, or too long.
    """
    if not meta:
        return b""
    try:
        text = json.dumps(
            meta, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
        ).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise SzilardFileError(
            f"the metadata cannot be written as JSON ({error}); keep to strings, numbers, lists and dicts"
        ) from error
    if len(text) > LONGEST:
        raise SzilardFileError(
            f"the metadata are {len(text)} bytes of JSON and may be {LONGEST}; keep less in them"
        )
    return deflate.compress(text)


def unpack(block: bytes) -> dict[str, Any]:
    """Undo :func:`pack`.

    Raises:
        Broken: it is no JSON object.
    """
    if not block:
        return {}
    text = deflate.expand(block, LONGEST, "the metadata")
    try:
        found = json.loads(text.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Broken("the metadata are no JSON") from error
    if not isinstance(found, dict):
        raise Broken("the metadata are no JSON object")
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)
