"""Inputs in units of their own, as the weights that read them tell.

Training on standardised inputs x' = x / s and dividing the first weight by s, W = W' / s, leaves a network that takes
raw inputs, and columns whose sizes span as many decades as the units do: where columns differ by far more than
training makes them, x_c is taken to be of the size s_c = 1 / ‖w_c‖, so that all columns make outputs of one size.
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

from szilard.compression.guess import guess_inputs
from szilard.compression.norm_units import norms_behind, sizes_by_norm
from szilard.compression.sequential_rounding import DAMPING, inverse_roots
from szilard.errors import printable

SPAN = 30.0  # between the ends of the sizes of columns, above which they are units
ENDS = (0.05, 0.95)  # quantiles
FAR = 300.0  # below the median, at which one column has a unit of its own
ALIKE = math.sqrt(SPAN)  # from the median, up to which columns differ as those of one unit do
DEAD = 1e-8  # of the median: below, weight decay has left nothing of columns that read zeros,
MANY = 16  # if they are so many; fewer are coded all the same, which costs little
LESS = 0.5  # of the spread of E[x²] in octaves, that must be left where weights make good for units
MOST = 1 << 21  # entries in float64 at a time
NOTE = "inputs were taken to be in units of their own, by the first layer's columns"

_Reader = nn.Linear | _ConvNd | nn.RNNBase | nn.RNNCellBase


@dataclass(frozen=True, eq=False)
class OwnUnits:
    """Of a network's inputs.

    Attributes:
        columns: sizes of the inputs of columns, float64 ``[cols]``, by the names of the first weights.
        scale: size of every number of one input as the network takes it, ``[...]``; None where no input is known.
        by_norm: names of the layers whose units a BatchNorm told.
    """

    columns: Mapping[str, Tensor]
    scale: Tensor | None = None
    by_norm: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """What was assumed."""
        if not self.by_norm:
            return NOTE
        return (
            f"inputs of layer {printable(self.by_norm[0] or 'itself')} were taken to be in units of their own, by the "
            "running variances of the BatchNorm behind it, which tell nothing of an input that adds less than a "
            "hundredth to each of them: give calibration data if such inputs count"
        )

    def __bool__(self) -> bool:
        return bool(self.columns)

    def of(self, x: Tensor) -> Tensor:
        """Inputs ``[B, ...]`` of unit size in their own units; others than those that are known stay as they are."""
        if self.scale is None or x.shape[1:] != self.scale.shape or not x.is_floating_point():
            return x
        return x * self.scale.to(x)


def own_units(network: nn.Module) -> OwnUnits:
    """Units that the first weights tell; none where their columns are alike, or nobody knows which are first.

    First are layers that get numbers of the network's input, as a run on marked numbers shows. Where no such input is
    known, they are the first layer unless there are embeddings, and those that are as wide as no other layer's output.

    Args:
        network: in eval mode.
    """
    readers = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, _Reader) and not getattr(module, "transposed", False)
    }
    told = {name: found for name, module in readers.items() if (found := _told(name, module))}
    norm = any(isinstance(module, _BatchNorm) for module in network.modules())
    if not told and not norm:
        return OwnUnits({})
    guesses = guess_inputs(network)[:1]
    by_norm = _told_by_norm(network, guesses) if norm else {}
    told |= by_norm
    if not told:
        return OwnUnits({})
    for x in guesses:
        if not x.is_floating_point():
            return OwnUnits({})  # tokens have no units
        marked = _marked(x)
        if marked is None:
            break
        scale = torch.ones(marked.shape[1:], dtype=torch.float64)
        first: dict[str, Tensor] = {}
        for name, given in _given(network, {name: readers[name] for name in told}, marked).items():
            axis = 1 if isinstance(readers[name], _ConvNd) else -1
            places, known = _places(given.movedim(axis, -1), marked[0])
            if int(known.flatten(0, -2).all(0).sum()) < 2:  # one may be by chance
                continue
            first |= told[name]
            size = next(iter(told[name].values())).reshape(places.shape[-1], -1)[:, 0]
            scale.view(-1)[places[known]] = size.expand_as(places)[known]
        layers = tuple(name for name in by_norm if set(by_norm[name]) & set(first))
        return OwnUnits(first, scale if first else None, layers)
    made = {width for module in network.modules() for width in _made(module)}
    tokens = any(isinstance(module, nn.Embedding | nn.EmbeddingBag) for module in network.modules())
    start = None if tokens else next(iter(readers))
    first = {}
    for name, sizes in told.items():
        if name == start or _width(readers[name]) not in made:
            first |= sizes
    return OwnUnits(first)


def sizes_of_inputs(weight: Tensor) -> Tensor | None:
    """Sizes of the inputs of a weight ``[rows, C, ...]`` such that columns make outputs of one size, and all of them
    together of about 1; float64 ``[C · ...]``, the same at all places of a kernel.

    None where columns are alike. Columns within :data:`ALIKE` of the median have one unit. Those that are zero, or
    nearly, and many, read what counts for nothing, and have that unit, too.
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
    """Whether sizes, by their logarithms, span more than :data:`SPAN`, or one lies :data:`FAR` below most."""
    if len(logs) < 2:
        return False
    logs = logs.sort().values
    low, high = (logs[round(end * (len(logs) - 1))] for end in ENDS)
    return bool(high - low > math.log(SPAN)) or bool(logs[len(logs) // 2] - logs[0] > math.log(FAR))


def balanced_roots(inputs: Tensor, weight: Tensor) -> list[Tensor]:
    """:func:`~szilard.compression.sequential_rounding.inverse_roots` of A, damped in units of the inputs.

    A share of the mean diagonal of A is far more than A where E[x_c²] spans decades only because of units. There, A is
    divided by them first: the sizes of columns of the weight are their inverses, and make a diagonal that is alike.

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
    """Sizes of columns where they make good for E[x²], float64 ``[cols]``."""
    known = moments > 0
    if int(known.sum()) < 2 or not apart(-0.5 * moments[known].double().log()):
        return None
    norms = _norms(weight)
    known &= norms > 0
    known &= norms > DEAD * (norms[known].median() if bool(known.any()) else 1.0)
    before, sizes = moments[known].double().log(), 2 * norms[known].log()
    if int(known.sum()) < 2 or not float((before + sizes).std()) < LESS * float(before.std()):
        return None
    # What is always zero, or read by nothing, is damped as most are.
    norms = torch.where(known, norms, norms[known].median())
    return norms / norms.log().mean().exp()


def _norms(matrix: Tensor) -> Tensor:
    """Of the columns, float64; without a copy of a large matrix."""
    total = torch.zeros(matrix.shape[1], dtype=torch.float64)
    for part in matrix.split(max(1, MOST // max(1, matrix.shape[1]))):
        total += part.cpu().double().square().sum(0)
    return total.sqrt()


def _told(name: str, module: nn.Module) -> dict[str, Tensor]:
    """Sizes of the inputs of a layer's weights that read them, by their names; empty where columns are alike."""
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


def _told_by_norm(network: nn.Module, guesses: Sequence[Tensor]) -> dict[str, dict[str, Tensor]]:
    """The same by the BatchNorms behind linear layers, where sizes differ by far more than those of one unit do."""
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
    """Inputs like ``x`` whose numbers differ within an example, and are the same in all; None where its type has too
    few of them.
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
    """What layers get at their first call in a run."""
    found: dict[str, Tensor] = {}

    def see(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: tuple[Any, ...]) -> None:
            if name not in found and given and isinstance(given[0], Tensor):
                found[name] = given[0].detach().clone()

        return hook

    handles = [module.register_forward_pre_hook(see(name)) for name, module in readers.items()]
    try:
        network(x)
    except Exception:  # whatever a network does with an input that it was not made for
        return {}
    finally:
        for handle in handles:
            handle.remove()
    return found


def _places(given: Tensor, marked: Tensor) -> tuple[Tensor, Tensor]:
    """Where numbers stand in the one input that is marked, and whether they do."""
    values, order = marked.flatten().cpu().double().sort()
    wanted = given.cpu().double()
    at = torch.searchsorted(values, wanted.contiguous()).clamp_max(len(values) - 1)
    return order[at], values[at] == wanted


def _made(module: nn.Module) -> list[int]:
    """How many numbers a layer makes of one position."""
    names = ("out_features", "out_channels", "hidden_size", "embedding_dim", "num_features")
    return [width for name in names if isinstance(width := getattr(module, name, None), int)]


def _width(module: nn.Module) -> int:
    names = ("in_features", "in_channels", "input_size")
    return next((width for name in names if isinstance(width := getattr(module, name, None), int)), 0)
