"""More of a network that TVM has compiled: objects for other processors, and tuning."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from szilard import atomic
from szilard.deploy.backends.quiet import quiet
from szilard.deploy.backends.tvm import Programs, built, here, module
from szilard.deploy.compiled import Compiled
from szilard.errors import SzilardError, first_line

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
    programs = _programs(compiled)
    if processor not in TARGETS:
        raise SzilardError(f"there is no target {processor!r}; choose one of {', '.join(TARGETS)}")
    if batch < 1:
        raise SzilardError(f"batch must be at least 1, not {batch}")
    made = built(module(programs.job, batch), TARGETS[processor])
    with tempfile.TemporaryDirectory(prefix="szilard-tvm-") as folder:
        out = Path(folder) / "objects.tar"
        made.export_library(str(out))
        atomic.write(Path(path), out.read_bytes(), follow=True)


def tvm_tuned(compiled: Compiled, trials: int) -> Compiled:
    """Search for better loops by measuring on this machine; minutes, as each trial is compiled and run.

    The joint operators keep their own schedule; all other operations are tuned.

    Args:
        compiled: with backend ``"tvm"``.
        trials: loops to measure for the whole network.

    Returns:
        the network with the best loops found.

    Raises:
        SzilardError: another backend, or TVM's tuner fails.
    """
    programs = _programs(compiled)
    if trials < 1:
        raise SzilardError(f"trials must be at least 1, not {trials}")
    import tvm
    from tvm import relax

    found = {}
    for size in programs.sizes:
        target = tvm.target.Target(here() | {"num-cores": 1})
        with quiet(), tempfile.TemporaryDirectory(prefix="szilard-tvm-") as folder, target:
            tune = relax.get_pipeline(
                "static_shape_tuning",
                total_trials=trials,
                target=target,
                work_dir=folder,
                cpu_weight_prepack=False,
            )
            try:
                found[size] = tvm.compile(tune(module(programs.job, size)), target=target)
            except Exception as error:
                raise SzilardError(f"TVM cannot tune the network: {first_line(error)}") from error
    note = f"tuned with {trials} trials for each batch size"
    return replace(compiled, run=Programs(programs.job, found), decisions=(*compiled.decisions, note))


def _programs(compiled: Compiled) -> Programs:
    if not isinstance(compiled.run, Programs):
        raise SzilardError(f"the network was compiled with backend {compiled.backend}; compile it with tvm")
    return compiled.run
