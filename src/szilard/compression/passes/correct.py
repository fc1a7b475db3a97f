"""Correct biases so that the means of a layer's outputs are those of the original network.

Rounding changes the mean of output r by (ŵ_r - w_r) E[x], and later layers compute with that. Layer by layer, in the
order in which the network calls them, the difference to the original network's mean is added to the bias (Nagel et al.
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
from szilard.compression.memory import Need, most_forward
from szilard.compression.probe import distance, numbers, tolerance
from szilard.errors import SzilardWarning, printable
from szilard.networks import is_itself

MOST = 1024  # inputs
MOST_VALUES = 1 << 23  # of all inputs together, because activations are in memory, too
MANY = 1 << 23  # most values of an output that are copied to float64 by channels
PART = 1 << 20  # values that are copied at a time
CHANNELS = 64  # least number of channels that are copied together
FEW = 32  # inputs for which outputs are compared
SLACK = 10.0  # factor on the tolerance of rounding: many small differences are added
WORSE = 1.25  # the correction is undone if the error of the outputs grows by more than this factor
SMALL = 1e-4  # error relative to the outputs that is always accepted

# By class, the number of dimensions of outputs (None: any), and the dimension to which the bias belongs.
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
    """Correct biases so that the mean of each output of each layer is the original's. Needs calibration inputs.

    A bias is changed only if its layer is exactly torch's own, has no hooks, is called once for an input, and does not
    share the bias. The outputs must then equal those with the differences added to the layers' outputs: a bias that is
    read in other places, too, is left unchanged, and a warning names it. If the outputs are farther from the original's
    than before, all changes are undone.

    Means are over as many inputs as fit in memory at once (:mod:`szilard.compression.memory`), at most :data:`MOST`: a
    layer's correction changes the inputs of the next one, so inputs in parts would need a forward pass for each layer.
    """

    name = "correct"
    summary = "Corrects biases for the change of means by rounding"
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
            _warn(f"biases of {shown}{more} are not corrected, because the network's outputs would be worse")


def at_once(setting: Setting) -> Any:
    """One batch of calibration inputs, as many as fit in memory at once, at most :data:`MOST`."""
    inputs = together(setting.inputs)
    values = max(1, sum(t.numel() for t in leaves(rows(inputs, slice(0, 1)))))
    inputs = rows(inputs, slice(0, max(1, min(MOST, MOST_VALUES // values))))
    return rows(inputs, slice(0, _fitting(setting, inputs)))


def corrected(draft: Draft, original: nn.Module) -> set[str]:
    """Names of the layers whose output means are corrected, by their own bias or that of the BatchNorm after them."""
    places = _places(draft, original)
    return {draft.norms.get(name, name) for name in places}


def _fitting(setting: Setting, inputs: Any) -> int:
    """How many of the inputs fit in memory at once; means over positions need only a few dozen."""
    key = Correct, "fitting"
    if key not in setting.memo:
        need = Need.of(setting.original, [inputs], setting.forward, gradients=False)
        setting.memo[key] = most_forward(setting.original, need, length(inputs))
    found: int = setting.memo[key]
    return found


def _mean(output: Tensor, others: list[int], axis: int) -> Tensor:
    """Mean over all dimensions but one, in float64, without a float64 copy of a large output."""
    if output.numel() <= MANY:  # by channels, which keeps the order of each sum, and its last bit
        some = CHANNELS * max(1, PART * output.shape[axis] // (CHANNELS * max(1, output.numel())))
        parts = [part.double().mean(others) for part in output.split(some, axis)]
        return torch.cat(parts)
    rows = output.movedim(axis, -1).flatten(0, -2).split(max(1, PART // output.shape[axis]))
    return torch.stack([part.double().sum(0) for part in rows]).sum(0) / (output.numel() / output.shape[axis])


def mean_by_channel(output: Tensor, others: list[int], axis: int) -> Tensor:
    """``output.double().mean(others)``, bit for bit: the same order of sums, but a few channels at a time."""
    some = CHANNELS * max(1, PART * output.shape[axis] // (CHANNELS * max(1, output.numel())))
    return torch.cat([part.double().mean(others) for part in output.split(some, axis)])


def _lift(
    network: nn.Module, places: dict[str, Tensor], means: dict[str, Tensor], inputs: Any, setting: Setting
) -> bool:
    """Correct biases, one layer after another; returns whether the network's outputs are then the expected ones."""
    moves: dict[str, Tensor] = {}

    def lift(name: str, mean: Tensor | None) -> Tensor | None:
        if mean is None or name not in means or name in moves or mean.shape != means[name].shape:
            return None
        moves[name] = means[name] - mean
        return moves[name]

    emulated = numbers(_run(network, places, inputs, setting, lift))
    for name, difference in moves.items():  # only now, so that other uses of a bias show in the outputs
        places[name].add_(difference.to(places[name]))
    modules = dict(network.named_modules())
    if any(isinstance(modules[name], RECTIFIED) for name in places):
        return True  # a bias before a rectifier changes the mean after it by less, so outputs are only close
    few = rows(inputs, slice(0, FEW))
    outputs = numbers(setting.forward(network, few))
    return distance(outputs, _first(emulated, few, inputs)) <= SLACK * tolerance(network, outputs)


def _original(
    setting: Setting, places: dict[str, Tensor], inputs: Any
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Means of the original's layer outputs that occur once, and its outputs for a few inputs; the same for every λ."""
    key = (Correct, tuple(places), length(inputs))
    if key not in setting.memo:
        seen: dict[str, list[Tensor | None]] = {}

        def note(name: str, mean: Tensor | None) -> None:
            seen.setdefault(name, []).append(mean)

        outputs = numbers(_run(setting.original, places, inputs, setting, note))
        means = {name: found[0] for name, found in seen.items() if len(found) == 1 and found[0] is not None}
        setting.memo[key] = means, _first(outputs, rows(inputs, slice(0, FEW)), inputs)
    found: tuple[dict[str, Tensor], list[Tensor]] = setting.memo[key]
    return found


def _wrong(network: nn.Module, places: dict[str, Tensor], few: Any, setting: Setting) -> list[str]:
    """Names of the layers whose bias does more than shift the layer's output."""
    modules, found = dict(network.named_modules()), []
    for name, bias in places.items():
        if isinstance(modules[name], RECTIFIED):
            continue
        more = bias.double().abs().mean().clamp_min(1e-2).expand(len(bias))
        emulated = numbers(_run(network, {name: bias}, few, setting, _once(more)))
        kept = bias.clone()
        bias.add_(more.to(bias))
        outputs = numbers(setting.forward(network, few))
        bias.copy_(kept)
        if distance(outputs, emulated) > SLACK * tolerance(network, outputs):
            found.append(name)
    return found


def _once(more: Tensor) -> See:
    """Add ``more`` only to the first output, so that a second call shows in the network's outputs."""
    left = [more]
    return lambda name, mean: left.pop() if left else None


def _places(draft: Draft, original: nn.Module) -> dict[str, Tensor]:
    """By the name of a module whose output mean is corrected, the bias; a BatchNorm replaces the layer before it."""
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
    """One forward pass; ``see`` receives the mean of each layer's output, and returns what is added to the output."""

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


def _first(outputs: list[Tensor], few: Any, inputs: Any) -> list[Tensor]:
    """The outputs for the first inputs, from the outputs for all."""
    count, whole = length(few), length(inputs)
    return [t[:count] if t.dim() and len(t) == whole else t for t in outputs]


def _error(outputs: list[Tensor], wanted: list[Tensor]) -> float:
    """Error of all outputs, relative to their size."""
    if [t.shape for t in outputs] != [t.shape for t in wanted]:
        return 0.0
    missed = sum(
        float((a.double() - b.double()).square().sum()) for a, b in zip(outputs, wanted, strict=True)
    )
    size = sum(float(b.double().square().sum()) for b in wanted)
    return float((missed / size) ** 0.5) if size > 0 else 0.0


def _put(places: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    for name, bias in places.items():
        bias.copy_(values[name])


def _warn(text: str) -> None:
    warnings.warn(text, SzilardWarning, stacklevel=3)
