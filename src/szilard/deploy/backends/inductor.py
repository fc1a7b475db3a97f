"""AOTInductor: torch's own compiler, ahead of time. It needs a C++ compiler."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from szilard import atomic
from szilard.deploy.backends.base import Backend, Job, Run, exported
from szilard.deploy.backends.quiet import quiet
from szilard.deploy.description import HASH, hashed, packed, unpacked
from szilard.errors import SzilardError, first_line

_ENTRY = (
    "/extra/szilard.json"  # under the archive's own top folder; "extra" is for others' data in torch's format
)


class Inductor(Backend):
    name = "inductor"
    summary = "AOTInductor: a shared library made by torch, with a C++ compiler"
    suffix = ".pt2"
    floats = (torch.float32, torch.float64)
    executable = True

    def compile(self, job: Job) -> Run:
        with tempfile.TemporaryDirectory(prefix="szilard-inductor-") as folder:
            path = Path(folder) / "network.pt2"
            with quiet():
                program = exported(job)
                try:
                    torch._inductor.aoti_compile_and_package(
                        program, package_path=str(path), inductor_configs={"cpp.threads": job.threads}
                    )
                except Exception as error:
                    raise SzilardError(
                        f"AOTInductor cannot compile the network: {first_line(error)}; it needs a C++ compiler, or "
                        "choose another backend"
                    ) from error
            content = described(path.read_bytes(), job.metadata)
        if job.path is not None:
            atomic.write(job.path, content, follow=True)
        return loaded(content)

    def open(self, path: Path, content: bytes, threads: int) -> tuple[dict[str, str], Callable[[Any], Run]]:
        """As the base class; the number of threads is that of the compilation."""
        return read(path, content), lambda _: loaded(content)


def described(content: bytes, metadata: Mapping[str, str]) -> bytes:
    """A package with metadata and a hash of both, in an entry of the archive."""
    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a") as archive:
        top = archive.namelist()[0].split("/")[0]
        entries = {key: value for key, value in metadata.items() if key != HASH}
        archive.writestr(top + _ENTRY, packed(entries | {HASH: _digest(archive, entries)}))
    return file.getvalue()


def read(path: Path, content: bytes) -> dict[str, str]:
    """The metadata of a package that :func:`described` made; nothing in it is run.

    Raises:
        SzilardError: no such package, or its content does not match its hash.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [name for name in archive.namelist() if name.endswith(_ENTRY)]
            found = unpacked(archive.read(names[0]), path) if names else {}
            digest = _digest(archive, {key: value for key, value in found.items() if key != HASH})
    except SzilardError:
        raise
    except Exception as error:
        raise SzilardError(
            f"{path} is damaged or not a package of AOTInductor: {first_line(error)}"
        ) from error
    if HASH not in found:
        raise SzilardError(f"{path} was not written by szilard; run it with torch itself")
    if found[HASH] != digest:
        raise SzilardError(f"{path} does not match its hash: it is damaged or was changed; write it again")
    return found


def loaded(content: bytes) -> Run:
    """Open a package. Its machine code is run.

    Raises:
        SzilardError: torch cannot open it.
    """
    with tempfile.TemporaryDirectory(prefix="szilard-inductor-") as folder:  # torch unpacks it somewhere else
        path = Path(folder) / "network.pt2"
        path.write_bytes(content)
        try:
            opened = torch._inductor.aoti_load_package(str(path))
        except Exception as error:
            raise SzilardError(f"torch cannot open the package: {first_line(error)}") from error

    @torch.no_grad()
    def run(x: Tensor) -> tuple[Tensor, ...]:
        return tuple(opened(x))

    return run


def _digest(archive: zipfile.ZipFile, entries: Mapping[str, str]) -> str:
    parts = [packed(entries)]
    for name in sorted(set(archive.namelist())):
        if not name.endswith(_ENTRY):
            parts += [name.encode(), archive.read(name)]
    return hashed(parts)
