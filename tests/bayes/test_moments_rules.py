"""Rules for means and variances: every function of torch that has one, against the function and against draws."""

from __future__ import annotations

import pytest
import torch
from gaussian_inputs import certain, numbers
from torch import Tensor
from torch.nn import functional as F

from szilard.bayes.moments.rules import table
from szilard.bayes.moments.value import both
from szilard.networks.function_rules import PLACES, name_of

# -- every function that has a rule -------------------------------------------------------------------

X = numbers(2, 3, 4)
IMAGES = numbers(2, 4, 6, 6, seed=1)
M, N = numbers(3, 4, seed=2), numbers(4, 5, seed=3)
Q = numbers(2, 2, 3, 4, seed=4)
MASK = torch.tensor([[True, False, True, False]] * 3)
ROWS = torch.tensor([[0, 1, 0, 1]] * 3)

#: Calls of each function by its name: arguments, and which of them are Gaussian (all tensors of real numbers unless
#: given). A function by another place (torch, Tensor, F) is called with the same arguments.
CALLS = {
    "linear": [(X, numbers(5, 4)), (X, numbers(5, 4), numbers(5))],
    "conv1d": [(X, numbers(2, 3, 2)), (X, numbers(2, 3, 2), numbers(2), 2, 1)],
    "conv2d": [(IMAGES, numbers(4, 2, 3, 3), numbers(4), 2, 1, 1, 2)],
    "conv3d": [(numbers(1, 2, 3, 3, 3), numbers(3, 2, 2, 2, 2), numbers(3))],
    "conv_transpose1d": [(X, numbers(3, 2, 2), numbers(2), 2)],
    "conv_transpose2d": [(IMAGES, numbers(4, 1, 3, 3), numbers(2), 2, 1, 1, 2)],
    "conv_transpose3d": [(numbers(1, 2, 3, 3, 3), numbers(2, 3, 2, 2, 2), numbers(3))],
    "matmul": [(M, N)], "__matmul__": [(M, N)], "__rmatmul__": [(N, M)], "mm": [(M, N)], "mv": [(M, N[:, 0])],
    "bmm": [(X, numbers(2, 4, 5))], "dot": [(M[0], N[:, 0])],
    "addmm": [(numbers(3, 5), M, N), (numbers(5), M, N, {"beta": 2, "alpha": 3})],
    "baddbmm": [(numbers(2, 3, 5), X, numbers(2, 4, 5))], "addmv": [(numbers(3), M, N[:, 0])],
    "relu": [(X,)], "relu_": [(X,)], "leaky_relu": [(X,), (X, 0.2)], "leaky_relu_": [(X, 0.2)],
    "prelu": [(X, torch.tensor([0.3])), (X, torch.tensor([0.3, -0.2, 0.1]))],
    "hardtanh": [(X,), (X, -0.5, 2.0)], "relu6": [(5 * X,)], "hardsigmoid": [(3 * X,)],
    "clamp": [(X, -0.5, 0.5), (X, {"min": 0.0}), (X, {"max": 0.3})], "clip": [(X, -0.5, 0.5)],
    "clamp_min": [(X, 0.1)], "clamp_max": [(X, 0.1)],
    "dropout": [(X, 0.5, False)], "dropout1d": [(X, 0.5, False)], "dropout2d": [(IMAGES, 0.5, False)],
    "dropout3d": [(numbers(1, 2, 3, 3, 3), 0.5, False)], "alpha_dropout": [(X, 0.5, False)],
    "feature_alpha_dropout": [(IMAGES, 0.5, False)],
    **{name: [(X,)] for name in (
        "sigmoid", "tanh", "silu", "elu", "selu", "celu", "softplus", "softsign", "mish", "log_sigmoid", "gelu",
        "hardswish", "erf", "sin", "cos", "exp", "abs", "__abs__", "square", "sigmoid_", "tanh_", "neg", "negative",
        "__neg__", "positive", "__pos__",
    )},
    "glu": [(X, -1), (IMAGES, 1)],
    **{name: [(X, M), (X, 2.5), (2.5, X)] for name in ("add", "sub", "subtract", "mul", "multiply")},
    **{name: [(X, M), (X, 2.5)] for name in ("__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__")},
    "rsub": [(X, M), (X, 2.5, {"alpha": 2})],
    **{name: [(X, 2.5), (X, {1: M})] for name in ("div", "divide", "true_divide", "__truediv__")},
    "pow": [(X, 2), (X, 1)], "__pow__": [(X, 2)],
    **{name: [(X, M), (X, 2.5)] for name in ("add_", "__iadd__", "sub_", "__isub__", "mul_", "__imul__")},
    **{name: [(X, 2.5)] for name in ("div_", "__itruediv__", "__idiv__")},
    "sum": [(X,), (X, 1), (X, (0, 2), True)], "mean": [(X,), (X, -1), (X, (0, 2), True)],
    "addcmul": [(X, M, X, {"value": 0.5})],
    "amax": [(X, (1, 2)), (X, 0, True)], "maximum": [(X, M)], "max": [(X, M)],
    "max_pool1d": [(X, 2), (X, 3, 2, 1)], "max_pool2d": [(IMAGES, 2), (IMAGES, 3, 2, 1, 1), (IMAGES, 2, 1, 0, 2)],
    "max_pool3d": [(numbers(1, 2, 4, 4, 4), 2)],
    "avg_pool1d": [(X, 2), (X, 3, 2, 1, True), (X, 3, 2, 1, False, False)],
    "avg_pool2d": [(IMAGES, 2), (IMAGES, 3, 2, 1, True), (IMAGES, 3, 2, 1, False, False), (IMAGES[0], 4, 4, 1, True)],
    "avg_pool3d": [(numbers(1, 2, 4, 4, 4), 3, 2, 1, True, True, 5)],
    "adaptive_avg_pool1d": [(X, 3)], "adaptive_avg_pool2d": [(IMAGES, (4, None)), (IMAGES[0], 1)],
    "adaptive_avg_pool3d": [(numbers(1, 2, 4, 4, 4), 2)],
    "adaptive_max_pool1d": [(X, 2)], "adaptive_max_pool2d": [(IMAGES, (3, 2))],
    "adaptive_max_pool3d": [(numbers(1, 2, 4, 4, 4), 2)],
    "batch_norm": [(IMAGES, numbers(4), numbers(4).square(), numbers(4, seed=5), numbers(4, seed=6), False)],
    "layer_norm": [(X, (4,)), (X, (3, 4), numbers(3, 4), numbers(3, 4, seed=7))],
    "rms_norm": [(X, (4,)), (X, (4,), numbers(4))], "group_norm": [(IMAGES, 2, numbers(4), numbers(4, seed=5))],
    "instance_norm": [(IMAGES,), (IMAGES, numbers(4), numbers(4).square(), None, None, False)],
    "view": [(X, 6, 4)], "reshape": [(X, (6, 4))], "flatten": [(X, 1)], "unflatten": [(X, 2, (2, 2))],
    "permute": [(X, (2, 0, 1))], "transpose": [(X, 0, 1)], "t": [(M,)], "squeeze": [(X[:1], 0)], "unsqueeze": [(X, 0)],
    "expand": [(X[:1], 5, 3, 4)], "expand_as": [(X[:1], {1: X})], "view_as": [(X, {1: X})],
    "reshape_as": [(X, {1: X})],
    **{name: [(X, 0, 1)] for name in ("swapaxes", "swapdims", "movedim", "moveaxis")},
    **{name: [(X,)] for name in ("contiguous", "detach", "clone", "ravel", "zeros_like", "ones_like")},
    "chunk": [(X, 2, 2)], "split": [(X, 2, 2)], "unbind": [(X, 1)], "tensor_split": [(X, 3, 2)],
    "narrow": [(X, 2, 1, 2)], "select": [(X, 2, 1)], "diagonal": [(M,)], "adjoint": [(M,)],
    "broadcast_to": [(M, (2, 3, 4))],
    "__getitem__": [(X, (slice(None), 1)), (X, (ROWS[0, :2],)), (X, MASK.expand(2, 3, 4))],
    "index_select": [(X, 1, torch.tensor([2, 0]))], "gather": [(M, 0, ROWS)], "flip": [(X, (0,))], "roll": [(X, 1, 2)],
    "repeat": [(X, 2, 1, 1)], "repeat_interleave": [(X, 2, 1)], "tile": [(X, (2, 1))],
    "take_along_dim": [(M, ROWS, 0)], "rot90": [(M,)],
    "channel_shuffle": [(IMAGES, 2)], "native_channel_shuffle": [(IMAGES, 2)], "pixel_shuffle": [(IMAGES, 2)],
    "pixel_unshuffle": [(IMAGES, 2)],
    **{f"Tensor.{name}": [(M,)] for name in ("T", "mT", "H", "mH", "data")},
    "to": [(X, torch.float32), (X, {1: M.float()})], "type_as": [(X, {1: M.float()})],
    "float": [(X,)], "double": [(X,)], "cpu": [(X,)],
    **{name: [((X, X + 1), 1)] for name in ("cat", "concat", "concatenate", "stack")},
    "pad": [(X, (1, 2)), (X, (1, 1), "reflect"), (X, (1, 1), "constant", 3.0)],
    "masked_fill": [(X, MASK, 2.0)], "where": [(MASK, X, X + 1), (MASK, X, 0.0), (MASK, 0.0, X)],
    "interpolate": [(IMAGES, None, 2), (IMAGES, (3, 3))],
    "embedding": [(ROWS, M), (ROWS, M, 1)],
    "full_like": [(X, 2.0)], "new_zeros": [(X, (2, 2))], "new_ones": [(X, (2, 2))], "new_full": [(X, (2, 2), 3.0)],
    "new_tensor": [(X, [1.0])],
    "scaled_dot_product_attention": [(Q, Q + 1, Q - 1), (Q, Q, Q, None, 0.0, True), (Q, Q, Q, MASK[:, :3], 0.0)],
}  # fmt: skip
#: With numbers that torch leaves open, only a device that is not here, or an own test.
ELSEWHERE = {"cuda", "empty_like", "new_empty", "multi_head_attention_forward"}
#: By place, where the name means another function there.
OTHERS = {
    (torch, "dropout"): [(X, 0.5, False)],
    (Tensor, "where"): [(X, MASK, X + 1), (X, MASK, 0.0)],
    (F, "unfold"): [(IMAGES, 2), (IMAGES, 3, 1, 1, 2)],
    (Tensor, "unfold"): [(X, 2, 2, 1)],
}


#: Refused with advice.
REFUSED = {"softmax", "log_softmax", "softmin", "gumbel_softmax", "logsumexp"}


def place_of(function):
    return next((place for place in PLACES if getattr(place, function.__name__, None) is function), None)


def cases():
    for function in table():
        name = name_of(function)
        if name in ELSEWHERE | REFUSED:
            continue
        place = place_of(function)
        calls = OTHERS.get((place, name)) or CALLS.get(name)
        yield pytest.param(function, calls, id=f"{getattr(place, '__name__', 'property')}.{name}")


def arranged(call):
    """Arguments, those that are never Gaussian, and named arguments of an entry of CALLS."""
    arguments, fixed, named = [], {}, {}
    for value in call:
        if isinstance(value, dict):
            fixed |= {key: v for key, v in value.items() if isinstance(key, int)}
            named |= {key: v for key, v in value.items() if isinstance(key, str)}
        else:
            arguments.append(value)
    for place, value in sorted(fixed.items()):
        arguments.insert(place, value)
    return arguments, set(fixed), named


def variants(name, arguments, fixed):
    """Which arguments to make Gaussian: all, and each alone."""

    def real(value):
        if isinstance(value, tuple):
            return bool(value) and all(isinstance(v, Tensor) and v.is_floating_point() for v in value)
        return isinstance(value, Tensor) and value.is_floating_point()

    places = [i for i, value in enumerate(arguments) if real(value) and i not in fixed]
    if name in ("batch_norm", "instance_norm"):  # statistics are never random
        places = [i for i in places if i not in (1, 2)]
    if name == "prelu" or name.endswith("_") or name == "masked_fill":
        places = places[:1] if name != "__pos__" else places
    if name.startswith(("__r", "__")) or (name in ("add_", "sub_", "mul_", "div_", "view", "flatten")):
        return [places, places[:1]]
    return [places, *([place] for place in places)] if len(places) > 1 else [places]


@pytest.mark.parametrize(("function", "calls"), list(cases()))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_without_variance_a_rule_is_its_function(function, calls, dtype):
    assert calls, "no call of this function is tested"
    tolerance = {torch.float64: 1e-12, torch.float32: 2e-5}[dtype]

    def typed(value):
        if isinstance(value, tuple) and value and all(isinstance(v, Tensor) for v in value):
            return tuple(typed(v) for v in value)
        return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value

    for call in calls:
        arguments, fixed, named = arranged([typed(v) if not isinstance(v, dict) else
                                            {k: typed(w) for k, w in v.items()} for v in call])  # fmt: skip
        if place_of(function) is Tensor and not isinstance(arguments[0], Tensor):
            continue  # only the function takes a number first
        plain = [v.clone() if isinstance(v, Tensor) else v for v in arguments]
        wanted = function(*plain, **named)
        for chosen in variants(name_of(function), arguments, fixed):
            given = [
                (tuple(map(certain, v)) if isinstance(v, tuple) else certain(v)) if i in chosen else v
                for i, v in enumerate(arguments)
            ]
            found = function(*given, **named)
            many = isinstance(wanted, tuple | list)
            for got, want in zip(found if many else [found], wanted if many else [wanted], strict=True):
                assert got.shape == want.shape
                assert got.dtype == want.dtype
                mean, variance = both(got)
                torch.testing.assert_close(mean, want, rtol=tolerance, atol=tolerance)
                assert not variance.any() or float(variance.max()) < 1e-12
            if name_of(function).endswith("_") and not name_of(function).startswith("__"):
                torch.testing.assert_close(both(given[0]).mean, wanted, rtol=tolerance, atol=tolerance)
