"""Warnings about options that a method accepts, because all methods do, but does not use."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from szilard.errors import SzilardWarning


def warn(method: str, given: Mapping[str, Any], usual: Mapping[str, Any], why: str) -> None:
    """Warn about unused options that are not at their default values.

    It is not an error, because networks that were trained with these options must still open.

    Args:
        method: name of the method in the message.
        given: the options that the user has set.
        usual: default values of the unused options; other options are not checks.
        why: reason why they change nothing, as part of a sentence.
    """
    names = [name for name, value in usual.items() if name in given and given[name] != value]
    if names:
        change, them = ("change", "them") if len(names) > 1 else ("changes", "it")
        warnings.warn(
            f"{' and '.join(names)} {change} nothing in {method}, {why}; leave {them} out",
            SzilardWarning,
            stacklevel=4,
        )
