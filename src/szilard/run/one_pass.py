"""The schema of ``one_pass.json``: how good and how fast predictions in one pass, of mean weights and of draws are."""

from __future__ import annotations

from typing import Any

from szilard.run.result import is_number, text

KINDS = ("point", "moments", "draws")
_MOST_ROWS = 100
_MOST_PAIRS = 10_000
_LARGEST = 10**9


def check(content: Any) -> dict[str, Any]:
    """The content of the file.

    * ``result``: SHA-256 of the ``result.json`` of the same training, in hex;
    * ``inputs``: number of test inputs that were used; ``of_inputs``: of all;
    * ``ood``: name of the out-of-distribution inputs, or None;
    * ``predictions``: a dict for each way to predict: ``kind`` ("point", "moments", "draws"), ``draws`` (0 for the
      others), ``runtime`` ("PyTorch" or a backend), ``quality`` (finite numbers by name), ``seconds`` of one call or
      None;
    * ``epistemic_ratio``: mean epistemic uncertainty in one pass, divided by that of the draws of ``deviations``; None
      if draws have none, and in files of earlier versions; ``epistemic_ratio_error``: its standard error, or None;
    * ``deviations``: standard deviations of outputs: ``moments`` in one pass, ``sampled`` over ``draws`` draws, all
      above zero; ``outputs``: how many there are in all;
    * ``time``: None, or ``batch``, ``threads``, ``runtime`` and ``noise`` (sentence parts that say why the machine was
      too noisy) of the seconds.

    Raises:
        ValueError: the content is not of this form.
    """
    if not isinstance(content, dict):
        raise ValueError("is no table")
    rows, pairs, time = content.get("predictions"), content.get("deviations"), content.get("time")
    if not isinstance(rows, list) or len(rows) > _MOST_ROWS or not isinstance(pairs, dict):
        raise ValueError("has no predictions or no deviations")
    ratio, error = content.get("epistemic_ratio"), content.get("epistemic_ratio_error")
    for number in (ratio, error):
        if not (number is None or (is_number(number) and number >= 0)):
            raise ValueError("has a ratio of epistemic uncertainties that is negative")
    ood = content.get("ood")
    if not isinstance(content.get("result"), str) or not (ood is None or isinstance(ood, str)):
        raise ValueError("does not say what it is of")
    return {
        "result": content["result"],
        "inputs": _whole(content.get("inputs")),
        "of_inputs": _whole(content.get("of_inputs")),
        "ood": None if ood is None else text(ood),
        "predictions": [_row(row) for row in rows],
        "epistemic_ratio": None if ratio is None else float(ratio),
        "epistemic_ratio_error": None if error is None else float(error),
        "deviations": _pairs(pairs),
        "time": None if time is None else _time(time),
    }


def _row(row: Any) -> dict[str, Any]:
    if not isinstance(row, dict) or row.get("kind") not in KINDS or not isinstance(row.get("quality"), dict):
        raise ValueError("has a prediction of an unknown kind")
    seconds = row.get("seconds")
    if seconds is not None and not (is_number(seconds) and seconds > 0):
        raise ValueError("has a time that is not positive")
    quality = {text(name): float(value) for name, value in row["quality"].items() if is_number(value)}
    found = {"kind": row["kind"], "draws": _whole(row.get("draws")), "runtime": text(row.get("runtime"))}
    return found | {"quality": quality, "seconds": seconds}


def _pairs(pairs: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {key: _whole(pairs.get(key)) for key in ("outputs", "draws")}
    for key in ("moments", "sampled"):
        values = pairs.get(key)
        if not isinstance(values, list) or len(values) > _MOST_PAIRS:
            raise ValueError("has no list of deviations")
        if not all(is_number(value) and value > 0 for value in values):
            raise ValueError("has deviations that are not positive")
        found[key] = [float(value) for value in values]
    if len(found["moments"]) != len(found["sampled"]):
        raise ValueError("has deviations without a partner")
    return found


def _time(time: Any) -> dict[str, Any]:
    if not isinstance(time, dict) or not isinstance(time.get("noise"), list):
        raise ValueError("has no conditions of its times")
    return {
        "batch": _whole(time.get("batch")),
        "threads": _whole(time.get("threads")),
        "runtime": text(time.get("runtime")),
        "noise": [text(reason) for reason in time["noise"]],
    }


def _whole(value: Any) -> int:
    if not is_number(value) or value != int(value) or not 0 <= value <= _LARGEST:
        raise ValueError("has a count that is none")
    return int(value)
