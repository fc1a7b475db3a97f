"""Replace ordinary layers and modules by converted ones."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from szilard.bayes.attention import BayesAttention
from szilard.bayes.base_layer import BayesLayer
from szilard.bayes.drawn_weights import CHILD, BayesWeights, Drawn, convert
from szilard.bayes.embedding import EmbeddingWeights, padding_row
from szilard.bayes.find_weights import Found, LeftDense
from szilard.bayes.in_place import replace_in_place
from szilard.bayes.kinds import extra
from szilard.bayes.layers import BayesConv1d, BayesConv2d, BayesLinear
from szilard.bayes.noise import Noise
from szilard.bayes.recurrent import DrawnRecurrent
from szilard.bayes.weight import Weight


def convert_modules(
    network: nn.Module, found: list[Found], made: list[list[Weight]], noise: Noise
) -> list[LeftDense]:
    """Convert the ``found`` modules, with the weights ``made`` for them; each stays the same object.

    Returns:
        the weights of modules that could not be converted.
    """
    failed: list[LeftDense] = []
    for one, weights in zip(found, made, strict=True):
        if one.how == "drawn":
            failed += _drawn(one, weights, noise)
        else:
            replace_in_place(one.module, _layer(one.module, weights, noise).train(one.module.training))
            for weight in weights:
                if one.how != "attention":
                    weight.layer = (one.module,)
    for module in network.modules():
        if isinstance(module, nn.TransformerEncoderLayer) and _is_converted(module):
            module.activation_relu_or_gelu = 0  # or torch would read the weights and not call the layers
        if isinstance(module, nn.TransformerEncoder) and _is_converted(module):
            module.use_nested_tensor = False  # likewise, if there is a padding mask
    return failed


def _is_converted(module: nn.Module) -> bool:
    return any(isinstance(one, BayesLayer | BayesWeights) for one in module.modules())


def _drawn(one: Found, weights: list[Weight], noise: Noise) -> list[LeftDense]:
    module, named = one.module, dict(zip(one.leaves, weights, strict=True))
    try:
        if CHILD in dir(module):
            raise TypeError(f"it has its own {CHILD}")
        if isinstance(module, nn.RNNBase):
            convert(module, named, noise, DrawnRecurrent)
            module.__dict__.pop("_flat_weights", None)  # the weights before conversion
        elif isinstance(module, nn.Embedding | nn.EmbeddingBag):
            row = padding_row(module)
            module.sparse = False  # a computed weight has no sparse gradient
            convert(
                module, named, noise, Drawn,
                lambda w, n, order: EmbeddingWeights(w, n, order, module.padding_idx, row),
            )  # fmt: skip
        else:
            convert(module, named, noise)
    except TypeError:
        return [
            LeftDense(
                f"{one.name}.{leaf}" if one.name else leaf,
                w.support.mask().numel(),
                "its class cannot be changed",
            )
            for leaf, w in named.items()
        ]
    return []


def _layer(module: nn.Module, weights: list[Weight], noise: Noise) -> nn.Module:
    if isinstance(module, nn.MultiheadAttention):
        biases = [None] * 3 if module.in_proj_bias is None else list(module.in_proj_bias.chunk(3))
        biases.append(module.out_proj.bias)
        frozen = [module.in_proj_bias] * 3 + [module.out_proj.bias]
        layers: list[BayesLinear] = []
        for weight, part, original in zip(weights, biases, frozen, strict=True):
            layers.append(BayesLinear(weight, _copied(part), noise))
            _freeze(layers[-1], original)
        return BayesAttention(module, *layers)
    bias: Any = module.bias
    layer: BayesLayer
    if isinstance(module, nn.Linear):
        layer = BayesLinear(weights[0], _copied(bias), noise)
    else:
        assert isinstance(module, nn.Conv1d | nn.Conv2d)
        layer = _conv(module, weights[0], _copied(bias), noise)
    for name, value in extra(module).items():
        setattr(layer, name, value)
    _freeze(layer, bias)
    return layer


def _freeze(layer: BayesLayer, bias: Tensor | None) -> None:
    """Freeze the bias if it was frozen."""
    if layer.bias is not None and bias is not None:
        layer.bias.requires_grad_(bias.requires_grad)


def _conv(module: nn.Conv1d | nn.Conv2d, weight: Weight, bias: Tensor | None, noise: Noise) -> BayesLayer:
    pad = None
    padding = module.padding
    if isinstance(padding, str) or module.padding_mode != "zeros":
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        pad = (list(module._reversed_padding_repeated_twice), mode)
        padding = (0,) * len(module.stride)
    kind = BayesConv1d if isinstance(module, nn.Conv1d) else BayesConv2d
    return kind(
        weight, bias, noise,
        stride=module.stride, padding=padding, dilation=module.dilation, groups=module.groups, pad=pad,
    )  # fmt: skip


def _copied(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.detach().clone()
