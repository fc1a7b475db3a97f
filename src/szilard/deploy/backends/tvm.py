"""TVM: a compiler whose operators for mean and variance are this package's own, also for other processors."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from szilard.deploy.backends.base import Backend, Job, Run, exported, without_erfc
from szilard.deploy.backends.quiet import quiet
from szilard.errors import SzilardError, first_line

MOST = 8  #: Examples of one call; a larger batch is several calls, and the rest calls of one.


class Tvm(Backend):
    name = "tvm"
    summary = "TVM: own operators for mean and variance, generated for the processor"
    extra = "tvm"
    modules = ("tvm", "tvm_ffi")

    def compile(self, job: Job) -> Run:
        if job.path is not None:
            raise SzilardError(
                "the tvm backend writes no file that is opened again; deploy.tvm_objects writes objects"
            )
        if job.threads != 1:
            raise SzilardError("threads must be 1 for programs of TVM; choose another backend for more")
        sizes = (MOST, 1) if job.dynamic else (len(job.example),)
        job.decisions.append(f"tvm programs for batches of {' and '.join(map(str, sizes))}")
        return Programs(job, {size: built(module(job, size), here()) for size in sizes})


class Programs:
    """A program for each of a few batch sizes; other batches are several calls.

    Args:
        job: what was compiled.
        programs: compiled modules of Relax by batch size; for any batch one of them is 1.
    """

    def __init__(self, job: Job, programs: Mapping[int, Any]) -> None:
        import tvm
        from tvm import relax

        self.job, self._tensor, self._cpu = job, tvm.runtime.tensor, tvm.cpu()
        self._machines = {size: relax.VirtualMachine(one, self._cpu) for size, one in programs.items()}
        self.sizes = tuple(programs)
        self._mains = {size: machine["main"] for size, machine in self._machines.items()}

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        """The outputs for ``x [B, *shape]``."""
        found, start = [], 0
        for size in sorted(self._mains, reverse=True):
            while len(x) - start >= size:
                given = self._tensor(x[start : start + size].numpy(), self._cpu)
                found.append([torch.from_numpy(value.numpy()) for value in self._mains[size](given)])
                start += size
        return tuple(
            values[0] if len(values) == 1 else torch.cat(values) for values in zip(*found, strict=True)
        )


def module(job: Job, size: int) -> Any:
    """The graph for one batch size as a module of Relax, with joint operators in it.

    Raises:
        SzilardError: TVM does not know an operation.
    """
    from szilard.deploy.tvm_operators import convert, with_joint_layers

    with quiet():
        from tvm.relax.frontend.torch import from_exported_program

        graph, _ = with_joint_layers(job.graph)
        example = job.example[:1].expand(size, *job.example.shape[1:]).contiguous()
        program = without_erfc(exported(replace(job, graph=graph, example=example, dynamic=False)))
        try:
            return from_exported_program(
                program, run_ep_decomposition=False, custom_convert_map={"joint.default": convert}
            )
        except Exception as error:
            raise SzilardError(f"TVM cannot read the network: {first_line(error)}") from error


def built(found: Any, target: dict[str, Any]) -> Any:
    """A compiled module.

    Raises:
        SzilardError: TVM cannot compile it.
    """
    import tvm

    try:
        with quiet():
            return tvm.compile(found, target=tvm.target.Target(target))
    except Exception as error:
        raise SzilardError(f"TVM cannot compile the network: {first_line(error)}") from error


def here() -> dict[str, Any]:
    """The target of this machine's processor family; x86-64 without AVX2 gets generic code."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        wide = torch.backends.cpu.get_cpu_capability().startswith("AVX")  # AVX2 or AVX512
        return {"kind": "llvm", "mcpu": "x86-64-v3" if wide else "x86-64"}
    return {"kind": "llvm"}
