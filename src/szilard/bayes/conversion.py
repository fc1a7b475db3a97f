"""Turn the weights of an ordinary network into random variables on supports."""

from __future__ import annotations

import warnings
from collections.abc import Collection

import torch
from torch import nn

from szilard.bayes.batch_innermost import keep_innermost
from szilard.bayes.change import change
from szilard.bayes.choice import Choice, Selection
from szilard.bayes.drawn_weights import drawn_modules
from szilard.bayes.every import every_weight
from szilard.bayes.fuse import fuse_rectifiers
from szilard.bayes.initial import Start, make_weight
from szilard.bayes.layers import BayesConv, bayes_layers
from szilard.bayes.noise import Noise, mix
from szilard.bayes.priors import Prior, make_prior
from szilard.bayes.selection import Found, Left, all_weights, find, is_first
from szilard.bayes.weight import Weight
from szilard.errors import SzilardError, SzilardWarning
from szilard.networks import copied
from szilard.sparse import Neuron, Pattern, budgets, check_density, make_pattern
from szilard.sparse.pattern import UNSTRUCTURED

_SHOWN = 4  # names in a warning


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
    only: Choice = None,
    except_: Choice = None,
    matrices: str | Collection[str] = (),
    skip: Collection[str] = (),
    point: bool = False,
    seed: int = 0,
    stored: Collection[str] = (),
) -> nn.Module:
    """A copy of ``network`` whose matrices are Gaussian on a support.

    These are the weights of linear layers, convolutions (transposed ones, too), attention, recurrent layers,
    embeddings and bilinear layers, and of classes made from them, with their own forward. Pretrained weights are kept:
    the support holds the largest of them and they become the means. Biases, normalisation and every other layer stay as
    they are, and so do frozen weights; of a network that is frozen as a whole, means and σ are frozen. A weight that
    stays dense although nobody asked for it is named in a :class:`~szilard.errors.SzilardWarning`. In training mode the
    network answers by local reparametrisation, in eval mode by its mean; see :mod:`szilard.bayes.modes` for the others.

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
        only: convert these alone: a pattern (:mod:`fnmatch`) for names of modules, which takes all inside them, a list
            of patterns, or a function of (name, module) that is asked for each module with weights.
        except_: leave these alone; as ``only``, and it counts before it.
        matrices: patterns for names of bare ``nn.Parameter`` matrices of own modules, which are converted, too.
        skip: names of modules (and all inside) to leave alone.
        point: keep point weights (σ = 0): the same sparse network without uncertainty.
        seed: of the random support, the fresh means and the layers' noise.
        stored: names of the tensors in a file that the result is to be loaded from: they say which weights were
            converted then, whatever would be today.

    Raises:
        SzilardError: density outside (0, 1]; nothing to convert; options that would change nothing; an unknown
            pattern; a name in ``skip``, or a pattern, that matches nothing; a weight without a shape; a network that
            cannot be copied.
    """
    if not stored and torch.is_inference_mode_enabled():
        raise SzilardError(
            "a network that is made under torch.inference_mode cannot be trained; make it outside of that block"
        )
    check_density(density)
    pattern = make_pattern(pattern)
    if any(every_weight(network)):
        raise SzilardError(
            "the network is Bayesian already; pass the original network, or train this one as it is"
        )
    _refuse_idle(prior, prior_scale, initial_std, point)
    if isinstance(prior, str):
        prior = make_prior(prior, prior_scale)
    if not initial_std > 0:
        raise SzilardError(f"initial_std must be positive, not {initial_std:g}")
    network = copied(network)
    frozen = not any(parameter.requires_grad for parameter in network.parameters())
    found, left = find(network, Selection(only, except_, matrices, skip, stored, frozen))
    if stored and not found:  # of another network, which whoever loads it will say
        found, left = find(network, Selection(only, except_, matrices, skip, (), frozen))
    if not found:
        raise SzilardError(_nothing(network, only is not None or except_ is not None or bool(skip)))
    for one in found if not stored and not fresh else []:
        if not all(t.is_meta or bool(torch.isfinite(t).all()) for t in one.tensors):
            raise SzilardError(f"{one.name or 'the network'} holds NaN or infinite weights; mend them first")
    total = all_weights(network)
    patterns = _patterns(found, pattern)
    alone = len(found) == 1  # then it is what the density is asked for
    stem = (
        dense_stem
        and density < 1
        and found[0].how == "convolution"
        and not alone
        and is_first(network, found[0].module)
    )
    kept = _budgets(found, patterns, density, allocation, stem)

    noise = Noise(seed)
    start = Start(fresh, prior, initial_std, point)
    made: list[list[Weight]] = []
    number = 0
    for one in found:
        parts = []
        for part in range(len(one.tensors)):
            generator = torch.Generator().manual_seed(mix(seed, number))
            parts.append(make_weight(one, part, kept[number], patterns[number], start, generator))
            number += 1
            parts[-1].requires_grad_(not frozen)
        made.append(parts)
    made[0][0].stem = stem
    failed = change(network, found, made, noise)
    if not stored and not any(parameter.is_meta for parameter in network.parameters()):
        _tell(left + failed, total, density == 1 and point)
        _tell_dense_products(network, density)
    fuse_rectifiers(network)
    if density < 1:
        _lay_out(network)
    return network


def _refuse_idle(prior: Prior | str, prior_scale: float, initial_std: float, point: bool) -> None:
    """Options that would change nothing."""
    if not isinstance(prior, str) and prior_scale != 1.0:
        raise SzilardError(
            "prior_scale is for priors by name, and a prior object has its own scale; leave prior_scale out"
        )
    if point and (prior != "fan-in" or prior_scale != 1.0 or initial_std != 0.1):
        raise SzilardError(
            "point=True makes weights without σ, for which prior, prior_scale and initial_std change nothing; leave "
            "them out"
        )


def _nothing(network: nn.Module, chosen: bool) -> str:
    """Why there is no weight to convert."""
    if chosen:
        return "only, except_ and skip leave no weight that could be made Bayesian; look at network.named_modules()"
    if any(isinstance(module, torch.jit.ScriptModule) for module in network.modules()):
        return "the network is TorchScript, whose layers cannot change; pass the module that was scripted or traced"
    if any(p.dim() > 1 and not p.requires_grad for p in network.parameters()):
        return (
            "all weights that could be made Bayesian are frozen; call requires_grad_(True) on those to be trained, or "
            "name bare matrices in matrices="
        )
    return (
        "the network has no linear, convolution, recurrent, embedding or attention weight that could be made "
        "Bayesian; name bare matrices in matrices="
    )


def _patterns(found: list[Found], pattern: Pattern) -> list[Pattern]:
    """Of each weight. Whole neurons are those of layers that read each other; a drawn weight has none."""
    drawn = [one.how == "drawn" for one in found for _ in one.tensors]
    if not isinstance(pattern, Neuron):
        return [pattern] * len(drawn)
    layers = [n for n, is_drawn in enumerate(drawn) if not is_drawn]
    return [
        UNSTRUCTURED if is_drawn else pattern.placed(first=n == layers[0], last=n == layers[-1])
        for n, is_drawn in enumerate(drawn)
    ]


def _budgets(
    found: list[Found], patterns: list[Pattern], density: float, allocation: str, stem: bool
) -> list[int]:
    """Entries of each weight; with a dense ``stem`` the first has them all and the others share their own density."""
    shapes = [tensor.shape for one in found for tensor in one.tensors]
    kept = [shape.numel() for shape in shapes]
    rest = list(range(1 if stem else 0, len(shapes)))
    for whole in (True, False):  # whole neurons share a density of their own
        part = [n for n in rest if isinstance(patterns[n], Neuron) is whole]
        if part:
            chosen = budgets([patterns[n] for n in part], [shapes[n] for n in part], density, allocation)
            for n, entries in zip(part, chosen, strict=True):
                kept[n] = entries
    return kept


def _tell_dense_products(network: nn.Module, density: float) -> None:
    """Say where a density below 1 saves memory and bytes and no time."""
    names = [
        f"{name or 'the network'} ({type(one)._drawn_kind.__name__})" for name, one in drawn_modules(network)
    ]
    if density < 1 and names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        warnings.warn(
            f"{', '.join(names[:_SHOWN])}{more}: sparse, but multiplied as dense weights, so that a density of "
            f"{density:g} saves bytes there and no time",
            SzilardWarning,
            stacklevel=3,
        )


def _tell(left: list[Left], total: int, nothing_asked: bool) -> None:
    """Name what stays dense although nobody asked for it."""
    if not left or nothing_asked:
        return
    names = [f"{one.name} ({one.why})" for one in left[:_SHOWN]]
    more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
    stay, them = ("stays", "it") if len(left) == 1 else ("stay", "them")
    numbers = sum(one.numbers for one in left)
    alone = all(one.why == "a matrix of no layer" for one in left)
    advice = (
        f"name {them} in matrices= to convert {them}, or in except_=" if alone else f"name {them} in except_="
    )
    warnings.warn(
        f"{', '.join(names)}{more} {stay} dense and without uncertainty, {numbers:,} of the network's {total:,} "
        f"weights ({numbers / max(total, 1):.0%}); {advice} to leave {them} so without this warning",
        SzilardWarning,
        stacklevel=3,
    )


def _lay_out(network: nn.Module) -> None:
    """Let sparse convolutions, and what lies between them, keep the batch innermost."""
    keep_innermost(network)
    for layer in bayes_layers(network).values():
        if isinstance(layer, BayesConv):
            layer.innermost = True
