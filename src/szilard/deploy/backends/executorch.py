"""ExecuTorch: torch's runtime for phones and small devices, with XNNPACK's kernels."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from szilard import atomic
from szilard.deploy.backends.base import Backend, Job, Run, exported, without_erfc
from szilard.deploy.backends.quiet import quiet
from szilard.deploy.description import HASH, hashed, packed, unpacked
from szilard.errors import SzilardError, first_line

MOST = 32  #: Examples of one call of a file for any batch; larger batches are several calls.
_MARK = b"\nszilard\n"  # between the program and its description; the runtime ignores what follows a program


class ExecuTorch(Backend):
    name = "executorch"
    summary = "ExecuTorch: a program for phones and small devices, with XNNPACK's kernels"
    extra = "executorch"
    modules = ("executorch",)
    suffix = ".pte"

    def compile(self, job: Job) -> Run:
        content = described(program(job), job.metadata)
        if job.path is not None:
            atomic.write(job.path, content, follow=True)
        return loaded(content)

    def open(self, path: Path, content: bytes, threads: int) -> tuple[dict[str, str], Callable[[Any], Run]]:
        """As the base class; the runtime chooses the number of threads."""

        return read(path, content), lambda _: loaded(content)


def program(job: Job) -> bytes:
    """The bytes of a program. Memory is planned for :data:`MOST` examples, or for the job's only batch size.

    Raises:
        SzilardError: ExecuTorch cannot express the network.
    """
    with quiet(), contextlib.redirect_stdout(io.StringIO()):
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        size = MOST if job.dynamic else len(job.example)  # tracing with few examples would set a lower limit
        example = job.example[:1].expand(size, *job.example.shape[1:]).contiguous()
        graph = without_erfc(exported(replace(job, example=example), most=MOST))
        try:
            made = to_edge_transform_and_lower(graph, partitioner=[XnnpackPartitioner()]).to_executorch()
            return bytes(made.buffer)
        except Exception as error:
            raise SzilardError(f"ExecuTorch cannot compile the network: {first_line(error)}") from error


def described(content: bytes, metadata: Mapping[str, str]) -> bytes:
    """A program with metadata and a hash of both after it."""
    entries = {key: value for key, value in metadata.items() if key != HASH}
    text = packed(entries | {HASH: hashed([content, packed(entries)])})
    return content + _MARK + text


def read(path: Path, content: bytes) -> dict[str, str]:
    """The metadata of a file that :func:`described` made.

    Raises:
        SzilardError: no such file, or its content does not match its hash.
    """
    bare, mark, text = content.rpartition(_MARK)
    if not mark:
        raise SzilardError(f"{path} was not written by szilard, or is damaged; write it again")
    found = unpacked(text, path)
    entries = {key: value for key, value in found.items() if key != HASH}
    if found.get(HASH) != hashed([bare, packed(entries)]):
        raise SzilardError(f"{path} does not match its hash: it is damaged or was changed; write it again")
    return found


def loaded(content: bytes) -> Run:
    """Open a program. It is called with at most as many examples as its memory is planned for.

    Raises:
        SzilardError: ExecuTorch cannot open it.
    """
    with quiet():
        from executorch.runtime import Runtime, Verification

        try:
            opened = Runtime.get().load_program(content, verification=Verification.InternalConsistency)
            method = opened.load_method("forward")
            most = int(opened.metadata("forward").input_tensor_meta(0).sizes()[0])
        except Exception as error:
            raise SzilardError(f"ExecuTorch cannot open the program: {first_line(error)}") from error
        if method is None:
            raise SzilardError("ExecuTorch finds no method forward in the program; write it again")

    @torch.no_grad()
    def run(x: Tensor) -> tuple[Tensor, ...]:
        # The outputs are views of the method's memory, which its next call overwrites.
        parts = [[value.clone() for value in method.execute([part.contiguous()])] for part in x.split(most)]
        return tuple(
            torch.cat(values) if len(values) > 1 else values[0] for values in zip(*parts, strict=True)
        )

    run.keep = content, opened  # type: ignore[attr-defined]  # the method reads their memory and does not hold them
    return run
