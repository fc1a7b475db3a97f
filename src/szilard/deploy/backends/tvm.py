"""TVM: a compiler whose operators for mean and variance are this package's own, also for other processors."""

from __future__ import annotations

import platform
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from szilard import atomic
from szilard.deploy.backends.base import Backend, Job, Run, exported, without_erfc
from szilard.deploy.backends.quiet import quiet
from szilard.errors import SzilardError, first_line

MOST = 8  #: Examples of one call; a larger batch is several calls, and the rest calls of one.
#: Processors for which :func:`objects` compiles without their own tools.
TARGETS: dict[str, dict[str, Any]] = {
    "aarch64": {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a76", "mattr": ["+neon"]},
    "riscv64": {
        "kind": "llvm", "mtriple": "riscv64-linux-gnu", "mcpu": "generic-rv64",
        "mattr": ["+m", "+a", "+f", "+d", "+c"],
    },
    "x86-64": {"kind": "llvm", "mcpu": "x86-64-v3"},
}  # fmt: skip


class Tvm(Backend):
    name = "tvm"
    summary = "TVM: own operators for mean and variance, generated for the processor"
    extra = "tvm"
    modules = ("tvm", "tvm_ffi")

    def compile(self, job: Job) -> Run:
        if job.path is not None:
            raise SzilardError("the tvm backend writes no file that is opened again; deploy.tvm_objects writes objects")
        sizes = (MOST, 1) if job.dynamic else (len(job.example),)
        runs = {size: _static(job, size) for size in sizes}
        if job.graph.mode == "moments":
            job.decisions.append(f"tvm programs for batches of {' and '.join(map(str, sizes))}")
        if not job.dynamic:
            return runs[sizes[0]]

        def run(x: Tensor) -> tuple[Tensor, ...]:
            whole = len(x) // MOST * MOST
            parts = [runs[MOST](part) for part in x[:whole].split(MOST)] if whole else []
            parts += [runs[1](x[n : n + 1]) for n in range(whole, len(x))]
            return tuple(torch.cat(values) for values in zip(*parts, strict=True))

        return run


def module(job: Job, size: int) -> Any:
    """The graph for one batch size as a module of Relax, with joint operators in it.

    Raises:
        SzilardError: TVM does not know an operation.
    """
    from dataclasses import replace

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


def objects(job: Job, processor: str, path: Path) -> None:
    """Compile for another processor and write a ``.tar`` of object files.

    Raises:
        SzilardError: a processor that is not in :data:`TARGETS`.
    """
    if processor not in TARGETS:
        raise SzilardError(f"there is no target {processor!r}; choose one of {', '.join(TARGETS)}")
    made = built(module(job, len(job.example)), TARGETS[processor])
    with tempfile.TemporaryDirectory(prefix="szilard-tvm-") as folder:
        out = Path(folder) / "objects.tar"
        made.export_library(str(out))
        atomic.write(path, out.read_bytes(), follow=True)


def _static(job: Job, size: int) -> Run:
    import tvm
    from tvm import relax

    machine = relax.VirtualMachine(built(module(job, size), _here()), tvm.cpu())
    main = machine["main"]

    def run(x: Tensor) -> tuple[Tensor, ...]:
        found = main(tvm.runtime.tensor(x.numpy(), tvm.cpu()))
        return tuple(torch.from_numpy(value.numpy()) for value in found)

    run.keep = machine  # type: ignore[attr-defined]
    return run


def _here() -> dict[str, Any]:
    """The target of this machine's processor family; x86-64 without AVX2 gets generic code."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        wide = "AVX2" in torch.backends.cpu.get_cpu_capability() or "AVX512" in torch.backends.cpu.get_cpu_capability()
        return {"kind": "llvm", "mcpu": "x86-64-v3" if wide else "x86-64"}
    return {"kind": "llvm"}
