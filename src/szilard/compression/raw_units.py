"""Inputs in raw units: their sizes are estimated from the weights that read them.

If a network was trained on standardised inputs x' = x / s, and its first weight was divided by s, W = W' / s, it takes
raw inputs, and the sizes of its columns span as many decades as the units. If columns differ by far more than after
usual training, x_c is assumed to have the size s_c = 1 / ‖w_c‖, for which all columns give outputs of one size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from szilard.compression.norm_units import norms_behind, sizes_by_norm
from szilard.compression.random_inputs import random_inputs
from szilard.compression.sequential_rounding import DAMPING, inverse_roots
from szilard.errors import printable

SPAN = 30.0  # if the sizes of columns between ENDS differ by more than this factor, inputs are in raw units
ENDS = (0.05, 0.95)  # quantiles of the sizes of columns
FAR = 300.0  # a column this many times smaller than the median has its own unit
ALIKE = math.sqrt(SPAN)  # columns within this factor of the median have one unit
DEAD = 1e-8  # of the median: smaller columns read only zeros, and weight decay has removed them,
MANY = 16  # if there are at least this many; fewer are coded like others, which costs little
LESS = 0.5  # largest remaining spread of E[x²], in octaves, if the weights compensate the units
MOST = 1 << 21  # entries in float64 at a time
NOTE = "inputs were assumed to be in raw units, from the sizes of the first layer's columns"

_Reader = nn.Linear | _ConvNd | nn.RNNBase | nn.RNNCellBase


@dataclass(frozen=True, eq=False)
class RawUnits:
    """The units of a network's inputs.

    Attributes:
        columns: sizes of the inputs of columns, float64 ``[cols]``, by the names of the first weights.
        scale: size of every number of one input as the network takes it, ``[...]``; None if no input is known.
        by_norm: names of the layers whose units were estimated from a BatchNorm.
    """

    columns: Mapping[str, Tensor]
    scale: Tensor | None = None
    by_norm: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """The note for the user about the assumption."""
        if not self.by_norm:
            return NOTE
        return (
            f"inputs of layer {printable(self.by_norm[0] or 'itself')} were assumed to be in raw units, from the "
            "running variances of the BatchNorm after it, which do not show inputs that add less than a hundredth to "
            "each of them: give calibration data if such inputs matter"
        )

    def __bool__(self) -> bool:
        return bool(self.columns)

    def of(self, x: Tensor) -> Tensor:
        """Inputs ``[B, ...]`` of unit size, converted to raw units; inputs of unknown units stay as they are."""
        if self.scale is None or x.shape[1:] != self.scale.shape or not x.is_floating_point():
            return x
        return x * self.scale.to(x)


def raw_units(network: nn.Module) -> RawUnits:
    """Units estimated from the first weights; none if their columns are alike, or the first layers are not known.

    The first layers are those that read numbers of the network's input, found by a run on marked numbers. If no input
    is known, they are the first layer, unless there are embeddings, and layers with an input width that no layer
    outputs.

    Args:
        network: in eval mode.
    """
    readers = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, _Reader) and not getattr(module, "transposed", False)
    }
    known_sizes = {name: found for name, module in readers.items() if (found := _sizes_of(name, module))}
    norm = any(isinstance(module, _BatchNorm) for module in network.modules())
    if not known_sizes and not norm:
        return RawUnits({})
    guesses = random_inputs(network)[:1]
    by_norm = _sizes_from_norms(network, guesses) if norm else {}
    known_sizes |= by_norm
    if not known_sizes:
        return RawUnits({})
    for x in guesses:
        if not x.is_floating_point():
            return RawUnits({})  # tokens have no units
        marked = _marked(x)
        if marked is None:
            break
        scale = torch.ones(marked.shape[1:], dtype=torch.float64)
        first: dict[str, Tensor] = {}
        for name, given in _given(network, {name: readers[name] for name in known_sizes}, marked).items():
            axis = 1 if isinstance(readers[name], _ConvNd) else -1
            places, known = _places(given.movedim(axis, -1), marked[0])
            if int(known.flatten(0, -2).all(0).sum()) < 2:  # one could be equal by chance
                continue
            first |= known_sizes[name]
            size = next(iter(known_sizes[name].values())).reshape(places.shape[-1], -1)[:, 0]
            scale.view(-1)[places[known]] = size.expand_as(places)[known]
        layers = tuple(name for name in by_norm if set(by_norm[name]) & set(first))
        return RawUnits(first, scale if first else None, layers)
    made = {width for module in network.modules() for width in _made(module)}
    tokens = any(isinstance(module, nn.Embedding | nn.EmbeddingBag) for module in network.modules())
    start = None if tokens else next(iter(readers))
    first = {}
    for name, sizes in known_sizes.items():
        if name == start or _width(readers[name]) not in made:
            first |= sizes
    return RawUnits(first)


def sizes_of_inputs(weight: Tensor) -> Tensor | None:
    """Sizes of the inputs of a weight ``[rows, C, ...]`` for which all columns give outputs of one size, together about
    1; float64 ``[C · ...]``, the same at all places of a kernel.

    None if columns are alike. Columns within :data:`ALIKE` of the median have one unit. Many columns that are zero, or
    nearly zero, read inputs without effect, and have that unit, too.
    """
    if weight.dim() < 2 or weight.shape[1] < 2 or not weight.numel():
        return None
    matrix = weight.detach()
    matrix = matrix.flatten(2).transpose(1, 2).flatten(0, 1) if matrix.dim() > 2 else matrix
    norms = _norms(matrix)
    if not bool(torch.isfinite(norms).all()) or not bool((norms > 0).any()):
        return None
    usual = norms[norms > 0].median()
    dead = norms < DEAD * usual
    dead = dead if int(dead.sum()) >= MANY else norms == 0
    usual = norms[~dead].median()
    if not apart(norms[~dead].log()):
        return None
    norms = torch.where(dead | ((norms < ALIKE * usual) & (norms > usual / ALIKE)), usual, norms)
    found = math.sqrt(len(weight) / weight.shape[1]) / norms
    return found.repeat_interleave(weight[0, 0].numel())


def apart(logs: Tensor) -> bool:
    """Whether sizes, given by their logarithms, span more than :data:`SPAN`, or one is :data:`FAR` below the median."""
    if len(logs) < 2:
        return False
    logs = logs.sort().values
    low, high = (logs[round(end * (len(logs) - 1))] for end in ENDS)
    return bool(high - low > math.log(SPAN)) or bool(logs[len(logs) // 2] - logs[0] > math.log(FAR))


def balanced_roots(inputs: Tensor, weight: Tensor) -> list[Tensor]:
    """:func:`~szilard.compression.sequential_rounding.inverse_roots` of A, damped in the units of the inputs.

    If E[x_c²] spans decades only because of units, a share of the mean diagonal is much more than most entries of A.
    Then A is first divided by the units: the sizes of the weight's columns are their inverses, and give a similar
    diagonal.

    Args:
        inputs: A, ``[groups, cols, cols]`` or ``[groups, cols]``.
        weight: ``[rows, cols]``.
    """
    parts = weight.detach().cpu().reshape(len(inputs), -1, weight.shape[1])
    found = []
    for a, part in zip(inputs, parts, strict=True):
        factors = _factors(a.diagonal() if a.dim() == 2 else a, part)
        if factors is None:
            found += inverse_roots(a[None], DAMPING)
            continue
        # With D of the factors, (D A D)^-1 = UᵀU gives A^-1 = (U D)ᵀ U D, and U D is upper triangular, too.
        scaled = a.double() * (factors[:, None] * factors if a.dim() == 2 else factors.square())
        found.append(inverse_roots(scaled[None], DAMPING)[0] * factors)
    return found


def _factors(moments: Tensor, weight: Tensor) -> Tensor | None:
    """Sizes of columns if they compensate the spread of E[x²], float64 ``[cols]``; else None."""
    known = moments > 0
    if int(known.sum()) < 2 or not apart(-0.5 * moments[known].double().log()):
        return None
    norms = _norms(weight)
    known &= norms > 0
    known &= norms > DEAD * (norms[known].median() if bool(known.any()) else 1.0)
    before, sizes = moments[known].double().log(), 2 * norms[known].log()
    if int(known.sum()) < 2 or not float((before + sizes).std()) < LESS * float(before.std()):
        return None
    # Inputs that are always zero, or not read, are damped like most others.
    norms = torch.where(known, norms, norms[known].median())
    return norms / norms.log().mean().exp()


def _norms(matrix: Tensor) -> Tensor:
    """Norms of the columns, float64 ``[cols]``, without a copy of a large matrix."""
    total = torch.zeros(matrix.shape[1], dtype=torch.float64)
    for part in matrix.split(max(1, MOST // max(1, matrix.shape[1]))):
        total += part.cpu().double().square().sum(0)
    return total.sqrt()


def _sizes_of(name: str, module: nn.Module) -> dict[str, Tensor]:
    """Sizes of a layer's inputs, by the names of the weights that read them; empty if columns are alike."""
    if isinstance(module, _ConvNd) and module.groups > 1:
        return {}
    leaves = ["weight"]
    if isinstance(module, nn.RNNBase):
        leaves = ["weight_ih_l0", "weight_ih_l0_reverse"]
    elif isinstance(module, nn.RNNCellBase):
        leaves = ["weight_ih"]
    found = {}
    for leaf in leaves:
        weight = getattr(module, leaf, None)
        sizes = sizes_of_inputs(weight) if isinstance(weight, Tensor) else None
        if sizes is not None:
            found[f"{name}.{leaf}" if name else leaf] = sizes
    return found


def _sizes_from_norms(network: nn.Module, guesses: Sequence[Tensor]) -> dict[str, dict[str, Tensor]]:
    """The same from the BatchNorms after linear layers, if sizes differ by far more than within one unit."""
    found = {}
    for x in guesses:
        for name, norm in norms_behind(network, x).items():
            weight = network.get_submodule(name).weight
            assert isinstance(weight, Tensor)
            assert norm.running_var is not None
            sizes = sizes_by_norm(weight, norm.running_var + norm.eps)
            if sizes is not None and (apart(sizes.log()) or not 1 / FAR < float(sizes.median()) < FAR):
                found[name] = {f"{name}.weight" if name else "weight": sizes}
    return found


def _marked(x: Tensor) -> Tensor | None:
    """Inputs like ``x`` with different numbers within an example, the same in all examples; None if the type has too
    few numbers.
    """
    count = x[0].numel()
    values = (torch.arange(1, count + 1, dtype=torch.float64) / (count + 1)).to(x.dtype)
    if len(values.unique()) < count:
        values = (1 + torch.arange(128) / 128).to(x.dtype).repeat(16) * 2.0 ** torch.arange(-8, 8).to(
            x.dtype
        ).repeat_interleave(128)
        values = torch.cat([values, -values])[:count]
    if len(values) < count:
        return None
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return values[order].to(x).reshape(x.shape[1:]).expand_as(x).clone()


@torch.no_grad()
def _given(network: nn.Module, readers: Mapping[str, nn.Module], x: Tensor) -> dict[str, Tensor]:
    """The inputs of layers at their first call in a run."""
    found: dict[str, Tensor] = {}

    def see(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: tuple[Any, ...]) -> None:
            if name not in found and given and isinstance(given[0], Tensor):
                found[name] = given[0].detach().clone()

        return hook

    handles = [module.register_forward_pre_hook(see(name)) for name, module in readers.items()]
    try:
        network(x)
    except Exception:  # any error of a network on an input of the wrong shape
        return {}
    finally:
        for handle in handles:
            handle.remove()
    return found


def _places(given: Tensor, marked: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of numbers in the marked input, and whether they occur in it."""
    values, order = marked.flatten().cpu().double().sort()
    wanted = given.cpu().double()
    at = torch.searchsorted(values, wanted.contiguous()).clamp_max(len(values) - 1)
    return order[at], values[at] == wanted


def _made(module: nn.Module) -> list[int]:
    """Numbers of outputs of a layer for one position."""
    names = ("out_features", "out_channels", "hidden_size", "embedding_dim", "num_features")
    return [width for name in names if isinstance(width := getattr(module, name, None), int)]


def _width(module: nn.Module) -> int:
    names = ("in_features", "in_channels", "input_size")
    return next((width for name in names if isinstance(width := getattr(module, name, None), int)), 0)
