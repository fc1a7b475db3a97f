"""The tables of docs/moments.md."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import moments_accuracy as benchmark
from pages.results import figures, lines, markdown


def _found() -> dict[str, Any]:
    found: dict[str, Any] = json.loads("\n".join(lines("moments_accuracy.json")))
    return found


def rules() -> str:
    return markdown(benchmark.RULE_COLUMNS, list(benchmark.rule_body(_found()["found"])))


def forms() -> str:
    runs = _found()["found"]["conditioning"]
    return markdown(benchmark.FORM_COLUMNS, list(benchmark.worst_body(runs, ".1e", mean=False)))


def pools() -> str:
    return markdown(
        benchmark.POOL_COLUMNS, list(benchmark.worst_body(_found()["found"]["pools"], ".2f", mean=True))
    )


def networks() -> str:
    return markdown(benchmark.COLUMNS, list(benchmark.body(_found()["found"])))


TABLES: dict[str, Callable[[], str]] = {
    "moments-rules": rules, "moments-forms": forms, "moments-pools": pools, "moments-networks": networks,
    "moments-figures": lambda: figures(_found()["figures"]),
}  # fmt: skip
