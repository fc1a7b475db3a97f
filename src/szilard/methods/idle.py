"""Options that a method accepts, because all methods do, and that change nothing in it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from szilard.errors import SzilardWarning


def warn(method: str, given: Mapping[str, Any], usual: Mapping[str, Any], why: str) -> None:
    """Warn of options that are not at their usual values though they change nothing.

    It is no error, because networks that were trained so must still open.

    Args:
        method: what to call it.
        given: options by name, as far as somebody gave them.
        usual: their values where nobody did; options that are not in it are not looked at.
        why: they change nothing, as part of a sentence.
    """
    names = [name for name, value in usual.items() if name in given and given[name] != value]
    if names:
        change, them = ("change", "them") if len(names) > 1 else ("changes", "it")
        warnings.warn(
            f"{' and '.join(names)} {change} nothing in {method}, {why}; leave {them} out",
            SzilardWarning,
            stacklevel=4,
        )
