"""A finished program: one call of the C++ library, or torch where there is none."""

from __future__ import annotations

import math
import weakref
from typing import Any, NamedTuple

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.kernels import native
from szilard.kernels.dispatch import implementation
from szilard.kernels.inference import portable
from szilard.kernels.inference.native_program import NAN_INPUT, delete, make
from szilard.kernels.inference.steps import Step, planes


class Moments(NamedTuple):
    """Mean and variance of a value, each ``[batch, *shape]``."""

    mean: Tensor
    variance: Tensor


Output = Tensor | Moments


class Compiled:
    """A function of a tensor ``[batch, *shape]``; made by :meth:`szilard.kernels.inference.Program.finish`.

    It returns a tensor for each output or, for a program of moments, :class:`Moments`; one alone if ``finish`` was
    given one, else a list. Outputs are new tensors without a gradient. Any number of threads can call it at once: its
    weights are only read, and intermediate values are in memory of the thread, which is kept for the thread's next call
    (of any program). A float64 tensor is computed by torch in float64.
    """

    def __init__(
        self,
        batch: int,
        moments: bool,
        shape: tuple[int, ...],
        steps: tuple[Step, ...],
        outputs: tuple[int, ...],
        output_shapes: tuple[tuple[int, ...], ...],
        single: bool,
        threads: int,
    ) -> None:
        self._given = (batch, moments, shape, steps, outputs, output_shapes, single, threads)
        self.batch, self.moments, self.shape, self.threads = batch, moments, shape, int(threads)
        self._steps, self._outputs, self._single = steps, outputs, single
        self._output_shapes = [(batch, *s) for s in output_shapes]
        self._x_shape = torch.Size((batch, *shape))
        self._x_size = batch * math.prod(shape)
        self._handle = 0
        if implementation(torch.empty(0)) != "cpp":
            return
        distinct = list(dict.fromkeys(outputs))
        copies = 2 if moments else 1
        sizes = [batch * math.prod(output_shapes[outputs.index(k)]) for k in distinct]
        starts = [copies * sum(sizes[:k]) for k in range(len(sizes))]
        self._places = [(starts[distinct.index(k)], sizes[distinct.index(k)]) for k in outputs]
        self._size = copies * sum(sizes)
        # The whole array in the shape of the only output, so that no view has to be made.
        alone = self._output_shapes[0]
        self._alone = ((2, *alone) if moments else alone) if single else None
        self._handle = make(batch, moments, planes(shape), steps, distinct)
        self._run = native.library().szilard_program_run
        weakref.finalize(self, delete, self._handle)

    @property
    def is_native(self) -> bool:
        """Whether the C++ kernels run it."""
        return self._handle != 0

    def __call__(self, x: Tensor) -> Any:
        """Outputs for ``x``.

        Raises:
            SzilardError: if ``x`` has another shape or type, or a number that is not finite.
        """
        if x.shape != self._x_shape or x.dtype is not torch.float32 or not self._handle:
            return self._in_torch(x)
        if not x.is_cpu:
            raise SzilardError(f"a program was given a tensor on {x.device}; give one on the CPU")
        if not x.is_contiguous():
            x = x.contiguous()
        out = torch.empty(self._alone or self._size)
        status = self._run(self._handle, x.data_ptr(), self._x_size, out.data_ptr(), self._size, self.threads)
        if status:
            if status == NAN_INPUT:
                raise SzilardError(_NOT_FINITE)
            native.check(status, "a program")
        if self._single:
            return Moments(*out.unbind()) if self.moments else out
        return [
            self._view(out, *place, shape)
            for place, shape in zip(self._places, self._output_shapes, strict=True)
        ]

    def _view(self, out: Tensor, start: int, size: int, shape: tuple[int, ...]) -> Output:
        mean = out[start : start + size].view(shape)
        if not self.moments:
            return mean
        return Moments(mean, out[start + size : start + 2 * size].view(shape))

    def _in_torch(self, x: Tensor) -> Any:
        if x.shape != self._x_shape or x.dtype not in (torch.float32, torch.float64):
            raise SzilardError(
                f"a program takes a float32 tensor of shape {tuple(self._x_shape)} and was given one of shape "
                f"{tuple(x.shape)} and type {x.dtype}"
            )
        if not x.isfinite().all():
            raise SzilardError(_NOT_FINITE)
        with torch.no_grad():
            given = x.reshape(self.batch, *planes(self.shape))
            found = portable.run(self._steps, self.moments, given, self._outputs)
            outputs: list[Output] = [
                mean.reshape(shape)
                if variance is None
                else Moments(mean.reshape(shape), variance.reshape(shape))
                for (mean, variance), shape in zip(found, self._output_shapes, strict=True)
            ]
        return outputs[0] if self._single else outputs

    def __reduce__(self) -> Any:
        return Compiled, self._given  # a copy makes a program of its own


_NOT_FINITE = "the input holds NaN or infinite values; replace them before the call"
