"""Blocks of docs/moments.md."""

from __future__ import annotations

import json
from typing import Any

import moments_accuracy
from pages import results
from pages.results import lines, markdown


def section() -> dict[str, Any]:
    """The results of moments_accuracy.py."""
    found: dict[str, Any] = json.loads("\n".join(lines("moments_accuracy.json")))
    return found


def rules() -> str:
    """Errors of the rules."""
    return markdown(moments_accuracy.RULE_COLUMNS, list(moments_accuracy.rule_body(section()["found"])))


def forms() -> str:
    """Rounding errors of two forms of the variance."""
    found = section()["found"]["conditioning"]
    return markdown(moments_accuracy.FORM_COLUMNS, list(moments_accuracy.worst_body(found, ".1e", False)))


def pools() -> str:
    """Max-pooling before and after ReLU."""
    found = section()["found"]["pools"]
    return markdown(moments_accuracy.POOL_COLUMNS, list(moments_accuracy.worst_body(found, ".2f", True)))


def networks() -> str:
    """Networks in one pass and by draws."""
    return markdown(moments_accuracy.COLUMNS, list(moments_accuracy.body(section()["found"])))


def figures() -> str:
    """The keys of the last line."""
    return results.figures(section()["figures"])


BLOCKS = {
    "moments-rules": rules,
    "moments-forms": forms,
    "moments-pools": pools,
    "moments-networks": networks,
    "moments-figures": figures,
}
