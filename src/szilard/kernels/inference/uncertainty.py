"""Class probabilities and their uncertainty from Gaussian logits, in one call of the C++ library."""

from __future__ import annotations

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.kernels import native

MULTIPLE = 16  # of the number of points


def class_uncertainty(
    mean: Tensor, variance: Tensor, noise: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean softmax over fixed points of the Gaussian of the logits, and its two uncertainties in nats.

    Args:
        mean, variance: float32 ``[B, C]``; for C = 1 the logit is that of the second of two classes.
        noise: float32 ``[C, points]``, standard normal points; their number a multiple of :data:`MULTIPLE`.
        scale: multiplies the logits.

    Returns:
        probabilities ``[B, C]`` (``[B, 2]`` for C = 1), mean entropy ``[B]`` and mutual information ``[B]``.

    Raises:
        SzilardError: arrays that do not belong together, or no C++ kernels.
    """
    if mean.dim() != 2 or mean.shape != variance.shape or noise.dim() != 2 or len(noise) != mean.shape[1]:
        raise SzilardError(
            f"logits have means {list(mean.shape)}, variances {list(variance.shape)} and noise {list(noise.shape)}; "
            "give [B, C], [B, C] and [C, points]"
        )
    if any(t.dtype is not torch.float32 or not t.is_cpu for t in (mean, variance, noise)):
        raise SzilardError("class_uncertainty takes float32 tensors on the CPU")
    mean, variance, noise = mean.contiguous(), variance.contiguous(), noise.contiguous()
    batch, classes = mean.shape
    answer = mean.new_empty(batch, 2 if classes == 1 else classes)
    aleatoric, epistemic = mean.new_empty(batch), mean.new_empty(batch)
    status = native.library().szilard_class_uncertainty(
        batch, classes, mean.data_ptr(), variance.data_ptr(), noise.shape[1], noise.data_ptr(), scale, classes == 1,
        answer.data_ptr(), answer.numel(), aleatoric.data_ptr(), batch, epistemic.data_ptr(), batch,
    )  # fmt: skip
    native.check(status, "class_uncertainty")
    return answer, aleatoric, epistemic
