"""One cell of the zoo: a network and a wish, and whether what was reported is what there is.

The file is opened with :func:`szilard.load` into a network that was built anew, and its answers, its score and its size
are computed here, by formulas of :mod:`zoo.case`; nothing of the library's judge is asked.

The wish *data* takes the default passes, which learn where a network is small; ``max_drop`` and ``max_bytes`` take
those of large networks.
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

WISHES = ("data", "no data", "max_drop", "max_bytes", "shrink")
MAX_DROP = 0.02
PART = 5  # the original's bytes are divided by it, for ``max_bytes``
SAME = 1e-4  # of a score, and of answers relative to their size
EXACT = 1e-6  # of answers of one and the same file
BITS = 4  # of the rounding by row that files without data must not fall behind
AT_ONCE = 64  # examples of a batch, as they are given
FLOOR = 0.02  # relative error of answers that is no harm


@dataclass(frozen=True)
class Cell:
    """What came of it: verdict is "right", "refused", "wrong" or "crashed"."""

    network: str
    wish: str
    verdict: str
    told: str = ""
    bytes: int | None = None
    drop: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Wrong(Exception):
    """What was reported is not what there is."""


def cells(case: Case, wishes: tuple[str, ...] = WISHES) -> list[Cell]:
    """All of one network."""
    data = case.data()
    network = case.trained(data)
    return [cell(case, network, data, wish) for wish in wishes]


def cell(  # noqa: PLR0911 - one for each verdict
    case: Case, network: nn.Module, data: Data, wish: str
) -> Cell:
    """One wish on one network."""
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            made = PARTS[wish](case, network, data, heard)
    except SzilardError as error:
        if not str(error).strip() or "\n" in str(error):
            return Cell(case.name, wish, "wrong", f"refused without a sentence: {str(error)!r}")
        return Cell(case.name, wish, "refused", str(error))
    except Wrong as error:
        return Cell(case.name, wish, "wrong", str(error))
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {str(error)[:160]} ({Path(where.filename).name}:{where.lineno})"
        return Cell(case.name, wish, "crashed", text)
    if case.refusal and wish != "shrink":
        return Cell(case.name, wish, "wrong", "taken, where it should be refused")
    if made is None:
        return Cell(case.name, wish, "right")
    return Cell(case.name, wish, "right", "", len(made.data), made.drop)


# -- wishes ---------------------------------------------------------------------------------------------


def compressed(case: Case, network: nn.Module, data: Data, wish: dict[str, Any]) -> Compressed:
    """With data, and everything that is reported compared with what there is."""
    before = {name: t.clone() for name, t in state(network).items()}
    made = szilard.compress(network, list(batches(calibrating(data))), **wish)
    for name, t in state(network).items():
        if not torch.equal(t, before[name]) and not bool(t.isnan().any()):
            raise Wrong(f"{name} of the user's own network was changed")
    judges = judging(data)
    reloaded = opened(case, made)
    answers, original = answer(reloaded, judges.x), answer(network, judges.x)
    same("answers of the file and of .network", answers, answer(made.network, judges.x), EXACT)
    found, was = score(judges, answers, original), score(judges, original, original)
    near("score", made.score, found)
    near("original_score", made.original_score, was)
    relative = data.kind in ("regression", "noisy", "embedding")
    near("drop", made.drop, (was - found) / (abs(was) if relative and was else 1.0))
    if "max_bytes" in wish:
        if len(made.data) > wish["max_bytes"]:
            raise Wrong(f"{len(made.data)} bytes where {wish['max_bytes']} were asked for")
    elif "lam" not in wish and (made.drop or 0.0) > wish.get("max_drop", 0.005) + 1e-6:
        raise Wrong(f"a drop of {made.drop} where {wish.get('max_drop', 0.005)} was asked for")
    return made


def with_data(case: Case, network: nn.Module, data: Data, heard: list[Any]) -> Compressed:
    return compressed(case, network, data, {})


def within_drop(case: Case, network: nn.Module, data: Data, heard: list[Any]) -> Compressed:
    return compressed(case, network, data, {"max_drop": MAX_DROP, "passes": default_passes()})


def within_bytes(case: Case, network: nn.Module, data: Data, heard: list[Any]) -> Compressed:
    size = sum(t.numel() * t.element_size() for t in state(network).values())
    return compressed(case, network, data, {"max_bytes": size // PART + 600, "passes": default_passes()})


def without_data(case: Case, network: nn.Module, data: Data, heard: list[Any]) -> Compressed:
    """Answers to real inputs are as near as those after rounding by row, or it is told how far they part."""
    made = szilard.compress(network)
    judges = judging(data)
    answers, original = answer(opened(case, made), judges.x), answer(network, judges.x)
    same("answers of the file and of .network", answers, answer(made.network, judges.x), EXACT)
    error = apart(answers, original)
    rounded = apart(answer(by_row(case, network), judges.x), original)
    if error > max(FLOOR, rounded) and not admitted(error, [*made.notes, *(str(w.message) for w in heard)]):
        raise Wrong(
            f"answers differ by {100 * error:.1f} %, and by {100 * rounded:.1f} % after rounding by row to "
            f"{BITS} bits; nothing is said of it"
        )
    return made


def admitted(error: float, told: list[str]) -> bool:
    """Whether a sentence says that answers differ by about as much as they do, within a factor of two."""
    percents = [
        float(p) for text in told if "differ" in text for p in re.findall(r"([\d.]+(?:e[+-]?\d+)?) %", text)
    ]
    return any(percent >= 50 * error for percent in percents)


def shrunk(case: Case, network: nn.Module, data: Data, heard: list[Any]) -> None:
    """Units of the first layer are pruned; without them the network answers the same."""
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
            raise Wrong("units were taken out of a network whose answers cannot be compared")
        return
    same("answers with and without dead units", answer(small, x), answer(pruned, x), tolerance(network))


PARTS: dict[str, Callable[[Case, nn.Module, Data, list[Any]], Compressed | None]] = {
    "data": with_data,
    "no data": without_data,
    "max_drop": within_drop,
    "max_bytes": within_bytes,
    "shrink": shrunk,
}


# -- what there is --------------------------------------------------------------------------------------


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: t for name, t in network.state_dict().items() if isinstance(t, Tensor) and not is_lazy(t)}


def is_lazy(t: Tensor) -> bool:
    return isinstance(t, nn.parameter.UninitializedTensorMixin)


def opened(case: Case, made: Compressed) -> nn.Module:
    """A network that was built anew, with the tensors that the file on disk holds."""
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
        raise Wrong(f"the file does not go into the network: {str(error)[:160]}") from error
    return network


def answer(network: nn.Module, x: Any) -> Tensor:
    """float64, in batches: a BatchNorm without statistics mixes the examples of one."""
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
    """By how much answers may differ by rounding, by the coarsest type of the weights."""
    kinds = {p.dtype for p in network.parameters()}
    return 5e-2 if torch.bfloat16 in kinds else 1e-2 if torch.float16 in kinds else SAME


def apart(a: Tensor, b: Tensor) -> float:
    """Relative error of answers, around the mean answer."""
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
