"""Walks through the graph of a network and finds which channels belong together."""

from __future__ import annotations

import torch

from szilard.compression.channels.call import Call, Walk
from szilard.compression.channels.rules import after
from szilard.compression.channels.tracing import Traced

INPUTS = "its channels are tied to the network's inputs"
OUTPUTS = "its outputs are the network's outputs"


@torch.no_grad()
def walked(traced: Traced) -> Walk:
    """The channels of all tensors in a graph."""
    walk = Walk(traced)
    for node in traced.graph.nodes:
        call = Call(node, walk)
        if node.op == "placeholder":
            walk.found[node] = call.fixed(call.value, INPUTS)
        elif node.op == "get_attr":
            walk.found[node] = call.fixed(call.value, "its channels are tied to a constant tensor")
        elif node.op == "output":
            for given in node.all_input_nodes:
                call.fix(walk.found.get(given), OUTPUTS)
        else:
            walk.found[node] = after(call)
    return walk
