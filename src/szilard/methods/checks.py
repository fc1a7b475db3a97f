"""Checks of a method's options, of a network's inputs and outputs, and of targets."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from szilard import bayes
from szilard.bayes.weight import Weight
from szilard.errors import SzilardError, SzilardWarning
from szilard.likelihood import Likelihood
from szilard.sparse.pattern import UNSTRUCTURED
from szilard.topology.moves import Optimizers, parameters_of, several

_NAMED = 5  # weights named in a message
_LOOKED, _SELDOM = 16, 64  # targets on a GPU are checked in the first 16 steps, then every 64 steps


def options(
    n_data: int,
    temperature: float,
    lr: float,
    lr_log_std: float,
    warmup: float,
    total_steps: int | None,
) -> None:
    """Check the options that all methods have.

    Raises:
        SzilardError: for the first option that is out of its range.
    """
    if not isinstance(n_data, int) or n_data < 1:
        raise SzilardError(
            f"n_data is the number of training examples and must be a whole number from 1, not {n_data!r}"
        )
    if not temperature >= 0:
        raise SzilardError(f"temperature must be zero or positive, not {temperature:g}")
    if not lr > 0:
        raise SzilardError(f"lr must be positive, not {lr:g}")
    if not lr_log_std >= 0:
        raise SzilardError(f"lr_log_std must be zero or positive, not {lr_log_std:g}")
    if not 0 <= warmup <= 1:
        raise SzilardError(f"warmup is a fraction of all steps and must be in [0, 1], not {warmup:g}")
    if total_steps is not None and total_steps < 1:
        raise SzilardError(f"total_steps must be at least 1, not {total_steps}")


def single_weights(label: str, pattern: str) -> None:
    """Raise for a pattern in a method that removes single weights.

    Raises:
        SzilardError: another pattern than ``"unstructured"``.
    """
    if pattern != UNSTRUCTURED.name:
        raise SzilardError(
            f"{label} removes single weights and takes no pattern {pattern}; leave pattern out"
        )


def reachable(density: float, weights: int, entries: int) -> None:
    """Raise if a density of the whole network leaves fewer entries than weights, each of which keeps one.

    Args:
        density: fraction of all entries that are kept.
        weights: number of weights; ``entries``: of all of them, if all existed.

    Raises:
        SzilardError: too few are left.
    """
    if round(density * entries) < weights:
        raise SzilardError(
            f"density {density:g} leaves {round(density * entries)} entries, and each of the {weights} weights keeps "
            f"at least one; choose a density from {weights / entries:.2g}"
        )


def with_optimizer(
    label: str, optimizer: Optimizers, weights: Sequence[Weight] = ()
) -> list[torch.optim.Optimizer]:
    """The optimisers of a method that changes their parameters.

    Args:
        weights: whose parameters change.

    Raises:
        SzilardError: there is none, or one is missing.
    """
    found = several(optimizer)
    if not found:
        raise SzilardError(
            f"{label} changes parameters and the optimiser's state of them; call method.after_step(network, optimizer) "
            "with it"
        )
    held = parameters_of(found)
    missing = sum(id(weight.mean) not in held for weight in weights)
    if missing:
        raise SzilardError(
            f"{label} changes the parameters of {len(weights)} weights, and no optimiser given to after_step holds "
            f"{'that' if missing == 1 else 'those'} of {missing} of them; give all optimisers in a list, or freeze "
            "weights that nobody trains with requires_grad_(False) before prepare"
        )
    return found


def trains(network: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> None:
    """Check that optimisers train some parameter of a network.

    Raises:
        SzilardError: they were made from another one.
    """
    if optimizers and not parameters_of(optimizers) & {id(p) for p in network.parameters()}:
        raise SzilardError(
            "the optimiser given to after_step holds no parameter of this network, so that it trains another one; make "
            "it from the network that prepare has returned, for example by method.optimizer(network)"
        )


def run(forward: Callable[[nn.Module, Any], Any], network: nn.Module, x: Any) -> Tensor:
    """The output of a network in training.

    Raises:
        SzilardError: the output is not one tensor, BatchNorm on a single example, or float16 without autocast.
    """
    try:
        output = one_tensor(forward(network, x))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise SzilardError(
            "BatchNorm cannot train on a batch of one example; give batches of two or more (batch_size), or put the "
            "last example into the batch before"
        ) from error
    if output.dim() == 1 and isinstance(x, Tensor) and x.dim() and len(output) != len(x):
        raise SzilardError(
            f"the network returns {list(output.shape)} for inputs {list(x.shape)}, not one output for each; add the "
            "batch dimension, [B, ...]"
        )
    if output.dtype is torch.float16 and not torch.is_autocast_enabled(output.device.type):
        raise SzilardError(
            "the network computes in float16, where Adam's epsilon of 1e-8 and small gradients become zero; train "
            "it in float32 (network.float()) under torch.autocast, or in bfloat16"
        )
    return output


def one_tensor(output: Any) -> Tensor:
    """The network's output, if it is a tensor; else raise."""
    if isinstance(output, Tensor):
        return output
    raise SzilardError(f"the network returns {type(output).__name__}; wrap it so that it returns one tensor")


def prepared(network: nn.Module, label: str) -> None:
    """Raise for a network without Gaussian or sparse weights, on which the method would have no effect.

    Raises:
        SzilardError: the network has no such weights.
    """
    if not bayes.weights(network):
        raise SzilardError(
            f"{label} trains Gaussian or sparse weights, and this network has none; train the network that "
            "method.prepare(network) or szilard.bayesianize returns: they do not change the original"
        )


def unreached(energy: Tensor, network: nn.Module) -> None:
    """Warn about weights that the expected loss does not depend on, according to its autograd graph.

    A function in the network that has captured a layer, such as a lambda, still uses the layer of the original.
    """
    if energy.grad_fn is None or torch.compiler.is_compiling():
        return
    seen, todo, reached = {energy.grad_fn}, [energy.grad_fn], set()
    while todo:
        node = todo.pop()
        if "Checkpoint" in node.name():
            return  # the recomputed part is not in the graph
        variable = getattr(node, "variable", None)
        if variable is not None:
            reached.add(id(variable))
        for other, _ in node.next_functions:
            if other is not None and other not in seen:
                seen.add(other)
                todo.append(other)
    weights = {name: weight.mean for name, weight in bayes.weights(network).items()}
    lost = [name for name, mean in weights.items() if mean.requires_grad and id(mean) not in reached]
    if lost:
        more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
        warnings.warn(
            f"the loss of the first batch does not depend on the weights {', '.join(lost[:_NAMED])}{more}, so "
            "they are not trained; if the forward should use them, it calls other layers, for example layers that "
            "a lambda has captured: let it call self.NAME",
            SzilardWarning,
            stacklevel=4,
        )


def in_eval_mode(network: nn.Module) -> bool:
    """Warn about a training step in eval mode, in which Gaussian weights are not sampled; return whether it warned.

    Without sampled weights the loss is not a free energy, and σ depends on the prior alone.
    """
    for module in network.modules():
        if isinstance(module, bayes.Weight) and not module.is_point:
            warnings.warn(
                "the network is trained in eval mode, in which its Gaussian weights are not sampled, so their σ "
                "is not learned from the data; call network.train() before the loss, and then .eval() on single layers "
                "that must stay in eval mode",
                SzilardWarning,
                stacklevel=4,
            )
            return True
    return False


def state(found: Mapping[str, Any], wanted: Mapping[str, Any], label: str) -> None:
    """Raise for a saved state without all keys.

    Raises:
        SzilardError: a key of ``wanted`` is not in it.
    """
    missing = [key for key in wanted if key not in found]
    if missing:
        raise SzilardError(
            f"this is not a state of {label}: it has no {' and no '.join(missing)}; load the state_dict() of "
            "the same method"
        )


def batched(x: Any, dims: int | None) -> None:
    """Raise for an input without the batch dimension.

    Args:
        x: the input.
        dims: number of dimensions of the inputs in training, or None if unknown.

    Raises:
        SzilardError: the input has one dimension less.
    """
    if dims is not None and isinstance(x, Tensor) and x.dim() == dims - 1:
        raise SzilardError(
            f"inputs {list(x.shape)} have {x.dim()} dimensions, and those of training had {dims}; add the batch "
            "dimension, [B, ...]"
        )


def answer(output: Any, count: int) -> Tensor:
    """The output for a part of the inputs, one for each input.

    Raises:
        SzilardError: another number of outputs.
    """
    found = one_tensor(output)
    if not found.dim() or len(found) != count:
        raise SzilardError(
            f"the network returns {list(found.shape)} for {count} inputs, not one output for each; give inputs with "
            "the batch dimension, [B, ...], or set batch_size= to the number of inputs that belong together"
        )
    return found


def joined(parts: list[Tensor]) -> Tensor:
    """The outputs for all parts of the inputs, concatenated.

    Raises:
        SzilardError: their shapes differ.
    """
    if len({part.shape[1:] for part in parts}) > 1:
        raise SzilardError(
            f"the network returns {list(parts[0].shape)} for one part of the inputs and {list(parts[-1].shape)} for "
            "another; if outputs depend on other inputs, set batch_size= to the number of inputs"
        )
    return torch.cat(parts)


def targets(likelihood: Likelihood, output: Tensor, y: Any, step: int) -> None:
    """Raise for targets that do not fit an output; on a GPU their values are checked in some steps only.

    Raises:
        SzilardError: see :meth:`szilard.likelihood.Likelihood.check`.
    """
    if not isinstance(y, Tensor):
        raise SzilardError(f"targets are {type(y).__name__}; a loss needs one tensor")
    if output.is_cpu or step < _LOOKED or step % _SELDOM == 0:
        likelihood.check(output, y)
    else:
        likelihood.check_shape(output, y)
