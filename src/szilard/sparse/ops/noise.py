"""The operator that draws the noise of local reparametrisation."""

from __future__ import annotations

from torch import Tensor

from szilard.kernels.dispatch import implementation
from szilard.kernels.operator import define
from szilard.sparse import compiled, portable


def _normal(key: Tensor, like: Tensor) -> Tensor:
    made = compiled if implementation(like) == "cpp" else portable
    return made.normal(key, list(like.shape), like)


def _normal_fake(key: Tensor, like: Tensor) -> Tensor:
    return like.new_empty(like.shape)


#: Standard normal numbers of the shape, dtype and device of ``like``, a function of the key.
normal = define("normal(Tensor key, Tensor like) -> Tensor", _normal, _normal_fake)
