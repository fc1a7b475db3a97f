"""Linear maps and convolutions whose weights are random variables on a support."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from szilard import _moved
from szilard.bayes.base_layer import BayesLayer
from szilard.bayes.moments.value import GaussianTensor
from szilard.bayes.noise import Noise
from szilard.bayes.weight import Weight
from szilard.errors import SzilardError
from szilard.kernels.dispatch import implementation
from szilard.kernels.geometry import Convolution
from szilard.kernels.layout import innermost
from szilard.kernels.transforms import transformed
from szilard.sparse import Support, block_ops, differentiable, ops, submatrix
from szilard.sparse.growth import RowsGradient, conv_rows

# Layers are also of torch's classes, because a forward can check for them; these classes declare other types of weight
# and bias.
if TYPE_CHECKING:

    class _Linear: ...

    class _Conv1d: ...

    class _Conv2d: ...

else:
    _Linear, _Conv1d, _Conv2d = nn.Linear, nn.Conv1d, nn.Conv2d


class BayesLinear(BayesLayer, _Linear):
    """``x [..., I] -> [..., O]``."""

    @property
    def in_features(self) -> int:
        return self.weight.support.cols

    @property
    def out_features(self) -> int:
        return self.weight.support.rows

    def forward(self, x: Tensor, rectified: bool = False) -> Tensor:
        if x.shape[-1] != self.in_features:
            raise SzilardError(
                f"a linear layer of {self.in_features} inputs was given {x.shape[-1]} features"
            )
        if isinstance(x, GaussianTensor):
            y = super().forward(x.reshape(-1, self.in_features), rectified)
            return y if x.dim() == 2 else y.reshape(*x.shape[:-1], self.out_features)
        if transformed():
            return super().forward(x, rectified)
        # Transposed once here, so that the tensors saved for the backward pass are feature-major too.
        y = super().forward(x.reshape(-1, self.in_features).t().contiguous().t(), rectified)
        return y if x.dim() == 2 else y.reshape(*x.shape[:-1], self.out_features)

    def _product(self, x: Tensor, values: Tensor) -> Tensor:
        support = self.weight.support
        if submatrix.applies(support):
            return submatrix.linear(x, values, support)
        if block_ops.applies(support, x):
            return block_ops.linear(x, values, support)
        return ops.sparse_linear(x, values, *support.index)

    def entries_gradient(self, grad: Tensor, x: Tensor, support: Support) -> Tensor:
        unused = x.new_zeros(support.nnz)  # values, which only the gradient of x depends on
        found: Tensor = ops.sparse_linear_backward(grad, x, unused, *support.index, False)[1]
        return found

    def _dense_product(self, x: Tensor, values: Tensor) -> Tensor:
        return differentiable.linear(x, values)

    def _local(self, x: Tensor, mean: Tensor, log_std: Tensor, relu: bool) -> Tensor:
        support, key = self.weight.support, self.noise.key()
        if submatrix.applies(support):
            return self._finish(submatrix.lrt_linear(x, mean, log_std, key, support), relu)
        if block_ops.applies(support, x):
            return self._finish(block_ops.lrt_linear(x, mean, log_std, key, support), relu)
        return ops.lrt_linear(x, mean, log_std, self.bias, key, *support.index, relu)[0]

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
        )


class BayesConv(BayesLayer):
    """``x [B, C, *size] -> [B, O, *size']``, 1-d or 2-d, with stride, padding, dilation and groups."""

    def __init__(
        self,
        weight: Weight,
        bias: Tensor | None,
        noise: Noise,
        *,
        stride: tuple[int, ...],
        padding: tuple[int, ...],
        dilation: tuple[int, ...],
        groups: int,
        pad: tuple[list[int], str] | None = None,
    ) -> None:
        super().__init__(weight, bias, noise)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        # As the attributes of nn.Conv2d; padding other than zeros is added before.
        self.padding_mode, self.transposed, self.output_padding = "zeros", False, (0,) * len(stride)
        self.pad = pad  # (amounts, mode) of torch.nn.functional.pad, for padding other than zeros
        self.innermost = (
            False  #: among sparse convolutions: use the batch-innermost layout even if this one is dense
        )

    @property
    def in_channels(self) -> int:
        return self.weight.support.shape[1] * self.groups

    @property
    def out_channels(self) -> int:
        return self.weight.support.rows

    @property
    def kernel_size(self) -> tuple[int, ...]:
        return tuple(self.weight.support.shape[2:])

    @property
    def geometry(self) -> tuple[list[int], list[int], list[int], int]:
        return list(self.stride), list(self.padding), list(self.dilation), self.groups

    @property
    def rows_gradient(self) -> RowsGradient:
        return conv_rows(tuple(self.weight.support.shape), *self.geometry)

    def forward(self, x: Tensor, rectified: bool = False) -> Tensor:
        if x.dim() == len(self.weight.support.shape) - 1:  # without a batch, as in torch
            return self.forward(x.unsqueeze(0), rectified).squeeze(0)
        x = x if self.pad is None else nn.functional.pad(x, *self.pad)
        if isinstance(x, GaussianTensor):
            return super().forward(x, rectified)
        innermost_wanted = self.innermost and not transformed() and implementation(x) == "cpp"
        return super().forward(innermost(x) if innermost_wanted else x, rectified)

    def _how(self) -> tuple[Any, ...]:
        support = self.weight.support
        return *support.index, list(support.shape), *self.geometry

    def _product(self, x: Tensor, values: Tensor) -> Tensor:
        if submatrix.applies_to_conv(self.weight.support, x, self.groups):
            return submatrix.conv(x, values, self.weight.support, *self.geometry[:3])
        return ops.sparse_conv(x, values, *self._how())

    def entries_gradient(self, grad: Tensor, x: Tensor, support: Support) -> Tensor:
        how = (*support.index, list(support.shape), *self.geometry)
        found: Tensor = ops.sparse_conv_backward(grad, x, x.new_zeros(support.nnz), *how, False)[1]
        return found

    def _dense_product(self, x: Tensor, values: Tensor) -> Tensor:
        return differentiable.convolution(Convolution(values.shape, *self.geometry))(x, values)

    def _local(self, x: Tensor, mean: Tensor, log_std: Tensor, relu: bool) -> Tensor:
        support, key = self.weight.support, self.noise.key()
        if submatrix.applies_to_conv(support, x, self.groups):
            return self._finish(submatrix.lrt_conv(x, mean, log_std, key, support, *self.geometry[:3]), relu)
        return self._finish(ops.lrt_conv(x, mean, log_std, key, *self._how())[0], relu)

    def _add_bias(self, y: Tensor) -> Tensor:
        return y if self.bias is None else y + self.bias.view(-1, *[1] * (y.dim() - 2))

    def extra_repr(self) -> str:
        return f"stride={self.stride}, padding={self.padding}, dilation={self.dilation}, groups={self.groups}"


class BayesConv1d(BayesConv, _Conv1d):
    """Replaces ``nn.Conv1d``."""


class BayesConv2d(BayesConv, _Conv2d):
    """Replaces ``nn.Conv2d``."""


def __getattr__(name: str) -> Any:
    return _moved.name_of(__name__, name)
