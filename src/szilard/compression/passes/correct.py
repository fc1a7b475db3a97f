"""Give back to biases what rounding took from the means of a layer's outputs.

Rounding moves the mean of output r by (ŵ_r - w_r) E[x], and every layer after it computes with that. Layer by layer, in
the order in which the network calls them, the bias takes the difference to the original network's mean (Nagel et al.
2019, with the mean measured).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from szilard.bayes.batch_innermost import InnermostNorm
from szilard.compression.batches import leaves, length, rows, together
from szilard.compression.draft import Draft, Setting
from szilard.compression.graph import NORMS, RECTIFIED, shared
from szilard.compression.probe import distance, numbers, tolerance
from szilard.compression.room import Need, most_forward
from szilard.errors import SzilardWarning, printable
from szilard.networks import is_itself

MOST = 1024  # inputs
MOST_VALUES = 1 << 23  # of them together: activations are in memory, too
MANY = 1 << 23  # values of an output of which a copy in float64 is made
PART = 1 << 20  # values that are copied at a time
CHANNELS = 64  # of which so many are taken together at least
FEW = 32  # inputs whose answers are compared
SLACK = 10.0  # times the tolerance of answers by rounding: many small differences are added
WORSE = 1.25  # times the error of the answers before, beyond which the correction is taken back
SMALL = 1e-4  # error, relative to the answers, below which nobody cares

# By class, how many dimensions an output has in which the bias is that of the given one; None: any.
_OUTPUTS: dict[type, tuple[int | None, int]] = {
    nn.Linear: (None, -1),
    nn.Conv1d: (3, 1),
    nn.Conv2d: (4, 1),
    nn.BatchNorm1d: (None, 1),
    nn.BatchNorm3d: (5, 1),
    **dict.fromkeys((nn.BatchNorm2d, InnermostNorm, *RECTIFIED), (4, 1)),
}

See = Callable[[str, Tensor | None], Tensor | None]


class Correct:
    """Biases so that the mean of each output of each layer is the original's. Needs calibration inputs.

    A bias is moved only if its layer is exactly torch's own, without hooks, is called once for an input, and shares the
    bias with nobody. The answers must then be those that the differences, added to the layers' outputs, give: a bias
    that is read in other places, too, is left alone, and a warning names it. If the answers end up farther from the
    original's than they were, all biases are.

    Means are over as many inputs as can be answered at once (:mod:`szilard.compression.room`), at most :data:`MOST`: a
    layer's correction changes what the next one sees, so that inputs in parts would need a pass for each layer.
    """

    name = "correct"
    summary = "Corrects biases for mean shifts caused by rounding"
    source = "Nagel et al. 2019, arXiv:1906.04721"
    order = 5

    @torch.no_grad()
    def __call__(self, draft: Draft, setting: Setting) -> None:
        if not setting.inputs:
            return
        inputs = at_once(setting)
        few = rows(inputs, slice(0, FEW))
        places = _places(draft, setting.original)
        biases = {name: bias.clone() for name, bias in places.items()}
        means, wanted = _original(setting, places, inputs)
        before = numbers(setting.forward(draft.network, few))
        if not _lift(draft.network, places, means, inputs, setting):
            _put(places, biases)
            for name in _wrong(draft.network, places, few, setting):
                _warn(
                    f"the bias of {printable(name)} is not corrected, because it is read in other places, too"
                )
                del places[name]
            if not _lift(draft.network, places, means, inputs, setting):
                _put(places, biases)
                return
        after = numbers(setting.forward(draft.network, few))
        if not _error(after, wanted) <= max(SMALL, WORSE * _error(before, wanted)):  # NaN is worse
            _put(places, biases)
            shown = ", ".join(printable(name) for name in list(places)[:3])
            more = f" and {len(places) - 3} more" if len(places) > 3 else ""
            _warn(f"biases of {shown}{more} are not corrected, because the network's answers came out worse")


def at_once(setting: Setting) -> Any:
    """One batch of the calibration inputs, of as many as may be answered at once, at most :data:`MOST`."""
    inputs = together(setting.inputs)
    values = max(1, sum(t.numel() for t in leaves(rows(inputs, slice(0, 1)))))
    inputs = rows(inputs, slice(0, max(1, min(MOST, MOST_VALUES // values))))
    return rows(inputs, slice(0, _fitting(setting, inputs)))


def corrected(draft: Draft, original: nn.Module) -> set[str]:
    """Names of the layers whose output gets its mean back, by a bias of theirs or of the BatchNorm behind."""
    places = _places(draft, original)
    return {draft.norms.get(name, name) for name in places}


def _fitting(setting: Setting, inputs: Any) -> int:
    """How many of the inputs may be answered at once; means over positions need no more than a few dozen."""
    key = Correct, "fitting"
    if key not in setting.memo:
        need = Need.of(setting.original, [inputs], setting.forward, gradients=False)
        setting.memo[key] = most_forward(setting.original, need, length(inputs))
    found: int = setting.memo[key]
    return found


def _mean(output: Tensor, others: list[int], axis: int) -> Tensor:
    """Over all dimensions but one, in float64; of a large output without a copy of all of it in float64."""
    if (
        output.numel() <= MANY
    ):  # by channels: the order of each one's sum, and so the last bit, stays the same
        some = CHANNELS * max(1, PART * output.shape[axis] // (CHANNELS * max(1, output.numel())))
        parts = [part.double().mean(others) for part in output.split(some, axis)]
        return torch.cat(parts)
    rows = output.movedim(axis, -1).flatten(0, -2).split(max(1, PART // output.shape[axis]))
    return torch.stack([part.double().sum(0) for part in rows]).sum(0) / (output.numel() / output.shape[axis])


def mean_by_channel(output: Tensor, others: list[int], axis: int) -> Tensor:
    """``output.double().mean(others)``, bit for bit: every channel is summed in the same order, but few at a time."""
    some = CHANNELS * max(1, PART * output.shape[axis] // (CHANNELS * max(1, output.numel())))
    return torch.cat([part.double().mean(others) for part in output.split(some, axis)])


def _lift(
    network: nn.Module, places: dict[str, Tensor], means: dict[str, Tensor], inputs: Any, setting: Setting
) -> bool:
    """Correct biases, one layer after another; whether the network then answers as that should make it."""
    moves: dict[str, Tensor] = {}

    def lift(name: str, mean: Tensor | None) -> Tensor | None:
        if mean is None or name not in means or name in moves or mean.shape != means[name].shape:
            return None
        moves[name] = means[name] - mean
        return moves[name]

    emulated = numbers(_run(network, places, inputs, setting, lift))
    for name, difference in moves.items():  # only now, so that who else reads a bias shows in the answers
        places[name].add_(difference.to(places[name]))
    modules = dict(network.named_modules())
    if any(isinstance(modules[name], RECTIFIED) for name in places):
        return True  # a bias before a rectifier moves the mean behind it by less: answers are only near
    few = rows(inputs, slice(0, FEW))
    answers = numbers(setting.forward(network, few))
    return distance(answers, _first(emulated, few, inputs)) <= SLACK * tolerance(network, answers)


def _original(
    setting: Setting, places: dict[str, Tensor], inputs: Any
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Means of outputs of the original that occur once, and its answers to a few inputs; the same for every λ."""
    key = (Correct, tuple(places), length(inputs))
    if key not in setting.memo:
        seen: dict[str, list[Tensor | None]] = {}

        def note(name: str, mean: Tensor | None) -> None:
            seen.setdefault(name, []).append(mean)

        answers = numbers(_run(setting.original, places, inputs, setting, note))
        means = {name: found[0] for name, found in seen.items() if len(found) == 1 and found[0] is not None}
        setting.memo[key] = means, _first(answers, rows(inputs, slice(0, FEW)), inputs)
    found: tuple[dict[str, Tensor], list[Tensor]] = setting.memo[key]
    return found


def _wrong(network: nn.Module, places: dict[str, Tensor], few: Any, setting: Setting) -> list[str]:
    """Names of those whose bias does something else than to move the layer's output."""
    modules, found = dict(network.named_modules()), []
    for name, bias in places.items():
        if isinstance(modules[name], RECTIFIED):
            continue
        more = bias.double().abs().mean().clamp_min(1e-2).expand(len(bias))
        emulated = numbers(_run(network, {name: bias}, few, setting, _once(more)))
        kept = bias.clone()
        bias.add_(more.to(bias))
        answers = numbers(setting.forward(network, few))
        bias.copy_(kept)
        if distance(answers, emulated) > SLACK * tolerance(network, answers):
            found.append(name)
    return found


def _once(more: Tensor) -> See:
    """Add this to the first output, so that a second call shows in the answers."""
    left = [more]
    return lambda name, mean: left.pop() if left else None


def _places(draft: Draft, original: nn.Module) -> dict[str, Tensor]:
    """Module whose output counts, and the bias that moves it: a BatchNorm for the layer that it follows."""
    theirs = dict(original.named_modules())
    followed = set(draft.norms.values())
    held = shared(draft.network)
    found: dict[str, Tensor] = {}
    for name, module in draft.network.named_modules():
        norm = isinstance(module, NORMS)
        bias = getattr(module, "bias", None)
        if (
            (name in draft.norms if norm else name not in followed)
            and isinstance(bias, nn.Parameter)
            and id(bias) not in held
            and is_itself(module, tuple(_OUTPUTS))
            and type(theirs.get(name)) is type(module)
        ):
            found[name] = bias
    return found


def _run(network: nn.Module, places: dict[str, Tensor], inputs: Any, setting: Setting, see: See) -> Any:
    """One forward pass; ``see`` is told the mean of each output and answers what is to be added to it."""

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def after(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
            dims, axis = _OUTPUTS[type(module)]
            axis %= output.dim()
            fits = output.dim() > 1 and dims in (None, output.dim())
            others = [d for d in range(output.dim()) if d != axis]
            more = see(name, _mean(output, others, axis) if fits else None)
            shape = [-1 if d == axis else 1 for d in range(output.dim())]
            return output if more is None else output + more.to(output).reshape(shape)

        return after

    modules = dict(network.named_modules())
    handles = [modules[name].register_forward_hook(hook(name)) for name in places]
    try:
        return setting.forward(network, inputs)
    finally:
        for handle in handles:
            handle.remove()


def _first(answers: list[Tensor], few: Any, inputs: Any) -> list[Tensor]:
    """The answers to the first inputs, of those to all."""
    count, whole = length(few), length(inputs)
    return [t[:count] if t.dim() and len(t) == whole else t for t in answers]


def _error(answers: list[Tensor], wanted: list[Tensor]) -> float:
    """Of all answers, relative to their size."""
    if [t.shape for t in answers] != [t.shape for t in wanted]:
        return 0.0
    missed = sum(
        float((a.double() - b.double()).square().sum()) for a, b in zip(answers, wanted, strict=True)
    )
    size = sum(float(b.double().square().sum()) for b in wanted)
    return float((missed / size) ** 0.5) if size > 0 else 0.0


def _put(places: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    for name, bias in places.items():
        bias.copy_(values[name])


def _warn(text: str) -> None:
    warnings.warn(text, SzilardWarning, stacklevel=3)
