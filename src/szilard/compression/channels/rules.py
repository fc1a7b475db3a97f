"""The rule of each module, function and method: what becomes of channels there."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from szilard.bayes.batch_innermost import (
    InnermostMaxPool,
    InnermostNorm,
    InnermostNormReLU,
    InnermostShortcut,
)
from szilard.bayes.fuse import AppliedReLU
from szilard.compression.channels.call import Call, Found
from szilard.compression.channels.function_rules import (
    alike,
    by_number,
    by_position,
    extreme,
    like,
    reduced,
    several,
)
from szilard.compression.channels.layer_rules import LAYERS, by_channel, layer, norm, padded_shortcut
from szilard.compression.channels.movement_rules import cat, indexed, moved, padded, padded_by_module
from szilard.networks import is_itself
from szilard.networks.norm import NormReLU
from szilard.networks.resnet import PaddedShortcut

Rule = Callable[[Call], Found]

_BY_NUMBER = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid,
    nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Softplus, nn.Softsign, nn.LogSigmoid, nn.Tanhshrink,
    nn.Hardshrink, nn.Softshrink, nn.Threshold, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d,
    nn.AlphaDropout, nn.FeatureAlphaDropout, AppliedReLU,
)  # fmt: skip
_BY_POSITION = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.LPPool1d, nn.LPPool2d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d, nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d, nn.ReflectionPad1d,
    nn.ReflectionPad2d, nn.ReplicationPad1d, nn.ReplicationPad2d, InnermostMaxPool,
)  # fmt: skip
_PADS = (nn.ZeroPad1d, nn.ZeroPad2d, nn.ConstantPad1d, nn.ConstantPad2d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, NormReLU, InnermostNorm, InnermostNormReLU)
_MOVED = (nn.Flatten, nn.Unflatten, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle)

MODULES: dict[type, Rule] = {
    **dict.fromkeys(LAYERS, layer),
    **dict.fromkeys(_BY_NUMBER, by_number),
    **dict.fromkeys(_BY_POSITION, by_position),
    **dict.fromkeys(_PADS, padded_by_module),
    **dict.fromkeys(_NORMS, norm),
    **dict.fromkeys(_MOVED, moved),
    **dict.fromkeys((PaddedShortcut, InnermostShortcut), padded_shortcut),
    nn.PReLU: by_channel,
}

_NUMBERS = """
    relu relu_ relu6 leaky_relu leaky_relu_ elu elu_ celu selu gelu silu mish tanh tanh_ sigmoid sigmoid_ hardswish
    hardsigmoid hardtanh hardtanh_ softplus softsign logsigmoid tanhshrink hardshrink softshrink threshold clamp clamp_
    clip clamp_min clamp_max neg abs exp log log1p expm1 sqrt rsqrt square pow sin cos erf floor ceil round
    reciprocal  dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout contiguous clone
    detach float double half bfloat16 to zeros_like ones_like  identity
"""
_SEVERAL = """
    add add_ iadd sub sub_ isub subtract rsub mul mul_ imul multiply div div_ truediv itruediv divide true_divide
    maximum minimum
"""
_POSITIONS = """
    max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
    adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d lp_pool1d lp_pool2d interpolate
    upsample
"""
_MOVES = """
    view reshape flatten unflatten permute transpose swapaxes swapdims movedim squeeze unsqueeze chunk split
    tensor_split narrow select pixel_shuffle pixel_unshuffle channel_shuffle flip expand
"""

#: By the name of a function of torch or Python, or of a method of a tensor.
FUNCTIONS: dict[str, Rule] = {
    **dict.fromkeys(_NUMBERS.split(), by_number),
    **dict.fromkeys(_SEVERAL.split(), several),
    **dict.fromkeys(_POSITIONS.split(), by_position),
    **dict.fromkeys(_MOVES.split(), moved),
    **dict.fromkeys(("mean", "sum", "amax", "amin"), reduced),
    **dict.fromkeys(("cat", "concat", "concatenate"), cat),
    **dict.fromkeys(("max", "min"), extreme),
    "type_as": like,
    "expand_as": alike,
    "getitem": indexed,
    "pad": padded,
}

#: Methods and attributes that depend on the shape or the type of a tensor alone.
_OUTLINE = {"size", "dim", "ndimension", "shape", "ndim", "dtype", "device"}


def after(call: Call) -> Found:
    """What becomes of channels in a call; of an unknown one, all channels that reach it stay."""
    if not any(call.walk.found.get(node) is not None for node in call.node.all_input_nodes):
        # A number that is computed from sizes, or a tensor of the network.
        return call.fixed(call.value, "its channels are tied to a constant tensor")
    if call.node.op == "call_module":
        module = call.module
        rule = MODULES.get(type(module))
        return rule(call) if rule is not None and is_itself(module, (type(module),)) else call.unknown()
    if call.name == "getattr" or call.node.op == "call_method":
        what = call.node.args[1] if call.name == "getattr" else call.name
        if what in _OUTLINE:
            return None
    rule = FUNCTIONS.get(call.name) if _is_known(call) else None
    return rule(call) if rule is not None else call.unknown()


def _is_known(call: Call) -> bool:
    """Whether a name is that of a function of torch or Python, or of a method of a tensor."""
    if call.node.op == "call_method":
        first = call.node.args[0] if call.node.args else None
        return isinstance(call.walk.traced.values.get(first), Tensor) if first is not None else False  # type: ignore
    origin = str(getattr(call.node.target, "__module__", None) or "")
    return origin.split(".", maxsplit=1)[0] in ("torch", "_operator", "builtins", "math")
