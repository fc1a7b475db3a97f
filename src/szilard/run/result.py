"""The schema of ``result.json``, for all code that reads it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from szilard.errors import printable
from szilard.run import chains_result

_LETTERS = 300  # characters of a name or a sentence on a page or in a table
_MOST_CLASSES = 100_000
_TEXTS = ("method", "name", "network", "data", "ood", "task", "diverged")
_COUNTS = ("samples", "epochs", "steps", "n_train", "n_test")
_OF_TARGETS = ("rmse", "nll", "coverage95", "aleatoric", "epistemic")
_SHARES = ("precision", "recall")
_CONDITIONS = ("batch", "threads")  # of a measured cost
_OF_PRIOR = ("source", "chosen", "without", "fine_tuning")
_TABLES = ("test", "valid", "density")


def check(content: Any) -> tuple[dict[str, Any], list[str]]:
    """The valid fields of a result, and the names of the invalid ones.

    * ``method``, ``name``, ``network``, ``data``, ``ood``, ``task``, ``diverged``: printable text, or absent;
    * ``seed``, ``samples``, ``epochs``, ``steps``, ``n_train``: whole numbers; all but the seed not negative;
    * ``classes``, ``targets``: printable texts;
    * ``test``, ``valid``, ``density``: finite numbers by name, at most 1 in ``density``;
    * ``intervals``: by name, [low, high];
    * ``by_class``: a dict for each class: ``class``, ``examples``, ``answered`` (predictions of it), ``precision``,
      ``recall`` (None if undefined), ``precision_interval``, ``recall_interval``;
    * ``by_target``: a dict for each target: ``target``, ``r2`` (None if all targets are the same), ``rmse``, ``nll``,
      ``coverage95``, ``aleatoric``, ``epistemic`` and optionally ``intervals``;
    * ``prior``: of a run with a prior from another one: ``source``, ``chosen``, ``without``, ``fine_tuning``: texts;
      ``folds``, a whole number; ``nll``: held-out NLL by name of the way to train;
    * ``chains``: of a method that keeps draws of chains: ``chains``, ``draws``, ``diverged``, ``gradients``, whole
      numbers; ``rhat``, ``ess_bulk``, ``ess_tail``, numbers or None; ``worst``, text;
    * ``cost``: by name, ``{"value": a number or None, "source": text}``, and ``batch`` and ``threads`` if they are
      there and positive.

    Returns:
        the known fields with a value of the right type, and the names of the others.

    Raises:
        ValueError: the content is not a result.
    """
    if not isinstance(content, dict) or not isinstance(content.get("test"), dict):
        raise ValueError("holds no result")
    found: dict[str, Any] = {}
    wrong: list[str] = []

    def take(
        key: str, right: Callable[[Any], bool], convert: Callable[[Any], Any] = lambda value: value
    ) -> None:
        value = content.get(key)
        if value is None:
            return
        if right(value):
            found[key] = convert(value)
        else:
            wrong.append(key)

    for key in _TEXTS:
        take(key, lambda value: isinstance(value, str), text)
    take("seed", lambda value: is_number(value) and value == int(value), int)
    for key in _COUNTS:
        take(key, lambda value: is_number(value) and value >= 0 and value == int(value), int)
    for key in ("classes", "targets"):
        take(key, _are_texts, lambda value: [text(label) for label in value])
    for key in _TABLES:
        take(key, lambda value: isinstance(value, dict), functools.partial(_numbers, key, wrong))
    take("intervals", _are_intervals, lambda value: {text(name): _ends(pair) for name, pair in value.items()})
    take("by_class", _are_classes, lambda value: [_of_class(row) for row in value])
    take("by_target", _are_targets, lambda value: [_of_target(row) for row in value])
    take("prior", _is_prior, _of_prior)
    take(
        "chains",
        lambda value: chains_result.is_valid(value, is_number),
        lambda value: chains_result.converted(value, text),
    )
    take("cost", lambda value: isinstance(value, dict), lambda value: _costs(value, wrong))
    return found, wrong


def is_number(value: Any) -> bool:
    """Whether a value of a JSON or TOML file is a number that is finite as a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer larger than any float
        return False


def text(value: Any) -> str:
    """A value as text for a page or a table: one line, without control characters, shortened if too long."""
    return printable(value if isinstance(value, str) else str(value)[: 4 * _LETTERS], _LETTERS)


def _are_texts(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= _MOST_CLASSES
        and all(isinstance(item, str) for item in value)
    )


def _numbers(key: str, wrong: list[str], table: dict[str, Any]) -> dict[str, float]:
    right = {name: value for name, value in table.items() if is_number(value) and _in_range(key, value)}
    wrong += [
        f"{key}.{text(name)}" for name, value in table.items() if value is not None and name not in right
    ]
    return {text(name): float(value) for name, value in right.items()}


def _are_intervals(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_interval, value.values()))


def _is_interval(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value)) and value[0] <= value[1]


def _ends(pair: Any) -> list[float]:
    return [float(end) for end in pair]


def _are_classes(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= _MOST_CLASSES and all(map(_is_class, value))


def _is_class(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and isinstance(row.get("class"), str)
        and all(
            is_number(row.get(key)) and row[key] >= 0 and row[key] == int(row[key])
            for key in ("examples", "answered")
        )
        and all(row.get(key) is None or (is_number(row[key]) and 0 <= row[key] <= 1) for key in _SHARES)
        and all(_is_interval(row.get(f"{key}_interval")) for key in _SHARES)
    )


def _of_class(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"class": text(row["class"])}
    found |= {key: int(row[key]) for key in ("examples", "answered")}
    found |= {key: None if row.get(key) is None else float(row[key]) for key in _SHARES}
    return found | {f"{key}_interval": _ends(row[f"{key}_interval"]) for key in _SHARES}


def _are_targets(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= _MOST_CLASSES and all(map(_is_target, value))


def _is_target(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and isinstance(row.get("target"), str)
        and all(is_number(row.get(key)) for key in _OF_TARGETS)
        and (row.get("r2") is None or is_number(row["r2"]))
        and (row.get("intervals") is None or _are_intervals(row["intervals"]))
    )


def _of_target(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"target": text(row["target"]), "r2": row.get("r2")}
    found |= {key: float(row[key]) for key in _OF_TARGETS}
    ends = row.get("intervals")
    return found if ends is None else found | {"intervals": {text(k): _ends(v) for k, v in ends.items()}}


def _is_prior(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(isinstance(value.get(key), str) for key in _OF_PRIOR)
        and type(value.get("folds")) is int
        and isinstance(value.get("nll"), dict)
    )


def _of_prior(value: dict[str, Any]) -> dict[str, Any]:
    nll = {text(name): float(one) for name, one in value["nll"].items() if is_number(one)}
    return {key: text(value[key]) for key in _OF_PRIOR} | {"folds": value["folds"], "nll": nll}


def _in_range(key: str, value: float) -> bool:
    return key != "density" or 0 <= value <= 1


def _costs(table: dict[str, Any], wrong: list[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, figure in table.items():
        value = figure.get("value") if isinstance(figure, dict) else None
        source = figure.get("source", "unknown") if isinstance(figure, dict) else None
        if not isinstance(source, str) or not (value is None or (is_number(value) and value >= 0)):
            wrong.append(f"cost.{text(name)}")
        else:
            found[text(name)] = {"value": None if value is None else float(value), "source": text(source)}
            found[text(name)] |= {
                key: figure[key] for key in _CONDITIONS if type(figure.get(key)) is int and figure[key] > 0
            }
    return found
