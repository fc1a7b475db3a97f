"""Errors over inputs of a wrong shape, which name the layer that does not take them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from szilard.errors import SzilardError, first_line
from szilard.networks.takes import call


@contextmanager
def named(network: nn.Module, x: Any) -> Iterator[None]:
    """Turn errors over the shape of ``x`` inside the block, which runs the network on it, into sentences.

    The network runs a second time if it fails, to find the layer.

    Raises:
        SzilardError: a layer has other inputs than it takes, or torch or the user's forward refuses ``x``.
    """
    if isinstance(x, np.ndarray):
        raise SzilardError("the inputs are a NumPy array; give a tensor, such as torch.from_numpy(x)")
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (SzilardError, RuntimeError, IndexError, ValueError) as error:
        found = _failed(network, x)
        reason = None if found is None else _mismatch(*found)
        if reason is not None:
            raise SzilardError(
                f"{reason}, for inputs of shape {_shape(x)}; give inputs [B, ...] of the shape that the network takes"
            ) from error
        if isinstance(error, SzilardError):
            raise
        raise SzilardError(
            f"the network does not run on inputs of shape {_shape(x)}: {first_line(error)}; give inputs [B, ...] of "
            "the shape that it takes"
        ) from error


def _failed(network: nn.Module, x: Any) -> tuple[str, nn.Module, Tensor] | None:
    """Name, module and input of the innermost layer in which a forward pass fails; None if it does not fail in one."""
    running: list[tuple[str, nn.Module, Any]] = []
    failed: list[tuple[str, nn.Module, Any]] = []
    handles = []
    for name, module in network.named_modules():

        def enter(module: nn.Module, given: tuple[Any, ...], name: str = name) -> None:
            running.append((name, module, given[0] if given else None))

        def leave(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
            running.pop()

        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        with torch.no_grad():
            call(network, x)
    except Exception:
        failed = running[-1:]
    finally:
        for handle in handles:
            handle.remove()
    return failed[0] if failed and isinstance(failed[0][2], Tensor) else None


def _mismatch(name: str, layer: nn.Module, given: Tensor) -> str | None:
    """What a layer takes and what it was given, if its input has another size; None if that is not the cause."""
    shape = list(given.shape)
    if isinstance(layer, nn.Linear):
        fits, takes = shape[-1:] == [layer.in_features], f"a linear layer, takes {layer.in_features} features"
    elif isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        sides = len(layer.kernel_size)
        fits = len(shape) == sides + 2 and shape[1] == layer.in_channels
        wanted = ", ".join(["B", str(layer.in_channels), *"DHW"[3 - sides :]])
        takes = f"a convolution, takes inputs [{wanted}]"
    elif isinstance(layer, nn.modules.batchnorm._BatchNorm):
        fits, takes = (
            shape[1:2] == [layer.num_features],
            f"a batch normalisation, takes {layer.num_features} channels",
        )
    elif isinstance(layer, nn.LayerNorm):
        end = list(layer.normalized_shape)
        fits, takes = shape[-len(end) :] == end, f"a layer normalisation, takes inputs that end in {end}"
    else:
        return None
    called = f"layer {name!r}" if name else "the network"
    return None if fits else f"{called}, {takes} and was given shape {shape}"


def _shape(x: Any) -> str:
    if isinstance(x, Tensor):
        return str(list(x.shape))
    parts = x.values() if isinstance(x, dict) else x if isinstance(x, list | tuple) else ()
    return ", ".join(
        str(list(part.shape)) if isinstance(part, Tensor) else type(part).__name__ for part in parts
    )
