"""BatchNorm in its canonical form: four numbers per channel become one.

In eval mode ``γ (x - m) / √(v + ε) + β`` is ``a x + b``. If ``x`` is the output of a convolution or linear layer that
nothing else reads, ``a`` is multiplied into its rows. ``b`` stays; γ, m and v become 1, 0 and 1 - ε, which cost
nothing.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from szilard.compression.draft import Draft, Setting
from szilard.compression.graph import NORMS, Graph, Run, shared
from szilard.compression.probe import Probe
from szilard.errors import SzilardWarning, printable
from szilard.networks import is_itself

Rows = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
# By class, the number of dimensions of outputs that a BatchNorm normalises by row.
_ROWS: dict[type, int] = {nn.Linear: 2, nn.Conv1d: 3, nn.Conv2d: 4, nn.Conv3d: 5}


class CanonicalBatchNorm:
    """Rewrite every BatchNorm that has running statistics; the function in eval mode does not change.

    Layers are changed only if they are exactly torch's own, have no hooks or computed weights, and share no tensor. The
    outputs for a few inputs are compared before and after; a change that alters them is undone, and a warning names the
    BatchNorm. Without calibration inputs, outputs are compared on random inputs of the shapes that the network takes; a
    linear layer before a BatchNorm is then left unchanged if both ``[B, features]`` and ``[B, C, features]`` run,
    because the BatchNorm normalises different things in them.

    The network must not be trained further in train mode: its statistics are no longer those of its activations.
    """

    name = "canonical-batchnorm"
    summary = "Rewrites BatchNorm: one number per channel instead of four"
    order = 1

    def __call__(self, draft: Draft, setting: Setting) -> None:
        network = draft.network
        begun = _untouched(draft, setting.original)
        if begun and (CanonicalBatchNorm, "made") in setting.memo:
            made: dict[str, str | None] = setting.memo[CanonicalBatchNorm, "made"]
            for name, layer in made.items():
                _rewrite(network.get_submodule(name), None if layer is None else network.get_submodule(layer))
            draft.norms |= {name: layer for name, layer in made.items() if layer is not None}
            return
        held = shared(network)
        norms = {name: m for name, m in network.named_modules() if _is_understood(m, held)}
        if not norms:
            return
        probe = Probe.of(network, setting.inputs, setting.forward)
        if probe is None:
            _warn(
                "BatchNorm stays as it is, because no input is known for which the outputs could be compared; "
                "give calibration data"
            )
            return
        before = before_norms(network, probe)
        changes = [_Change(name, norm, *before.get(name, (None, None))) for name, norm in norms.items()]
        for change in changes:
            change.make()
        if not probe.agrees(network):
            for change in reversed(changes):
                change.undo()
            changes = [kept for change in changes for kept in _checked(change, network, probe)]
        if begun:  # the changes are the same for every λ
            setting.memo[CanonicalBatchNorm, "made"] = {change.name: change.layer for change in changes}
        draft.norms |= {change.name: change.layer for change in changes if change.layer is not None}


def _untouched(draft: Draft, original: nn.Module) -> bool:
    """Whether no pass has changed anything yet."""
    if draft.quantised or draft.random or draft.products or draft.norms:
        return False
    ours, theirs = draft.network.state_dict(), original.state_dict()
    return ours.keys() == theirs.keys() and all(
        isinstance(t, Tensor) and torch.equal(t, theirs[name]) for name, t in ours.items()
    )


def before_norms(network: nn.Module, probe: Probe) -> dict[str, tuple[str, Rows]]:
    """By the name of a BatchNorm, name and module of the layer whose output is read only there.

    Empty, with a warning, if the network's graph cannot be traced.
    """
    try:
        graph = Graph.of(network)
    except Exception as error:  # any error of a forward that cannot be traced
        _warn(
            f"BatchNorm is not multiplied into its convolutions, because the network has no static graph "
            f"({printable(str(error), 200)}); the file is some per cent larger than it could be"
        )
        return {}
    held = shared(network)
    run = Run.of(network, probe.inputs, probe.forward)
    names = {id(module): name for name, module in network.named_modules()}
    found = {}
    for node in graph.nodes:
        norm = graph.module(node)
        source = node.args[0] if node.args else None
        if not _is_understood(norm, held) or not isinstance(source, fx.Node) or len(source.users) != 1:
            continue
        layer = graph.module(source)
        if (
            isinstance(layer, Rows)
            and is_itself(layer, tuple(_ROWS))
            and all(graph.is_single(one) and run.calls[id(one)] == 1 for one in (norm, layer))
            and not any(id(p) in held for p in layer.parameters(recurse=False))
            and run.dims.get(id(layer)) == {_ROWS[type(layer)]}
        ):
            found[names[id(norm)]] = (names[id(layer)], layer)
    return found


@dataclass(eq=False)
class _Change:
    """A BatchNorm that is rewritten, and the layer into which its slope is multiplied, if there is one."""

    name: str
    norm: _BatchNorm
    layer: str | None
    rows: Rows | None
    saved: list[tuple[Tensor, Tensor]] | None = None

    def make(self) -> None:
        touched = [*self.norm.parameters(), self.norm.running_mean, self.norm.running_var]
        touched += [] if self.rows is None else self.rows.parameters()
        self.saved = [(t, t.detach().clone()) for t in touched if t is not None]
        _rewrite(self.norm, self.rows)

    @torch.no_grad()
    def undo(self) -> None:
        for tensor, value in self.saved or ():
            tensor.copy_(value)


def _checked(change: _Change, network: nn.Module, probe: Probe) -> list[_Change]:
    """Make one change, or the part of it that keeps the outputs."""
    change.make()
    if probe.agrees(network):
        return [change]
    change.undo()
    name = printable(change.name)
    kept = (
        f"{name} stays as it was"
        if change.layer is None
        else f"{name} is not multiplied into {printable(change.layer)}"
    )
    _warn(
        f"BatchNorm {kept}, because that would change the network's outputs; the file is a little larger than it "
        "could be"
    )
    return (
        []
        if change.layer is None
        else _checked(_Change(change.name, change.norm, None, None), network, probe)
    )


def _is_understood(module: nn.Module | None, held: set[int]) -> TypeGuard[_BatchNorm]:
    if not isinstance(module, _BatchNorm) or not is_itself(module, NORMS) or module.training:
        return False
    tensors = (module.weight, module.bias, module.running_mean, module.running_var)
    return all(t is not None and id(t) not in held and bool(torch.isfinite(t).all()) for t in tensors)


def _warn(text: str) -> None:
    warnings.warn(text, SzilardWarning, stacklevel=3)


@torch.no_grad()
def _rewrite(norm: nn.Module, layer: nn.Module | None) -> None:
    assert isinstance(norm, _BatchNorm)
    assert isinstance(layer, Rows | None)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    slope = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    offset = norm.bias.double() - slope * norm.running_mean.double()
    if layer is not None:
        if layer.bias is not None:
            offset += slope * layer.bias.double()
            layer.bias.zero_()
        shape = (-1,) + (1,) * (layer.weight.dim() - 1)
        layer.weight.mul_(slope.reshape(shape).to(layer.weight))
        slope = torch.ones_like(slope)
    norm.weight.copy_(slope)
    norm.bias.copy_(offset)
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)
