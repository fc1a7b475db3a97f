"""Turn the weights of an ordinary network into random variables on supports."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import replace

import torch
from torch import nn

from szilard.bayes.allocated import Allocation, entries_of, patterns_of
from szilard.bayes.base_layer import bayes_layers
from szilard.bayes.batch_innermost import keep_innermost
from szilard.bayes.drawn_weights import drawn_modules
from szilard.bayes.find_weights import Found, LeftDense, all_weights, find, is_first
from szilard.bayes.fuse import fuse_rectifiers
from szilard.bayes.initial import Start, make_weight
from szilard.bayes.layers import BayesConv
from szilard.bayes.network_weights import every_weight
from szilard.bayes.noise import Noise, mix
from szilard.bayes.priors import Prior, make_prior
from szilard.bayes.replacement import convert_modules
from szilard.bayes.user_selection import Choice, Selection
from szilard.bayes.weight import Weight
from szilard.cost.inputs import Inputs
from szilard.errors import SzilardError, SzilardWarning
from szilard.networks import copied
from szilard.sparse import Pattern, check_density, make_pattern

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
    input_shape: Inputs | None = None,
    dense_stem: bool = True,
    prunes: bool = False,
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

    These are the weights of linear layers, convolutions (also transposed), attention, recurrent layers, embeddings and
    bilinear layers, and of their subclasses, which keep their forward. Pretrained weights are kept: the support holds
    the largest of them and they become the means. Biases, normalisation and all other layers stay as they are, and so
    do frozen weights; if the whole network is frozen, means and σ are frozen. A :class:`~szilard.errors.SzilardWarning`
    names weights that stay dense without being excluded. In training mode the network uses local reparametrisation, in
    eval mode its mean; see :mod:`szilard.bayes.modes` for the others.

    Args:
        network: any module; it is not changed. If it is on the meta device, the result has the right shapes and no
            memory, and a state dict is loaded into it with ``assign=True``.
        density: fraction of each weight's entries that exist, in (0, 1].
        fresh: train from scratch: supports drawn at random and means from N(0, 2 / (fan_in * density)), so that signals
            keep their size in a sparse network (He et al. 2015, with the existing fan-in).
        prior: ``"fan-in"``, ``"fixed"``, ``"learned"`` or an object of :mod:`szilard.bayes.priors`.
        prior_scale: scale of a named prior; for ``"fan-in"`` in units of 1/sqrt(existing fan-in).
        initial_std: σ at the start, as a fraction of the root mean square of the weight's means.
        allocation: ``"uniform"``, ``"erk"`` (small layers denser, same total), ``"flops"`` (as erk, and ``density`` is
            that of multiply-adds), or ``"global"`` (the largest pretrained weights of all layers).
        input_shape: shape of one example, as in :func:`szilard.cost.count`, for ``"flops"``.
        dense_stem: leave the first layer dense if it is a convolution (it has few weights, and all features depend on
            it).
        prunes: entries will be removed in training, so that ``dense_stem`` holds for a density of 1, too.
        pattern: in which units a weight exists: ``"unstructured"``, blocks such as ``"block32"``, ``"neuron"`` (whole
            rows and columns), where the first weight keeps all its inputs and the last one all its outputs, ``"2:4"``
            (n of m consecutive columns, where ``density`` must be n/m) or ``"fan-in"`` (as many entries in every row).
            Each weight keeps its share of ``density`` to the nearest unit, and at least one unit.
        only: convert only these: a pattern (:mod:`fnmatch`) for names of modules, which includes everything inside
            them, a list of patterns, or a function of (name, module) that is called for each module with weights.
        except_: do not convert these; given as ``only``, and takes precedence over it.
        matrices: patterns for names of bare ``nn.Parameter`` matrices of user-defined modules, which are converted too.
        skip: names of modules not to convert, with everything inside.
        point: use point weights (σ = 0): the same sparse network without uncertainty.
        seed: of random supports, fresh means and the layers' noise.
        stored: names of the tensors in a file that the result will be loaded from; they determine which weights are
            converted, instead of the defaults of this version.

    Raises:
        SzilardError: density outside (0, 1]; nothing to convert; options that would change nothing; an unknown pattern;
            a name in ``skip``, or a pattern, that matches nothing; an uninitialised weight; a network that cannot be
            copied.
    """
    if not stored and torch.is_inference_mode_enabled():
        raise SzilardError(
            "a network that is made under torch.inference_mode cannot be trained; make it outside of that context"
        )
    check_density(density)
    pattern = make_pattern(pattern)
    if any(every_weight(network)):
        raise SzilardError(
            "the network is Bayesian already; pass the original network, or train this one as it is"
        )
    _refuse_ineffective(prior, prior_scale, initial_std, point)
    if isinstance(prior, str):
        prior = make_prior(prior, prior_scale)
    if not initial_std > 0:
        raise SzilardError(f"initial_std must be positive, not {initial_std:g}")
    network = copied(network)
    frozen = not any(parameter.requires_grad for parameter in network.parameters())
    found, left = _selected(
        network, Selection(only, except_, matrices, skip, stored, frozen), check=not fresh
    )
    total = all_weights(network)
    patterns = patterns_of(found, pattern)
    alone = len(found) == 1  # then the density is meant for this weight
    stem = (
        dense_stem
        and (density < 1 or prunes)
        and found[0].how == "convolution"
        and not alone
        and is_first(network, found[0].module)
    )
    kept = entries_of(network, found, patterns, Allocation(density, allocation, input_shape, fresh, stem))
    made = _made_weights(found, kept, patterns, Start(fresh, prior, initial_std, point), seed, frozen)
    made[0][0].stem = stem
    failed = convert_modules(network, found, made, Noise(seed))
    if not stored and not any(parameter.is_meta for parameter in network.parameters()):
        _warn_left_dense(left + failed, total, density == 1 and point, point)
        _warn_dense_products(network, density)
    fuse_rectifiers(network)
    if density < 1:
        use_batch_innermost(network)
    return network


def _selected(network: nn.Module, selection: Selection, check: bool) -> tuple[list[Found], list[LeftDense]]:
    """The weights to convert, and those that stay dense.

    Args:
        check: that pretrained weights are finite.

    Raises:
        SzilardError: there is no weight to convert, or one is not finite.
    """
    found, left = find(network, selection)
    if selection.stored and not found:  # the file is of another network, which the caller will report
        found, left = find(network, replace(selection, stored=()))
    if not found:
        chosen = selection.only is not None or selection.except_ is not None or bool(selection.skip)
        raise SzilardError(_why_nothing(network, chosen))
    for one in found if check and not selection.stored else []:
        if not all(t.is_meta or bool(torch.isfinite(t).all()) for t in one.tensors):
            raise SzilardError(f"{one.name or 'the network'} holds NaN or infinite weights; fix them first")
    return found, left


def _made_weights(
    found: list[Found], kept: list[int], patterns: list[Pattern], start: Start, seed: int, frozen: bool
) -> list[list[Weight]]:
    """The new weights of each place; each has random numbers of its own, which depend on its position."""
    made: list[list[Weight]] = []
    number = 0
    for one in found:
        parts = []
        for part in range(len(one.tensors)):
            generator = torch.Generator().manual_seed(mix(seed, number))
            parts.append(make_weight(one, part, kept[number], patterns[number], start, generator))
            parts[-1].requires_grad_(not frozen)
            number += 1
        made.append(parts)
    return made


def _refuse_ineffective(prior: Prior | str, prior_scale: float, initial_std: float, point: bool) -> None:
    """Raise for options that would change nothing, and for a prior that belongs to one weight."""
    if isinstance(prior, nn.Module):
        raise SzilardError(
            "a SourcePrior belongs to one weight; convert the network with another prior, and then call "
            "szilard.bayes.set_source_prior"
        )
    if not isinstance(prior, str) and prior_scale != 1.0:
        raise SzilardError(
            "prior_scale is for priors given by name, and a prior object has its own scale; leave prior_scale out"
        )
    if point and (prior != "fan-in" or prior_scale != 1.0 or initial_std != 0.1):
        raise SzilardError(
            "point=True makes weights without σ, for which prior, prior_scale and initial_std change nothing; leave "
            "them out"
        )


def _why_nothing(network: nn.Module, chosen: bool) -> str:
    """The message if there is no weight to convert."""
    if chosen:
        return (
            "only, except_ and skip exclude all weights that could be made Bayesian; compare them with "
            "network.named_modules()"
        )
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


def _warn_dense_products(network: nn.Module, density: float) -> None:
    """Warn about layers in which a density below 1 saves bytes but no time."""
    names = [
        f"{name or 'the network'} ({type(one)._drawn_kind.__name__})" for name, one in drawn_modules(network)
    ]
    if density < 1 and names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        warnings.warn(
            f"{', '.join(names[:_SHOWN])}{more}: sparse, but multiplied as dense weights, so a density of "
            f"{density:g} saves bytes there and no time",
            SzilardWarning,
            stacklevel=3,
        )


def _warn_left_dense(left: list[LeftDense], total: int, nothing_asked: bool, point: bool) -> None:
    """Warn about weights that stay dense without being excluded."""
    if not left or nothing_asked:
        return
    names = [f"{one.name} ({one.why})" for one in left[:_SHOWN]]
    more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
    stay, them = ("stays", "it") if len(left) == 1 else ("stay", "them")
    numbers = sum(one.numbers for one in left)
    alone = all(one.why == "a matrix of no known layer" for one in left)
    advice = (
        f"name {them} in matrices= to convert {them}, or in except_=" if alone else f"name {them} in except_="
    )
    how = "dense" if point else "dense and without uncertainty"
    warnings.warn(
        f"{', '.join(names)}{more} {stay} {how}, {numbers:,} of the network's {total:,} "
        f"weights ({numbers / max(total, 1):.0%}); {advice} to leave {them} so without this warning",
        SzilardWarning,
        stacklevel=3,
    )


def use_batch_innermost(network: nn.Module) -> None:
    """Use the batch-innermost layout in sparse convolutions and in the modules between them."""
    keep_innermost(network)
    for layer in bayes_layers(network).values():
        if isinstance(layer, BayesConv):
            layer.innermost = True
