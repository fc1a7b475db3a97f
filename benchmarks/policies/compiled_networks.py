"""Networks compiled as the search compiles them, for one input, without training."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from policies.uniform_policies import kept, policy
from szilard import deploy
from szilard.compression.channels.units import ChannelUnits
from szilard.compression.policies.compiled_policy import compile_policy
from szilard.deploy import Compiled
from szilard.deploy.backends.onnx_runtime import Session

RANGES = 64  # images for the ranges of activations; times do not depend on them


def original(network: nn.Module, inputs: Tensor, batch: int | None = 1) -> Compiled:
    """The network itself, in float32."""
    return deploy.compile(network, inputs[:1], backend="onnx", batch=batch, threads=1)


def uniform(
    network: nn.Module, units: ChannelUnits, inputs: Tensor, share: float, bits: tuple[int, int]
) -> Compiled:
    """The network with the first channels of every pool: it is for its time only."""
    small = units.smaller(network, {name: range(count) for name, count in kept(units, share).items()})
    return compile_policy(small, policy(units, share, bits), inputs[:1], inputs[:RANGES], threads=1, batch=1)


def one_operation(inputs: Tensor) -> Session:
    """A file with one ReLU: what a call of the runtime costs."""
    import onnx

    shape = [1, *inputs.shape[1:]]
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(np.float32))
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], "call",
        [onnx.helper.make_tensor_value_info("x", kind, shape)], [onnx.helper.make_tensor_value_info("y", kind, shape)],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    return Session(model.SerializeToString(), 1)
