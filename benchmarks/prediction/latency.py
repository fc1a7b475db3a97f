"""Seconds of a prediction, by runtime, mode and batch size: all in turn in one process of one thread."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from prediction.contestants import Call, Key, contestants, native_dense
from szilard.cost.latency import latencies

Row = dict[str, Any]
DENSE = "native, dense weights"
TURN, WARM_UP = 0.001, 0.02  # seconds; short turns, so that other programs interrupt few
COLUMNS = (
    "runtime, mode",
    "part",
    "batch",
    "median, µs",
    "p10",
    "p90",
    "readings",
    "/ point of the same runtime",
)


def rows(
    name: str,
    network: nn.Module,
    inputs: Tensor,
    batches: Sequence[int],
    runtimes: Mapping[int, dict[str, tuple[str, ...]]],
    bare: tuple[str, ...],
    budget: float,
    longest: float,
    dense: bool = False,
) -> list[Row]:
    """Times of a network; what takes longer than ``longest`` seconds a call is called twice and not timed.

    Args:
        name: of the network.
        network: Bayesian, in eval mode.
        inputs: at least as many as the largest batch, ``[N, *shape]``.
        batches: sizes.
        runtimes: for each batch size, the modes of each backend.
        bare: backends whose forward pass is also timed alone.
        budget: seconds for each batch size.
        longest: seconds.
        dense: whether to time the native backend with dense weights, too.
    """
    found: list[Row] = []
    made: dict[Key, Call] = {}
    for batch in batches:
        x = inputs[:batch].contiguous()
        dense_before = {key: call for key, call in made.items() if key[0] == DENSE}
        made, left = contestants(network, x, runtimes[batch], bare, made)
        made |= dense_before
        if dense and not dense_before:
            for mode in ("point", "moments"):
                made[DENSE, mode, "full"] = native_dense(network, x, mode)
        base = {"network": name, "batch": batch}
        found += [{**base, "runtime": what, "left_out": why} for what, why in left.items()]
        calls: dict[Key, Callable[[], Any]] = {}
        for key, call in made.items():
            spent = _once(call, x)
            if spent > longest:
                found.append({**base, **_named(key), "left_out": f"{spent:.1f} s a call"})
            else:
                calls[key] = functools.partial(call, x)
        if not calls:
            continue
        runs = {str(number): call for number, call in enumerate(calls.values())}
        # The figures of a noisy machine are kept, with the reason why they are not to be trusted.
        timed = latencies(
            runs, threads=1, budget=budget, least_rounds=5, warm_up=WARM_UP, turn=TURN, noisy=True
        )
        for key, one in zip(calls, timed.values(), strict=True):
            times = {"median": one.median, "p10": one.p10, "p90": one.p90, "readings": one.readings}
            found.append({**base, **_named(key), **times, "noise": one.noise.text})
    return found


def _once(call: Call, x: Tensor) -> float:
    """Seconds of the second call."""
    call(x)
    started = time.perf_counter()
    call(x)
    return time.perf_counter() - started


def _named(key: Key) -> dict[str, str]:
    return dict(zip(("runtime", "mode", "part"), key, strict=True))


def seconds(
    rows: Sequence[Row], network: str, batch: int, runtime: str, mode: str, part: str = "full"
) -> float | None:
    """The median, or None if it was not measured."""
    for row in rows:
        if (row["network"], row["batch"], row["runtime"], row.get("mode"), row.get("part")) == (
            *(network, batch, runtime, mode, part),
        ) and "median" in row:
            return float(row["median"])
    return None


def default_backend(rows: Sequence[Row], network: str, batch: int) -> str:
    """The backend that :func:`szilard.deploy.compile` takes by default."""
    for backend in ("native", "onnx", "eager"):
        if seconds(rows, network, batch, backend, "moments") is not None:
            return backend
    raise LookupError(f"no backend computes moments of {network}")


def body(rows: Sequence[Row], network: str) -> list[list[str]]:
    """The table of one network, under COLUMNS."""
    lines = []
    for row in rows:
        if row["network"] != network:
            continue
        named = f"{row['runtime']}, {row['mode']}" if "mode" in row else row["runtime"]
        start = [named, row.get("part", ""), str(row["batch"])]
        if "left_out" in row:
            lines.append([*start, row["left_out"], "", "", "", ""])
            continue
        point = seconds(rows, network, row["batch"], row["runtime"], "point", row["part"])
        ratio = "" if point is None else f"{row['median'] / point:.2f}"
        micro = [f"{1e6 * row[key]:.1f}" for key in ("median", "p10", "p90")]
        lines.append([*start, *micro, str(row["readings"]), ratio])
    return lines


def noise(rows: Sequence[Row], network: str) -> str:
    """Why the times of a network are not to be trusted, for its first batch size of which it is so; or nothing."""
    reasons = [row.get("noise", "") for row in rows if row["network"] == network]
    return next((reason for reason in reasons if reason), "")


def ratio(above: float | None, below: float | None) -> float | None:
    """Of two times, None if one of them was not measured."""
    return None if above is None or below is None else above / below


def against_draws(
    rows: Sequence[Row], network: str, batch: int, backend: str, drawn: bool, part: str = "full"
) -> float | None:
    """30 draws in turn in plain PyTorch, over the moments of a backend.

    Args:
        drawn: whether the weights of the draws were made before.
    """
    mode = "30 draws in turn" + (", weights drawn before" if drawn else "")
    slow = seconds(rows, network, batch, "PyTorch", mode, part)
    return ratio(slow, seconds(rows, network, batch, backend, "moments", part))


def sparse_figures(rows: Sequence[Row], network: str) -> dict[str, float | None]:
    """Native sparse weights over the fastest runtime with dense weights, one input, points."""
    dense = [
        row["median"]
        for row in rows
        if row["network"] == network and row["batch"] == 1 and row.get("mode") == "point" and "median" in row
        and row["part"] == "full" and row["runtime"] != "native"
    ]  # fmt: skip
    fastest = min(dense, default=None)
    return {
        "mlp1024_sparse95_native_vs_dense": ratio(seconds(rows, network, 1, "native", "point"), fastest),
        "mlp1024_sparse95_moments_vs_dense_point": ratio(
            seconds(rows, network, 1, "native", "moments"), fastest
        ),
    }
