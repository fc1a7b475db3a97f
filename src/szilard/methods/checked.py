"""Options of a method, and what a network answers and is trained on, looked at before anything is made of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from szilard import bayes
from szilard.errors import SzilardError, SzilardWarning
from szilard.likelihood import Likelihood

_NAMED = 5  # weights in a sentence
_LOOKED, _SELDOM = 16, 64  # a GPU is waited for to look at targets in the first steps, then every so often


def options(
    n_data: int,
    temperature: float,
    lr: float,
    lr_log_std: float,
    warmup: float,
    total_steps: int | None,
) -> None:
    """Options that all methods have.

    Raises:
        SzilardError: the first that is out of its range.
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
        raise SzilardError(f"warmup is a fraction of all steps and must lie in [0, 1], not {warmup:g}")
    if total_steps is not None and total_steps < 1:
        raise SzilardError(f"total_steps must be at least 1, not {total_steps}")


def run(forward: Callable[[nn.Module, Any], Any], network: nn.Module, x: Any) -> Tensor:
    """The one tensor that a network answers in training.

    Raises:
        SzilardError: something else, BatchNorm on a single example, or float16 without autocast.
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
            f"the network answers {list(output.shape)} to inputs {list(x.shape)}, which is no answer for each; add the "
            "dimension of the batch, [B, ...]"
        )
    if output.dtype is torch.float16 and not torch.is_autocast_enabled(output.device.type):
        raise SzilardError(
            "the network computes in float16, in which Adam's epsilon of 1e-8 and small gradients are zero; train "
            "it in float32 (network.float()) under torch.autocast, or in bfloat16"
        )
    return output


def one_tensor(output: Any) -> Tensor:
    """What the network answers, if it is a tensor."""
    if isinstance(output, Tensor):
        return output
    raise SzilardError(
        f"the network answers with {type(output).__name__}; wrap it so that it answers with one tensor"
    )


def prepared(network: nn.Module, label: str) -> None:
    """Refuse a network without Gaussian or sparse weights, which trains as if there were no method.

    Raises:
        SzilardError: there is none of them.
    """
    if not bayes.weights(network):
        raise SzilardError(
            f"{label} trains Gaussian or sparse weights, and this network has none; train the network that "
            "method.prepare(network) answers, or one of szilard.bayesianize: they leave the original as it is"
        )


def unreached(energy: Tensor, network: nn.Module) -> None:
    """Warn of weights that the expected loss does not depend on, as far as its graph shows.

    A function in the network that has captured a layer, such as a lambda, still holds the layer of the original.
    """
    if energy.grad_fn is None or torch.compiler.is_compiling():
        return
    seen, todo, reached = {energy.grad_fn}, [energy.grad_fn], set()
    while todo:
        node = todo.pop()
        if "Checkpoint" in node.name():
            return  # what it runs again is not in the graph
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
            f"the loss of the first batch does not depend on the weights {', '.join(lost[:_NAMED])}{more}, so that "
            "they learn nothing from it; if the forward should use them, it calls other layers, for example those that "
            "a lambda has captured: let it call self.NAME",
            SzilardWarning,
            stacklevel=4,
        )


def in_eval_mode(network: nn.Module) -> bool:
    """Warn of a step on Gaussian weights in eval mode, where they are not drawn; whether it did.

    Without noise the loss is no free energy, and nothing but the prior says how large σ should be.
    """
    for module in network.modules():
        if isinstance(module, bayes.Weight) and not module.is_point:
            warnings.warn(
                "the network is trained in eval mode, in which its Gaussian weights are not drawn, so that their σ "
                "learns nothing from the data; call network.train() before the loss, and then .eval() on single layers "
                "that are to stay so",
                SzilardWarning,
                stacklevel=4,
            )
            return True
    return False


def state(found: Mapping[str, Any], wanted: Mapping[str, Any], label: str) -> None:
    """Refuse a saved state that lacks something.

    Raises:
        SzilardError: a key of ``wanted`` is not in it.
    """
    missing = [key for key in wanted if key not in found]
    if missing:
        raise SzilardError(
            f"this is no state of {label}: it has no {' and no '.join(missing)}; load what the state_dict() of "
            "the same method gave"
        )


def batched(x: Any, dims: int | None) -> None:
    """Refuse an input that lacks the dimension of the batch.

    Args:
        dims: that inputs had in training, if that is known.

    Raises:
        SzilardError: it has one less.
    """
    if dims is not None and isinstance(x, Tensor) and x.dim() == dims - 1:
        raise SzilardError(
            f"inputs {list(x.shape)} have {x.dim()} dimensions, and those of training had {dims}; add the dimension of "
            "the batch, [B, ...]"
        )


def answer(output: Any, count: int) -> Tensor:
    """The one tensor that answers a part of the inputs, if it answers each of them.

    Raises:
        SzilardError: another number of answers.
    """
    found = one_tensor(output)
    if not found.dim() or len(found) != count:
        raise SzilardError(
            f"the network answers {list(found.shape)} to {count} inputs, and not each of them; give inputs with the "
            "dimension of the batch, [B, ...], or as many at a time as belong together (batch_size=)"
        )
    return found


def joined(parts: list[Tensor]) -> Tensor:
    """The answers to all parts of the inputs.

    Raises:
        SzilardError: their shapes differ.
    """
    if len({part.shape[1:] for part in parts}) > 1:
        raise SzilardError(
            f"the network answers {list(parts[0].shape)} to one part of the inputs and {list(parts[-1].shape)} to "
            "another; where answers depend on each other, give batch_size= as large as the number of inputs"
        )
    return torch.cat(parts)


def targets(likelihood: Likelihood, output: Tensor, y: Any, step: int) -> None:
    """Refuse targets that do not go with an output; on a GPU their values only in some steps.

    Raises:
        SzilardError: see :meth:`szilard.likelihood.Likelihood.check`.
    """
    if not isinstance(y, Tensor):
        raise SzilardError(f"targets are {type(y).__name__}; a loss needs one tensor")
    if output.is_cpu or step < _LOOKED or step % _SELDOM == 0:
        likelihood.check(output, y)
    else:
        likelihood.check_shape(output, y)
