"""Products with a sparse weight, as custom operators over plain tensors.

An operator takes the values of the existing entries and the five arrays of their
:class:`~szilard.sparse.support.Index`; its arguments contain no tensor of sparse layout, so ``torch.compile``,
``torch.export`` and autograd see ordinary tensors. Each file declares a few operators, with their shapes, gradients and
cost: :mod:`~szilard.sparse.ops.linear`, :mod:`~szilard.sparse.ops.convolution` and :mod:`~szilard.sparse.ops.noise`.
The implementations are in :mod:`szilard.sparse.portable` (torch), :mod:`szilard.sparse.compiled` (C++) and
:mod:`szilard.sparse.triton_kernels`; :mod:`szilard.kernels.dispatch` chooses one for the tensor. The operators of
:mod:`~szilard.sparse.ops.shrinkage` are of another kind: steps of solvers for sparse codes, where the activations are
sparse and the matrix is not.

Local reparametrisation (Kingma, Salimans and Welling 2015): with weights N(μ, σ²) independent, the output of a linear
map of x is Gaussian, so outputs are drawn instead of weights:

    y = x μᵀ + s ∘ ε,   s² = (x∘x)(σ∘σ)ᵀ + tiny,   ε ~ N(0, 1) for each output.

With g = ∂L/∂y and h = g∘ε / (2 s), summed over the batch and over existing entries only,

    ∂L/∂μ_ij = Σ_b g_bi x_bj,   ∂L/∂log σ_ij = 2 σ_ij² Σ_b h_bi x_bj²,
    ∂L/∂x_bj = Σ_i g_bi μ_ij + 2 x_bj Σ_i h_bi σ_ij².

The backward pass needs the noise only through the factor ε / (2 s), one tensor of the output's size, like s alone. The
factor is kept, and the noise is neither stored nor drawn again. A convolution draws independent noise for each output
position, which ignores that positions share weights.

The noise is a function of a ``key``, an int64 tensor ``[2]`` on the CPU: (seed, number of the draw).
"""

from szilard.sparse.ops.convolution import lrt_conv, lrt_conv_backward, sparse_conv, sparse_conv_backward
from szilard.sparse.ops.linear import lrt_linear, lrt_linear_backward, sparse_linear, sparse_linear_backward
from szilard.sparse.ops.noise import normal
from szilard.sparse.ops.shrinkage import event_product, product, shrink, weighted_norm
from szilard.sparse.portable import TINY

__all__ = [
    "TINY",
    "event_product",
    "lrt_conv",
    "lrt_conv_backward",
    "lrt_linear",
    "lrt_linear_backward",
    "normal",
    "product",
    "shrink",
    "sparse_conv",
    "sparse_conv_backward",
    "sparse_linear",
    "sparse_linear_backward",
    "weighted_norm",
]
