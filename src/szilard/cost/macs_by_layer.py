"""Multiply-adds of each module of a network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import nn

from szilard.cost.counting import countable
from szilard.cost.flop_mode import Counting
from szilard.cost.inputs import Inputs, runner


def layer_macs(network: nn.Module, input_shape: Inputs) -> dict[str, int]:
    """Multiply-adds of one inference of one example in each module, with everything inside it, by name.

    They are counted as in :func:`szilard.cost.count`. A module that the network does not call, or that has no product,
    is not in the result. The network can be on the meta device.

    Args:
        network: any ``nn.Module``; it is not changed.
        input_shape: as in :func:`szilard.cost.count`.

    Raises:
        SzilardError: the network does not run on that shape.
    """
    network = copy.deepcopy(network).eval()
    run = runner(network, input_shape, batch=1)
    found: dict[str, int] = {}
    running: list[int] = []  # FLOPs before each module that is running
    mode = Counting()

    def after(name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            found[name] = found.get(name, 0) + mode.flops - running.pop()

        return hook

    for name, module in network.named_modules():
        module.register_forward_pre_hook(lambda *_: running.append(mode.flops))
        module.register_forward_hook(after(name))
    with countable(network), mode:
        run()
    return {name: flops // 2 for name, flops in found.items() if flops}
