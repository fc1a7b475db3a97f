"""Joint operators for mean and variance in TVM: one loop over the inputs makes both, vectorised over outputs.

The three products of a Gaussian layer read the same inputs. A tuple reduction reads them once. Weights are packed in
lanes of outputs, ``[N / 16, K, 16]``, so that a step of the loop is a few vector multiply-adds.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from szilard.bayes.in_place import replace_in_place
from szilard.bayes.moments.sharing import alone, weighted
from szilard.bayes.moments.value import GaussianTensor
from szilard.deploy.graph import Graph
from szilard.deploy.lowered import GaussianConv, GaussianLayer, GaussianLinear

LANES = 16  #: Outputs of one vector; two registers of AVX2, four of NEON.
ROWS = 4  #: Rows of inputs (or places of an image) that share a load of weights.


@torch.library.custom_op("szilard_tvm::joint", mutates_args=())
def joint(
    mean: Tensor, variance: Tensor, m: Tensor, second: Tensor, s: Tensor, outputs: int, stride: list[int],
    padding: list[int],
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The product of a Gaussian layer, in torch: the reference of the operators for TVM.

    Args:
        mean: of the inputs, ``[B, K]`` or ``[B, C, H, W]``.
        variance: of the inputs; empty for inputs without uncertainty.
        m, second, s: packed means, second moments and variances of weights, ``[N / 16, K, 16]`` or
            ``[O / 16, C, kH, kW, 16]``.
        outputs: N or O.
        stride, padding: of a convolution; empty for a product.

    Returns:
        mean and variance, ``[B, N]`` or ``[B, O, H', W']``.
    """

    def product(x: Tensor, packed: Tensor) -> Tensor:
        weight = unpacked(packed, outputs)
        return (
            nn.functional.conv2d(x, weight, None, stride, padding)
            if stride
            else nn.functional.linear(x, weight)
        )

    found = product(mean.square(), s)
    return product(mean, m), found + product(variance, second) if variance.numel() else found


@joint.register_fake
def _(
    mean: Tensor, variance: Tensor, m: Tensor, second: Tensor, s: Tensor, outputs: int, stride: list[int],
    padding: list[int],
) -> tuple[Tensor, Tensor]:  # fmt: skip
    if not stride:
        shape = [mean.shape[0], outputs]
    else:
        sizes = [
            (n + 2 * pad - k) // step + 1
            for n, k, step, pad in zip(mean.shape[2:], m.shape[2:4], stride, padding, strict=True)
        ]
        shape = [mean.shape[0], outputs, *sizes]
    return mean.new_empty(shape), mean.new_empty(shape)


class JointLayer(nn.Module):
    """A Gaussian layer with packed weights, which TVM makes in one loop."""

    def __init__(self, layer: GaussianLayer) -> None:
        super().__init__()
        self.outputs = len(layer.mean)
        conv = isinstance(layer, GaussianConv)
        self.stride = list(layer.geometry[0]) if isinstance(layer, GaussianConv) else []
        self.padding = list(layer.geometry[1]) if isinstance(layer, GaussianConv) else []
        assert layer.variance is not None
        for name, weight in (("m", layer.mean), ("second", layer.second), ("s", layer.variance)):
            self.register_buffer(name, packed(weight))
        self.window = layer.window()
        bias = layer.bias
        self.register_buffer("bias", bias if bias is None or not conv else bias.view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """As the layer."""
        mean, variance = alone(x)
        shape = mean.shape
        if not self.stride and mean.dim() != 2:
            mean, variance = mean.flatten(0, -2), None if variance is None else variance.flatten(0, -2)
        given = mean.new_empty(0) if variance is None else variance
        weights: Any = (self.m, self.second, self.s)
        mean, variance = joint(mean, given, *weights, self.outputs, self.stride, self.padding)
        if not self.stride and len(shape) != 2:
            mean, variance = (part.unflatten(0, shape[:-1]) for part in (mean, variance))
        bias: Any = self.bias
        answer = GaussianTensor(mean if bias is None else mean + bias, variance)
        return weighted(answer, x, (self._dense("m"), self._dense("s")), self.window)

    def _dense(self, name: str) -> Callable[[], Tensor]:
        return lambda: unpacked(getattr(self, name), self.outputs)


def packed(weight: Tensor) -> Tensor:
    """``[N, ...]`` to ``[ceil(N / 16), ..., 16]``, filled up with zeros."""
    missing = -len(weight) % LANES
    whole = torch.cat([weight, weight.new_zeros(missing, *weight.shape[1:])])
    return whole.unflatten(0, (-1, LANES)).movedim(1, -1).contiguous()


def unpacked(weight: Tensor, outputs: int) -> Tensor:
    """The reverse of :func:`packed`: ``[N, ...]`` with N outputs."""
    return weight.movedim(-1, 1).flatten(0, 1)[:outputs]


def with_joint_layers(graph: Graph) -> tuple[Graph, int]:
    """A copy of a graph in which Gaussian layers are joint ones, where there is an operator, and their number."""
    graph, count = copy.deepcopy(graph), 0
    for module in list(graph.modules()):
        if isinstance(module, GaussianLayer) and _fits(module):
            replace_in_place(module, JointLayer(module))
            count += 1
    return graph, count


def _fits(layer: GaussianLayer) -> bool:
    if layer.variance is None or layer.mean.dtype != torch.float32:
        return False
    if isinstance(layer, GaussianLinear):
        return True
    if not isinstance(layer, GaussianConv) or layer.mean.dim() != 4 or layer.pad is not None:
        return False
    stride, padding, dilation, groups = layer.geometry
    return (
        not isinstance(padding, str)
        and isinstance(stride, tuple | list)
        and isinstance(padding, tuple | list)
        and groups == 1
        and all(one == 1 for one in (dilation if isinstance(dilation, tuple | list) else [dilation]))
    )


def convert(node: Any, importer: Any) -> Any:
    """The call of :func:`joint` in Relax: a scheduled function of TVM's tensor IR. For ``from_exported_program``."""
    from tvm import relax

    arguments = [importer.env.get(one, one) for one in node.args]
    mean, variance, m, second, s, outputs, stride, padding = arguments
    certain = _shape(variance) == [0]
    function, shape = _function(_shape(mean), _shape(m), int(outputs), list(stride), list(padding), certain)
    name = importer.block_builder.add_func(function, "joint")
    given = [mean, m, s] if certain else [mean, variance, m, second, s]
    kind = [relax.TensorType(shape, "float32")] * 2
    return importer.block_builder.emit(relax.call_tir(name, given, kind))


def _shape(value: Any) -> list[int]:
    return [int(n) for n in (value.ty if hasattr(value, "ty") else value.struct_info).shape]


def _function(
    x: list[int], weight: list[int], outputs: int, stride: list[int], padding: list[int], certain: bool
) -> tuple[Any, list[int]]:
    """The scheduled function, and the shape of its results."""
    import tvm
    from tvm import s_tir, te, tirx, topi

    def sums(count: int) -> Any:
        return te.comm_reducer(
            lambda a, b: tuple(one + other for one, other in zip(a, b, strict=True)),
            lambda *kinds: tuple(tirx.const(0, kind) for kind in kinds),
            name="joint",
        )

    blocks = weight[0]
    packed_shape: tuple[int, ...]
    inputs = [te.placeholder(x, name="mean")] + ([] if certain else [te.placeholder(x, name="variance")])
    names = ["m", "s"] if certain else ["m", "second", "s"]
    weights = [te.placeholder(weight, name=name) for name in names]
    padded = inputs
    if any(padding):
        before = [0, 0, *padding]
        padded = [topi.nn.pad(one, before, before, 0.0, name=f"padded{n}") for n, one in enumerate(inputs)]

    def terms(at: tuple[Any, ...], of: tuple[Any, ...]) -> tuple[Any, Any]:
        mu = padded[0](*at)
        variance = mu * mu * weights[-1](*of)
        if not certain:
            variance = padded[1](*at) * weights[1](*of) + variance
        return mu * weights[0](*of), variance

    if not stride:
        rows, k = x[0], te.reduce_axis((0, x[1]), name="k")
        packed_shape, shape = (rows, blocks, LANES), [rows, outputs]
        both = te.compute(
            packed_shape, lambda i, j, lane: sums(2)(terms((i, k), (j, k, lane)), axis=[k]), name="sums"
        )

        def unpacked(part: Any) -> Any:
            return lambda i, n: part(i, n // LANES, n % LANES)
    else:
        _, channels, kh, kw, _ = weight
        high, wide = (
            (n + 2 * pad - k) // step + 1
            for n, k, step, pad in zip(x[2:], (kh, kw), stride, padding, strict=True)
        )
        c, a, b = (te.reduce_axis((0, n), name=name) for n, name in ((channels, "c"), (kh, "a"), (kw, "b")))
        packed_shape, shape = (x[0], blocks, high, wide, LANES), [x[0], outputs, high, wide]
        both = te.compute(
            packed_shape,
            lambda i, j, h, w, lane: sums(2)(
                terms((i, c, h * stride[0] + a, w * stride[1] + b), (j, c, a, b, lane)), axis=[c, a, b]
            ),
            name="sums",
        )

        def unpacked(part: Any) -> Any:
            return lambda i, n, h, w: part(i, n // LANES, h, w, n % LANES)

    results = [te.compute(shape, unpacked(part), name=f"out{number}") for number, part in enumerate(both)]
    function = te.create_prim_func([*inputs, *weights, *results])
    schedule = s_tir.Schedule(tvm.IRModule({"main": function}))
    _schedule(schedule, packed_shape)
    return schedule.mod["main"].without_attr("global_symbol"), shape


def _schedule(schedule: Any, shape: tuple[int, ...]) -> None:
    """Rows (or places of a row of an image) by :data:`ROWS`, then the sum, then rows and lanes in registers."""
    loops = schedule.get_loops(schedule.get_sblock("sums"))
    spatial, reductions = loops[: len(shape)], loops[len(shape) :]
    shared = 0 if len(shape) == 3 else 3
    size = shape[shared]
    tile = next(n for n in range(min(ROWS, size), 0, -1) if size % n == 0 or n == min(ROWS, size))
    outer, inner = schedule.split(spatial[shared], [None, tile])
    order = [outer if n == shared else loop for n, loop in enumerate(spatial[:-1])]
    schedule.reorder(*order, *reductions, inner, spatial[-1])
    schedule.vectorize(spatial[-1])
    schedule.unroll(inner)
