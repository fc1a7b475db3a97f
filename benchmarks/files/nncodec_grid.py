"""The options with which NNCodec enters the comparison.

``use_dq`` is on throughout, as it is by default. *Tuned* is every combination of the quantisation parameter of weights,
that of other tensors, folding of BatchNorm, and what ``encode`` is handed: an ``nn.Module`` or a dict of arrays. A
parameter below -30 only makes larger files than those that are good enough, and above -14 nothing is left of a network.
*Defaults* changes nothing but ``qp``: at the untouched default of -32 it is no contest (hardly an error, and
the largest file), and nobody who wants a small file leaves the one knob of size and quality alone. It may choose
its form, since users do. So each row is the smallest file of its family that is good enough, by the same rule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from files.coded import Coded
from files.judge import Entry

NAME = "NNCodec 2.1.3"
DEFAULT_QP = -32
QPS = range(-30, -13)
NONWEIGHT_QPS = (-75, -50, -40, -32)
COARSE_QPS = range(-34, -19, 2)

Code = Callable[[dict[str, Any], str], Coded]  # (options, form)


def tuned(code: Code, coarse: bool = False) -> list[Entry]:
    """The grid: 204 files, or 16 of them."""
    if coarse:
        return [_entry(code, qp=qp, nonweight_qp=n, bnf=True) for qp in COARSE_QPS for n in (-40, -32)]
    return [
        _entry(code, form, qp=qp, nonweight_qp=nonweight, **({"bnf": True} if folded else {}))
        for qp in QPS
        for nonweight in NONWEIGHT_QPS
        for form, folded in (("module", True), ("module", False), ("dict", False))
    ]


def defaults(code: Code, coarse: bool = False) -> list[Entry]:
    """Nothing but ``qp`` and the form: 34 files, or 16."""
    qps = COARSE_QPS if coarse else QPS
    return [_entry(code, form, qp=qp) for qp in qps for form in ("module", "dict")]


def untouched(code: Code) -> Entry:
    """No option at all."""
    return _entry(code, "module", qp=DEFAULT_QP)


def rated(code: Code, coarse: bool = False) -> list[Entry]:
    """Beyond what ``encode`` offers: its trellis with the rate term that only the function below it can turn on."""
    qps = COARSE_QPS if coarse else QPS
    return [
        _entry(code, "module", qp=qp, nonweight_qp=-32, bnf=True, lambda_scale=1.0, **extra)
        for qp in qps
        for extra in ({}, {"opt_qp": True})
    ]


def described(entry: Entry) -> str:
    """The options of a file in the fewest words: "qp -23, nonweight_qp -32, bnf"."""
    shown = []
    for name, value in entry.options.items():
        if value is True:
            shown.append(name)
        elif name != "form" or value != "module":
            shown.append(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}")
    return ", ".join(shown)


def curve(code: Code, coarse: bool = False) -> list[Entry]:
    """The best line through the grid, for the curve of size against accuracy."""
    qps = range(-32, -23, 4) if coarse else range(-28, -15, 2)
    return [_entry(code, qp=qp, nonweight_qp=-32, bnf=True) for qp in qps]


def _entry(code: Code, form: str = "module", **options: Any) -> Entry:
    return Entry(NAME, {"form": form, **options}, lambda: code(options, form))
