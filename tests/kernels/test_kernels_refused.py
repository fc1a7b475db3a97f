"""The C++ kernels refuse invalid indices and arrays of wrong sizes."""

import pytest
import torch

from szilard.errors import SzilardError
from szilard.kernels import native
from szilard.kernels.geometry import Convolution
from szilard.kernels.layout import innermost, is_innermost
from szilard.sparse import Support, compiled, ops, portable

pytestmark = pytest.mark.skipif(not native.available(), reason="the C++ kernels are not built")


@pytest.fixture(autouse=True)
def kernels(monkeypatch):
    monkeypatch.setenv("SZILARD_KERNELS", "cpp")


def generator(seed):
    return torch.Generator().manual_seed(seed)


def weight(shape, density, g):
    support = Support.from_mask(torch.rand(shape, generator=g) < density)
    return support, torch.randn(support.nnz, generator=g), torch.randn(support.nnz, generator=g) - 2


def damaged(name):
    index = list(Support.from_mask(torch.rand(6, 9, generator=generator(3)) < 0.25).index)
    names = ["crow", "col", "t_crow", "t_col", "t_perm"]
    what, place = name
    array = index[names.index(what)].clone()
    array = {
        "negative": lambda: array.index_fill_(0, torch.tensor([1]), -1),
        "huge": lambda: array.index_fill_(0, torch.tensor([1]), 1 << 30),
        "swapped": lambda: array.index_copy_(0, torch.tensor([0, 1]), array[[1, 0]]),
        "twice": lambda: array.index_copy_(0, torch.tensor([1]), array[:1].clone()),
        "short": lambda: array[:-1],
        "long": lambda: torch.cat([array, array[-1:]]),
        "int64": array.long,
        "strided": lambda: array.repeat_interleave(2)[::2],
    }[place]()
    index[names.index(what)] = array
    return index


DAMAGE = [
    (array, kind)
    for array in ("crow", "col", "t_crow", "t_col", "t_perm")
    for kind in ("negative", "huge", "short", "long", "int64", "strided")
] + [("col", "swapped"), ("col", "twice"), ("crow", "swapped")]


@pytest.mark.parametrize("name", DAMAGE, ids="-".join)
def test_a_damaged_index_is_refused(name):
    index = damaged(name)
    x, grad, values = torch.randn(5, 9), torch.randn(5, 6), torch.randn(index[1].numel())

    def both_ways():
        ops.sparse_linear(x, values, *index)
        ops.sparse_linear_backward(grad, x, values, *index, True)

    with pytest.raises(SzilardError):
        both_ways()


def test_inconsistent_sizes_are_refused():
    g = generator(0)
    support, mean, log_std = weight((6, 9), 0.3, g)
    key = torch.tensor([0, 0])
    with pytest.raises(SzilardError):
        ops.sparse_linear(torch.randn(4, 8), mean, *support.index)
    with pytest.raises(SzilardError):
        ops.sparse_linear(torch.randn(4, 9), mean[:-1], *support.index)
    with pytest.raises(SzilardError, match="bias"):
        ops.lrt_linear(torch.randn(4, 9), mean, log_std, torch.zeros(5), key, *support.index, False)
    conv, mean, log_std = weight((4, 3, 3, 3), 0.3, g)
    rest = ([4, 3, 3, 3], [1, 1], [0, 0], [1, 1], 1)
    with pytest.raises(SzilardError, match="channels"):
        ops.sparse_conv(torch.randn(2, 4, 8, 8), mean, *conv.index, *rest)
    with pytest.raises(SzilardError, match="smaller"):
        ops.sparse_conv(torch.randn(2, 3, 2, 8), mean, *conv.index, *rest)
    with pytest.raises(SzilardError):
        ops.sparse_conv(torch.randn(2, 3, 8), mean, *conv.index, *rest)


def test_a_convolution_on_a_full_support():
    g = generator(0)
    how = Convolution([5, 3, 3, 3], [1, 1], [1, 1], [1, 1], 1)
    support, mean, _ = weight(how.shape, 2.0, g)
    x = innermost(torch.randn(40, 3, 6, 7, generator=g))
    y = compiled.conv(x, mean, support.index, how)
    assert is_innermost(y)
    assert torch.allclose(y, portable.conv(x.contiguous(), mean, support.index, how), atol=1e-5)
