"""Open a file that ``compile`` wrote."""

from __future__ import annotations

import os
from pathlib import Path

from szilard.deploy import backends
from szilard.deploy.compiled import Compiled
from szilard.deploy.description import Description
from szilard.errors import SzilardError


def load(path: Path | str, *, threads: int = 1, trusted: bool = False) -> Compiled:
    """Open a compiled file: ``.onnx``, ``.pte`` or ``.pt2``.

    Its hash is checked, which finds damage and changes by mistake. A hash does not show who wrote a file.

    Args:
        path: the file.
        threads: of the runtime.
        trusted: open a ``.pt2``, too. It is a library of machine code, which can do anything that you can.

    Returns:
        a function of inputs ``[B, *shape]``.

    Raises:
        SzilardError: no such file, a damaged or changed one, one of a later version, one of machine code that is not
            ``trusted``, or one whose runtime is not installed.
    """
    if not isinstance(path, str | os.PathLike):
        raise SzilardError(f"the file is a {type(path).__name__}; give its path")
    path = Path(os.fspath(path))
    name = backends.SUFFIXES.get(path.suffix.lower())
    if name is None:
        raise SzilardError(
            f"{path} has no suffix of a compiled file; give one that ends in {', '.join(backends.SUFFIXES)}"
        )
    chosen = backends.backend(name)
    if chosen.executable and not trusted:
        raise SzilardError(
            f"{path} is a library of machine code, which can do anything that you can; pass trusted=True if you made it"
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SzilardError(f"{path} cannot be read: {error.strerror}") from error
    entries, opened = chosen.open(path, content, threads)
    described = Description.of(entries, path)
    decisions = (f"backend {name}, mode {described.mode}, from {path.name}",)
    return Compiled(
        opened(described),
        name,
        described.mode,
        described.shape,
        described.outputs,
        described.batch,
        described.dtype,
        described.labels,
        decisions,
        metadata=entries,
        image_range=described.image_range,
    )
