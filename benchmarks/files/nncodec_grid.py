"""The options of NNCodec in the comparison.

``use_dq`` is always on, as by default. *Tuned* tests every combination of the quantisation parameter of weights, that
of other tensors, folding of BatchNorm, and the input of ``encode``: an ``nn.Module`` or a dict of arrays. A parameter
below -30 only gives larger files within the limit, and above -14 the network is destroyed. *Defaults* changes only
``qp``, the parameter that controls size and quality: with its default of -32 the error is very small and the file is
the largest. The form of the input is free here, too. Each row is the smallest file of its family within the limit.
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
    """The grid: 204 files, or 16 if coarse."""
    if coarse:
        return [_entry(code, qp=qp, nonweight_qp=n, bnf=True) for qp in COARSE_QPS for n in (-40, -32)]
    return [
        _entry(code, form, qp=qp, nonweight_qp=nonweight, **({"bnf": True} if folded else {}))
        for qp in QPS
        for nonweight in NONWEIGHT_QPS
        for form, folded in (("module", True), ("module", False), ("dict", False))
    ]


def defaults(code: Code, coarse: bool = False) -> list[Entry]:
    """Only ``qp`` and the form vary: 34 files, or 16 if coarse."""
    qps = COARSE_QPS if coarse else QPS
    return [_entry(code, form, qp=qp) for qp in qps for form in ("module", "dict")]


def untouched(code: Code) -> Entry:
    """All options at their defaults."""
    return _entry(code, "module", qp=DEFAULT_QP)


def rated(code: Code, coarse: bool = False) -> list[Entry]:
    """With the rate term of the trellis quantiser, which ``encode`` does not offer; only an inner function has it."""
    qps = COARSE_QPS if coarse else QPS
    return [
        _entry(code, "module", qp=qp, nonweight_qp=-32, bnf=True, lambda_scale=1.0, **extra)
        for qp in qps
        for extra in ({}, {"opt_qp": True})
    ]


def described(entry: Entry) -> str:
    """Short description of a file's options: "qp -23, nonweight_qp -32, bnf"."""
    shown = []
    for name, value in entry.options.items():
        if value is True:
            shown.append(name)
        elif name != "form" or value != "module":
            shown.append(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}")
    return ", ".join(shown)


def curve(code: Code, coarse: bool = False) -> list[Entry]:
    """The best options of the grid with varying ``qp``, for the curve of size and accuracy."""
    qps = range(-32, -23, 4) if coarse else range(-28, -15, 2)
    return [_entry(code, qp=qp, nonweight_qp=-32, bnf=True) for qp in qps]


def _entry(code: Code, form: str = "module", **options: Any) -> Entry:
    return Entry(NAME, {"form": form, **options}, lambda: code(options, form))
