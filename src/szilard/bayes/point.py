"""Convert a stochastic network back to an ordinary one: its means, in layers of torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from szilard.bayes.attention import BayesAttention
from szilard.bayes.base_layer import BayesLayer
from szilard.bayes.drawn_weights import drawn_modules, restore
from szilard.bayes.fuse import AppliedReLU
from szilard.bayes.groups import ScaledLayer
from szilard.bayes.in_place import replace_in_place
from szilard.bayes.layers import BayesConv, BayesLinear
from szilard.errors import SzilardError
from szilard.networks import copied


def point_network(network: nn.Module) -> nn.Module:
    """A copy whose stochastic layers are layers of torch again: ``nn.Linear``, ``nn.Conv2d``, ``nn.LSTM`` and so on.

    Its outputs are those of the original in mean mode; entries outside a support, and dropped ones, are zeros.

    Raises:
        SzilardError: it contains stochastic attention, which cannot be converted back.
    """
    answer = copied(network)
    inner = {id(module.layer) for module in answer.modules() if isinstance(module, ScaledLayer)}
    for module in list(answer.modules()):
        if isinstance(module, ScaledLayer):
            replace_in_place(module, _plain(module.layer, module.dense_mean(), module.bias))
        elif isinstance(module, BayesLayer) and id(module) not in inner:
            replace_in_place(module, _plain(module, module.weight.dense_mean(), None))
        elif isinstance(module, AppliedReLU):
            replace_in_place(module, nn.ReLU())
    for _, module in list(drawn_modules(answer)):
        restore(module)
    if any(isinstance(module, BayesAttention) for module in answer.modules()):
        raise SzilardError(
            "stochastic attention cannot be converted to an ordinary layer; exclude it with skip="
        )
    return answer


@torch.no_grad()
def _plain(layer: BayesLayer, weight: Tensor, bias: Tensor | None) -> nn.Module:
    bias = layer.bias if bias is None else bias
    plain: nn.Linear | nn.Conv1d | nn.Conv2d
    before: list[nn.Module] = []
    if isinstance(layer, BayesLinear):
        plain = nn.Linear(layer.in_features, layer.out_features, bias is not None)
    else:
        assert isinstance(layer, BayesConv)
        kind = nn.Conv1d if weight.dim() == 3 else nn.Conv2d
        plain = kind(
            weight.shape[1] * layer.groups, len(weight), tuple(weight.shape[2:]),  # type: ignore[arg-type]
            layer.stride, layer.padding, layer.dilation, layer.groups, bias is not None,  # type: ignore[arg-type]
        )  # fmt: skip
        if layer.pad is not None:
            before = [_Pad(*layer.pad)]
    plain.to(weight).train(layer.training)
    plain.weight.copy_(weight)
    if bias is not None:
        assert plain.bias is not None
        plain.bias.copy_(bias)
    return nn.Sequential(*before, plain) if before else plain


class _Pad(nn.Module):
    def __init__(self, amounts: list[int], mode: str) -> None:
        super().__init__()
        self.amounts, self.kind = amounts, mode

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pad(x, self.amounts, self.kind)
