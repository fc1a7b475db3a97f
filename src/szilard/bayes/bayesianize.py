"""Turn the weights of an ordinary network into random variables on supports."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection

import torch
from torch import Tensor, nn

from szilard.bayes.attention import BayesAttention
from szilard.bayes.fuse import fuse_rectifiers
from szilard.bayes.layers import BayesConv, BayesLayer, BayesLinear, bayes_layers
from szilard.bayes.layout import keep_innermost
from szilard.bayes.noise import Noise, mix
from szilard.bayes.priors import Prior, make_prior
from szilard.bayes.weight import Weight
from szilard.errors import SzilardError
from szilard.sparse import Pattern, Support, budgets, check_density, make_pattern
from szilard.sparse.pattern import UNSTRUCTURED

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)


def bayesianize(
    network: nn.Module,
    density: float = 1.0,
    *,
    fresh: bool = False,
    prior: Prior | str = "fan-in",
    prior_scale: float = 1.0,
    initial_std: float = 0.1,
    allocation: str = "uniform",
    dense_stem: bool = True,
    pattern: str | Pattern = "unstructured",
    skip: Collection[str] = (),
    point: bool = False,
    seed: int = 0,
) -> nn.Module:
    """A copy of ``network`` whose linear, convolution and attention weights are Gaussian on a support.

    Pretrained weights are kept: the support holds the largest of them and they become the means. Biases,
    normalisation and every other layer stay as they are. In training mode the network answers by local
    reparametrisation, in eval mode by its mean; see :mod:`szilard.bayes.modes` for the others.

    Args:
        network: any module; it is not changed. Of one on the meta device an outline is made, with the shapes of
            the result and no memory, into which a state dict is loaded with ``assign=True``.
        density: fraction of each weight's entries that exist, in (0, 1].
        fresh: train from scratch: supports drawn at random and means from N(0, 2 / (fan_in * density)), so
            that signals keep their size in a sparse network (He et al. 2015, for the fan-in that exists).
        prior: ``"fan-in"``, ``"fixed"``, ``"learned"`` or an object of :mod:`szilard.bayes.priors`.
        prior_scale: scale of a named prior; for ``"fan-in"`` in units of 1/sqrt(existing fan-in).
        initial_std: σ at the start, as a fraction of the root mean square of the weight's means.
        allocation: ``"uniform"`` or ``"erk"`` (small layers denser, same total).
        dense_stem: leave the first layer dense if it is a convolution (few weights, every feature passes it).
        pattern: in which units a weight exists: ``"unstructured"``, blocks such as ``"block32"``, or ``"neuron"``
            (whole rows and columns), where the first weight found keeps all its inputs and the last one all its
            outputs. Each weight keeps its share of ``density`` to the nearest unit, and at least one.
        skip: names of modules (and all inside) to leave alone.
        point: keep point weights (σ = 0): the same sparse network without uncertainty.
        seed: of the random support, the fresh means and the layers' noise.

    Raises:
        SzilardError: density outside (0, 1]; nothing to convert; an unknown pattern; a name in ``skip`` that does
            not exist.
    """
    check_density(density)
    pattern = make_pattern(pattern)
    names = {name for name, _ in network.named_modules()}
    for name in skip:
        if name not in names:
            raise SzilardError(f"skip names {name!r}, but the network has no module of that name")
    if bayes_layers(network):
        raise SzilardError(
            "the network is Bayesian already; pass the original network, or train this one as it is"
        )
    if isinstance(prior, str):
        prior = make_prior(prior, prior_scale)
    if not initial_std > 0:
        raise SzilardError(f"initial_std must be positive, not {initial_std:g}")
    network = copy.deepcopy(network)
    found = _weights_of(network, skip)
    if not found:
        raise SzilardError(
            "the network has no linear, convolution or attention weight that could be made Bayesian"
        )
    patterns = [pattern.placed(first=i == 0, last=i == len(found) - 1) for i in range(len(found))]
    stem = dense_stem and density < 1 and isinstance(found[0][1], _CONVOLUTIONS)
    kept = _budgets([tensor.shape for _, _, tensor in found], patterns, density, allocation, stem)

    noise = Noise(seed)
    made: dict[tuple[str, int], Weight] = {}
    part_of: dict[str, int] = {}
    for (name, _, tensor), placed, nnz in zip(found, patterns, kept, strict=True):
        part = part_of[name] = part_of.get(name, -1) + 1
        generator = torch.Generator().manual_seed(mix(seed, len(made)))
        made[name, part] = _weight(tensor, nnz, placed, fresh, prior, initial_std, point, generator)
    root: nn.Module = nn.ModuleList([network])  # so that the root itself can be replaced
    replaced: dict[nn.Module, nn.Module] = {}
    for name in dict.fromkeys(name for name, _, _ in found):
        module = network.get_submodule(name)
        replaced[module] = _layer(module, [made[name, part] for part in range(part_of[name] + 1)], noise)
    for parent in list(root.modules()):
        for child_name, child in list(parent._modules.items()):  # named_children skips a second mention
            if child in replaced:
                setattr(parent, child_name, replaced[child])
    answer = root[0]  # type: ignore[index]
    fuse_rectifiers(answer)
    if density < 1:
        _lay_out(answer)
    return answer.train(network.training)


def _budgets(
    shapes: list[torch.Size], patterns: list[Pattern], density: float, allocation: str, stem: bool
) -> list[int]:
    """Entries of each weight; with a dense ``stem`` the first has them all and the others share their own density."""
    dense = [shapes[0].numel()] if stem else []
    rest = shapes[len(dense) :]
    return dense + (budgets(patterns[len(dense) :], rest, density, allocation) if rest else [])


def _lay_out(network: nn.Module) -> None:
    """Let sparse convolutions, and what lies between them, keep the batch innermost."""
    keep_innermost(network)
    for layer in bayes_layers(network).values():
        if isinstance(layer, BayesConv):
            layer.innermost = True


def _weights_of(network: nn.Module, skip: Collection[str]) -> list[tuple[str, nn.Module, Tensor]]:
    """(module name, module, dense weight) of everything to convert; attention gives four."""
    shared = _shared_parameters(network)
    found: list[tuple[str, nn.Module, Tensor]] = []
    inside: list[str] = list(skip)
    for name, module in network.named_modules():
        if any(name == s or name.startswith(s + ".") for s in inside if s):
            continue
        if isinstance(module, nn.MultiheadAttention):
            inside.append(name)
            found += [(name, module, part) for part in _projections(module)]
        elif isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d) and id(module.weight) not in shared:
            found.append((name, module, module.weight))  # a tied weight must stay one tensor
    return found


def _shared_parameters(network: nn.Module) -> set[int]:
    seen: dict[int, nn.Module] = {}
    shared = set()
    for module in network.modules():
        for parameter in module.parameters(recurse=False):
            if seen.setdefault(id(parameter), module) is not module:
                shared.add(id(parameter))
    return shared


def _projections(attention: nn.MultiheadAttention) -> list[Tensor]:
    if attention.in_proj_weight is not None:
        first = list(attention.in_proj_weight.chunk(3))
    else:
        first = [attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight]
    return [*first, attention.out_proj.weight]


def _weight(
    dense: Tensor,
    nnz: int,
    pattern: Pattern,
    fresh: bool,
    prior: Prior,
    initial_std: float,
    point: bool,
    generator: torch.Generator,
) -> Weight:
    dense = dense.detach()
    if dense.is_meta:  # the outline of a network: shapes alone
        placed = UNSTRUCTURED if nnz == dense.numel() else pattern
        support, mean = Support.outline(dense.shape, nnz, placed), dense.new_empty(nnz)
        return Weight(support, mean, None if point else torch.empty_like(mean), prior)
    if nnz == dense.numel():
        support = Support.full(dense.shape)
    elif fresh:
        support = Support.from_flat(dense.shape, pattern.fresh(dense.shape, nnz, generator), pattern)
    else:
        support = Support.largest(dense, nnz, pattern)
    support = support.to(dense.device)
    mean = support.gather(dense).clone()
    if fresh:
        drawn = torch.randn(support.nnz, generator=generator, dtype=torch.float32)
        mean = (drawn * math.sqrt(2 / support.fan_in)).to(dense)
    scale = mean.square().mean().sqrt().clamp(min=1e-6) * initial_std
    log_std = None if point else scale.log().expand(support.nnz).clone()
    return Weight(support, mean, log_std, prior)


def _layer(module: nn.Module, weights: list[Weight], noise: Noise) -> nn.Module:
    if isinstance(module, nn.MultiheadAttention):
        biases = [None] * 3 if module.in_proj_bias is None else list(module.in_proj_bias.chunk(3))
        biases.append(module.out_proj.bias)
        layers = [BayesLinear(w, _copied(b), noise) for w, b in zip(weights, biases, strict=True)]
        return BayesAttention(module, *layers)
    bias = _copied(module.bias)  # type: ignore[arg-type]
    if isinstance(module, nn.Linear):
        return BayesLinear(weights[0], bias, noise)
    return _conv(module, weights[0], bias, noise)  # type: ignore[arg-type]


def _conv(module: nn.Conv1d | nn.Conv2d, weight: Weight, bias: Tensor | None, noise: Noise) -> BayesLayer:
    pad = None
    padding = module.padding
    if isinstance(padding, str) or module.padding_mode != "zeros":
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        pad = (list(module._reversed_padding_repeated_twice), mode)
        padding = (0,) * len(module.stride)
    return BayesConv(
        weight, bias, noise,
        stride=module.stride, padding=padding, dilation=module.dilation, groups=module.groups, pad=pad,
    )  # fmt: skip


def _copied(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.detach().clone()
