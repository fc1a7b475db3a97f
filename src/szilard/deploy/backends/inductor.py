"""AOTInductor: torch's own compiler, ahead of time. It needs a C++ compiler."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from szilard.deploy.backends.base import Backend, Job, Run, exported
from szilard.errors import SzilardError


class Inductor(Backend):
    name = "inductor"
    summary = "AOTInductor: a shared library made by torch, with a C++ compiler"
    suffix = ".pt2"

    def compile(self, job: Job) -> Run:
        program = exported(job)
        folder = None if job.path else tempfile.TemporaryDirectory(prefix="szilard-inductor-")
        path = job.path or Path(str(folder and folder.name)) / "network.pt2"
        try:
            torch._inductor.aoti_compile_and_package(  # type: ignore[no-untyped-call]
                program,
                package_path=str(path),
                inductor_configs={"aot_inductor.metadata": dict(job.metadata)},
            )
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise SzilardError(
                f"AOTInductor cannot compile the network: {reason}; it needs a C++ compiler, or choose another backend"
            ) from error
        return load(path, folder)


def load(path: Path, keep: object = None) -> Run:
    """Open a package that AOTInductor wrote.

    Args:
        path: the file.
        keep: an object to keep alive as long as the function.
    """
    loaded = torch._inductor.aoti_load_package(str(path))  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def run(x: Tensor) -> tuple[Tensor, ...]:
        found = loaded(x)
        return tuple(found)

    run.keep = keep  # type: ignore[attr-defined]
    return run
