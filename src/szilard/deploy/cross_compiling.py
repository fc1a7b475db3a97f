"""Objects of a network for other processors, by TVM."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from szilard import atomic
from szilard.deploy.backends.tvm import Programs, built, module
from szilard.deploy.compiled import Compiled
from szilard.errors import SzilardError

#: Processors for which :func:`tvm_objects` compiles, without tools of theirs.
TARGETS: dict[str, dict[str, Any]] = {
    "aarch64": {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a76", "mattr": ["+neon"]},
    "riscv64": {
        "kind": "llvm", "mtriple": "riscv64-linux-gnu", "mcpu": "generic-rv64",
        "mattr": ["+m", "+a", "+f", "+d", "+c"],
    },
    "x86-64": {"kind": "llvm", "mcpu": "x86-64-v3"},
}  # fmt: skip


def tvm_objects(compiled: Compiled, processor: str, path: Path | str, *, batch: int = 1) -> None:
    """Compile for another processor, and write a ``.tar`` of object files, which its own tools link.

    Args:
        compiled: with backend ``"tvm"``.
        processor: one of :data:`TARGETS`.
        path: file to write.
        batch: the only batch size of the objects.

    Raises:
        SzilardError: another backend, or a processor that is not in :data:`TARGETS`.
    """
    programs, target = programs_of(compiled), target_of(processor)
    if batch < 1:
        raise SzilardError(f"batch must be at least 1, not {batch}")
    made = built(module(programs.job, batch), target)
    with tempfile.TemporaryDirectory(prefix="szilard-tvm-") as folder:
        out = Path(folder) / "objects.tar"
        made.export_library(str(out))
        atomic.write(Path(path), out.read_bytes(), follow=True)


def target_of(processor: str) -> dict[str, Any]:
    """The target of TVM with a name of :data:`TARGETS`.

    Raises:
        SzilardError: there is none of that name.
    """
    if processor not in TARGETS:
        raise SzilardError(f"there is no target {processor!r}; choose one of {', '.join(TARGETS)}")
    return TARGETS[processor]


def programs_of(compiled: Compiled) -> Programs:
    """What TVM made of a network.

    Raises:
        SzilardError: it was compiled with another backend.
    """
    if not isinstance(compiled.run, Programs):
        raise SzilardError(f"the network was compiled with backend {compiled.backend}; compile it with tvm")
    return compiled.run
