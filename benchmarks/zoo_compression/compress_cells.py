"""One cell of the zoo: a network and a request to ``compress``, and whether the reported figures are correct.

The file is opened with :func:`szilard.load` into a new network. Its outputs, score and size are computed here with the
formulas of :mod:`zoo.case`, independently of the library.

The request *data* uses the default passes, which train small networks further; ``max_drop`` and ``max_bytes`` use the
passes for large networks.
"""

from __future__ import annotations

import re
import tempfile
import traceback
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import szilard
from szilard.compression import Compressed, default_passes
from szilard.errors import SzilardError
from zoo.case import Case, Data, ask, batches, calibrating, judging, rows, score

REQUESTS = ("data", "no data", "max_drop", "max_bytes", "shrink")
MAX_DROP = 0.02
PART = 5  # ``max_bytes`` is the original's size divided by this
SAME = 1e-4  # tolerance of a score, and of outputs relative to their size
EXACT = 1e-6  # relative tolerance between outputs of the same file
BITS = 4  # files without data must not be worse than rounding by row to this many bits
AT_ONCE = 64  # batch size
FLOOR = 0.02  # relative error of outputs that is always accepted


@dataclass(frozen=True)
class Cell:
    """The result of one request: ``verdict`` is "right", "refused", "wrong" or "crashed", ``message`` says why."""

    network: str
    request: str
    verdict: str
    message: str = ""
    bytes: int | None = None
    drop: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Wrong(Exception):
    """A reported figure or tensor is not correct."""


def cells(case: Case, requests: tuple[str, ...] = REQUESTS) -> list[Cell]:
    """All cells of one network."""
    data = case.data()
    network = case.trained(data)
    return [cell(case, network, data, request) for request in requests]


def cell(  # noqa: PLR0911 - one for each verdict
    case: Case, network: nn.Module, data: Data, request: str
) -> Cell:
    """The cell of one network and one request."""
    try:
        with warnings.catch_warnings(record=True) as recorded:
            warnings.simplefilter("always")
            made = PARTS[request](case, network, data, recorded)
    except SzilardError as error:
        if not str(error).strip() or "\n" in str(error):
            return Cell(case.name, request, "wrong", f"refused without a sentence: {str(error)!r}")
        return Cell(case.name, request, "refused", str(error))
    except Wrong as error:
        return Cell(case.name, request, "wrong", str(error))
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {str(error)[:160]} ({Path(where.filename).name}:{where.lineno})"
        return Cell(case.name, request, "crashed", text)
    if case.refusal and request != "shrink":
        return Cell(case.name, request, "wrong", "accepted, but it should be refused")
    if made is None:
        return Cell(case.name, request, "right")
    return Cell(case.name, request, "right", "", len(made.data), made.drop)


# -- the requests ---------------------------------------------------------------------------------------


def compressed(case: Case, network: nn.Module, data: Data, options: dict[str, Any]) -> Compressed:
    """Compress with data, and check everything that is reported."""
    before = {name: t.clone() for name, t in state(network).items()}
    made = szilard.compress(network, list(batches(calibrating(data))), **options)
    for name, t in state(network).items():
        if not torch.equal(t, before[name]) and not bool(t.isnan().any()):
            raise Wrong(f"{name} of the user's own network was changed")
    held_out = judging(data)
    reloaded = opened(case, made)
    answers, original = answer(reloaded, held_out.x), answer(network, held_out.x)
    same("answers of the file and of .network", answers, answer(made.network, held_out.x), EXACT)
    found, was = score(held_out, answers, original), score(held_out, original, original)
    near("score", made.score, found)
    near("original_score", made.original_score, was)
    relative = data.kind in ("regression", "noisy", "embedding")
    near("drop", made.drop, (was - found) / (abs(was) if relative and was else 1.0))
    if "max_bytes" in options:
        if len(made.data) > options["max_bytes"]:
            raise Wrong(f"{len(made.data)} bytes, but {options['max_bytes']} were asked for")
    elif "lam" not in options and (made.drop or 0.0) > options.get("max_drop", 0.005) + 1e-6:
        raise Wrong(f"a drop of {made.drop}, but {options.get('max_drop', 0.005)} was requested")
    return made


def with_data(case: Case, network: nn.Module, data: Data, recorded: list[Any]) -> Compressed:
    return compressed(case, network, data, {})


def within_drop(case: Case, network: nn.Module, data: Data, recorded: list[Any]) -> Compressed:
    return compressed(case, network, data, {"max_drop": MAX_DROP, "passes": default_passes()})


def within_bytes(case: Case, network: nn.Module, data: Data, recorded: list[Any]) -> Compressed:
    size = sum(t.numel() * t.element_size() for t in state(network).values())
    return compressed(case, network, data, {"max_bytes": size // PART + 600, "passes": default_passes()})


def without_data(case: Case, network: nn.Module, data: Data, recorded: list[Any]) -> Compressed:
    """Outputs on real inputs are as accurate as after rounding by row, or a message gives their error."""
    made = szilard.compress(network)
    held_out = judging(data)
    answers, original = answer(opened(case, made), held_out.x), answer(network, held_out.x)
    same("answers of the file and of .network", answers, answer(made.network, held_out.x), EXACT)
    error = apart(answers, original)
    rounded = apart(answer(by_row(case, network), held_out.x), original)
    if error > max(FLOOR, rounded) and not admitted(
        error, [*made.notes, *(str(w.message) for w in recorded)]
    ):
        raise Wrong(
            f"outputs differ by {100 * error:.1f} %, and by {100 * rounded:.1f} % after rounding by row to "
            f"{BITS} bits; no message says so"
        )
    return made


def admitted(error: float, messages: list[str]) -> bool:
    """Whether a message gives the error of the outputs, within a factor of two."""
    percents = [
        float(p)
        for text in messages
        if "differ" in text
        for p in re.findall(r"([\d.]+(?:e[+-]?\d+)?) %", text)
    ]
    return any(percent >= 50 * error for percent in percents)


def shrunk(case: Case, network: nn.Module, data: Data, recorded: list[Any]) -> None:
    """Prune units of the first layer; after their removal the outputs must be the same."""
    x = judging(data).x
    pruned = szilard.networks.copied(network)
    with torch.no_grad():
        for module in pruned.modules():
            if type(module) in (nn.Linear, nn.Conv2d) and isinstance(
                module._parameters.get("weight"), Tensor
            ):
                module.weight[::2] = 0
                break
    small = szilard.compression.shrink(pruned, x if isinstance(x, Tensor) else None)
    if not torch.equal(
        answer(pruned, x).nan_to_num(), answer(pruned, x).nan_to_num()
    ):  # nothing can be compared
        sizes = [{name: t.shape for name, t in state(one).items()} for one in (small, pruned)]
        if sizes[0] != sizes[1]:
            raise Wrong("units were removed from a network whose outputs cannot be compared")
        return
    same("outputs with and without dead units", answer(small, x), answer(pruned, x), tolerance(network))


PARTS: dict[str, Callable[[Case, nn.Module, Data, list[Any]], Compressed | None]] = {
    "data": with_data,
    "no data": without_data,
    "max_drop": within_drop,
    "max_bytes": within_bytes,
    "shrink": shrunk,
}


# -- the actual values ----------------------------------------------------------------------------------


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: t for name, t in network.state_dict().items() if isinstance(t, Tensor) and not is_lazy(t)}


def is_lazy(t: Tensor) -> bool:
    return isinstance(t, nn.parameter.UninitializedTensorMixin)


def opened(case: Case, made: Compressed) -> nn.Module:
    """A new network with the tensors of the file on disk."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.szd"
        made.save(path)
        if path.stat().st_size != len(made.data):
            raise Wrong(f"the file has {path.stat().st_size} bytes, and {len(made.data)} were reported")
        tensors = szilard.load(path)
    network = case.fresh()
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise Wrong(f"the file cannot be loaded into the network: {str(error)[:160]}") from error
    return network


def answer(network: nn.Module, x: Any) -> Tensor:
    """Outputs, float64, computed in batches: BatchNorm without running statistics depends on the batch."""
    with torch.no_grad():
        first = x if isinstance(x, Tensor) else next(iter(x.values() if isinstance(x, dict) else x))
        starts = range(0, len(first), AT_ONCE)
        return torch.cat([ask(network, rows(x, slice(start, start + AT_ONCE))) for start in starts]).double()


def near(what: str, reported: float | None, found: float) -> None:
    if reported is None or not abs(reported - found) <= SAME * max(1.0, abs(found)):
        raise Wrong(f"{what} is reported as {reported} and is {found:.6f}")


def same(what: str, a: Tensor, b: Tensor, most: float) -> None:
    if a.shape == b.shape and bool((a.isnan() == b.isnan()).all()):
        a, b = a.nan_to_num(), b.nan_to_num()
    size = float(b.abs().max()) or 1.0
    if a.shape != b.shape or not float((a - b).abs().max()) <= most * size:
        raise Wrong(f"{what} differ")


def tolerance(network: nn.Module) -> float:
    """Relative tolerance of outputs, by the least precise type of the weights."""
    kinds = {p.dtype for p in network.parameters()}
    return 5e-2 if torch.bfloat16 in kinds else 1e-2 if torch.float16 in kinds else SAME


def apart(a: Tensor, b: Tensor) -> float:
    """Relative error of outputs, relative to their deviation from the mean output."""
    spread, size = float((b - b.mean(0)).norm()), float(b.norm())
    size = spread if spread > 1e-6 * size else size
    gap = float((a - b).norm())
    return gap / size if size else float(gap > 0)


def by_row(case: Case, network: nn.Module) -> nn.Module:
    """Every matrix rounded to :data:`BITS` bits, each row by its largest entry."""
    tensors = state(case.plain(szilard.networks.copied(network)))
    most = 2 ** (BITS - 1) - 1
    for name, t in tensors.items():
        if t.is_floating_point() and t.dim() > 1:
            flat = t.double().reshape(len(t), -1)
            step = flat.abs().amax(1, keepdim=True).clamp_min(1e-300) / most
            tensors[name] = ((flat / step).round() * step).reshape(t.shape).to(t.dtype)
    rounded = case.fresh()
    rounded.load_state_dict(tensors)
    return rounded
