"""A compiled network: a function from inputs to answers with their uncertainties."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from szilard.data import check, image_range
from szilard.data.image_range import Range
from szilard.deploy.backends import Run
from szilard.errors import SzilardError, first_line


@dataclass(frozen=True)
class Prediction:
    """What a compiled network returns.

    Attributes:
        answer: class probabilities ``[B, C, ...]``, probabilities of labels ``[B, k]``, or means ``[B]`` or ``[B, k]``.
        aleatoric: uncertainty from noise in the data: mean entropy (nats) or noise variance.
        epistemic: uncertainty of the network: mutual information (nats) or variance of the mean; zero for a point.
        mean, variance: moments of the network's outputs, if the mode computes them.
    """

    answer: Tensor
    aleatoric: Tensor
    epistemic: Tensor
    mean: Tensor | None = None
    variance: Tensor | None = None

    @property
    def labels(self) -> Tensor:
        """The most probable class ``[B, ...]``."""
        if self.answer.dim() < 2:
            raise SzilardError("a regression has no classes; use answer")
        return self.answer.argmax(1)

    @property
    def total(self) -> Tensor:
        """Sum of both uncertainties."""
        return self.aleatoric + self.epistemic


@dataclass(frozen=True)
class Compiled:
    """A network compiled for a runtime. Call it with inputs ``[B, *shape]``.

    Attributes:
        backend, mode: what it was compiled with.
        shape: of one input.
        batch: the only batch size that it takes; None: any.
        outputs: names of the runtime's tensors.
        dtype: type of the inputs.
        labels: names of classes or targets, if they are known.
        decisions: what was decided when it was compiled, one line each.
        checks_inputs: whether ``run`` itself refuses inputs that are not finite.
        metadata: what its file says of itself, with the text that ``compile`` was given.
        image_range: lowest and highest value of the training images, in the units of the inputs; None: not known, or
            the inputs are no images. Images in other units are refused, as for a run.
        difference: largest difference to the outputs of PyTorch that was found when it was compiled, relative to their
            size; None for a file that was opened.
    """

    run: Run
    backend: str
    mode: str
    shape: tuple[int, ...]
    outputs: Sequence[str]
    batch: int | None = None
    dtype: torch.dtype = torch.float32
    labels: Sequence[str] = ()
    decisions: Sequence[str] = field(default_factory=tuple)
    checks_inputs: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    difference: float | None = None
    image_range: Range | None = None

    def __call__(self, x: Any) -> Prediction:
        """Predictions of ``x [B, *shape]``, a tensor or a NumPy array.

        Raises:
            SzilardError: inputs of another shape or type, NaN, another batch size than the compiled one, images with
                more than 1 % of their values far outside of the range of the training images, or outputs that are not
                finite.
        """
        x = self._checked(x)
        try:
            found = self.run(x)
        except SzilardError:
            check.finite(x, "the input")  # a backend that checks its inputs does not say which value it is
            raise
        except (IndexError, RuntimeError) as error:  # a token beyond the vocabulary, for instance
            raise SzilardError(
                f"the compiled network cannot take this input: {first_line(error)}; check its values"
            ) from error
        answer, aleatoric = found[:2]
        # NaN in any output is in one of these two, too, and one sum is faster than two tests.
        if not math.isfinite((answer.sum() + aleatoric.sum()).item()):
            for name, value in zip(self.outputs, found, strict=True):
                if not _finite(value):
                    raise SzilardError(
                        f"the compiled network returns NaN or infinite values in {name}; check the inputs"
                    )
        return Prediction(**dict(zip(self.outputs, found, strict=True)))

    def _checked(self, x: Any) -> Tensor:
        if isinstance(x, np.ndarray):
            if x.dtype.kind not in "fiub":
                raise SzilardError(f"the input is an array of type {x.dtype}; give numbers, {self._wanted()}")
            x = torch.from_numpy(x)
        if not isinstance(x, Tensor):
            raise SzilardError(
                f"the input is a {type(x).__name__}; give a tensor or a NumPy array {self._wanted()}"
            )
        if x.dtype != self.dtype:
            raise SzilardError(
                f"the input has type {_name(x.dtype)}; this network was compiled for {_name(self.dtype)}"
            )
        if not x.dim() or tuple(x.shape[1:]) != self.shape:
            raise SzilardError(
                f"the input has shape {list(x.shape)}; this network was compiled for {self._wanted()}"
            )
        if not len(x):
            raise SzilardError("the input is an empty batch; give at least one example")
        if self.batch is not None and len(x) != self.batch:
            raise SzilardError(
                f"the input is a batch of {len(x)}; this network was compiled for batches of {self.batch}"
            )
        if not (self.checks_inputs or _finite(x)):
            check.finite(x, "the input")
        if self.image_range is not None:
            image_range.check(x, self.image_range, "the images", of_bytes=False, takes_bytes=False)
        return x.detach().contiguous()

    def _wanted(self) -> str:
        """The shape of its inputs, for messages."""
        return f"[{self.batch or 'B'}, {', '.join(map(str, self.shape))}]"


def _finite(value: Tensor) -> bool:
    """Whether all numbers are finite. Their sum is faster, and is finite, too, unless they are very large."""
    if not value.is_floating_point() or math.isfinite(value.sum().item()):
        return True
    return bool(torch.isfinite(value).all())


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
