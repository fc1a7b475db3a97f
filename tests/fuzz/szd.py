"""An atheris target: ``python tests/fuzz/szd.py CORPUS_FOLDER [-runs=N]`` mutates files, guided by code coverage.

A run begins with the golden file. Each input is tried unchanged; with a corrected hash, so that it reaches the parser;
and as each part of a valid file, deflated if the part is, so that it reaches the decoders of the parts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from pathlib import Path

import atheris
import numpy as np  # noqa: F401 - before the instrumentation

with atheris.instrument_imports(include=["szilard.file", "szilard.coding"]):
    from szilard import file
    from szilard.file import SzilardFileError, deflate, digest, sections
    from szilard.file.names import DICTIONARY

GOLDEN = (Path(__file__).parent.parent / "file" / "everything.szd").read_bytes()
PARTS = sections.split(GOLDEN)
SECONDS = 1.0


def reseal(data: bytes) -> bytes:
    body = data[: -digest.FILE_BYTES]
    return body + digest.of_file(body)


def try_to_open(data: bytes) -> None:
    """Opening must succeed or raise SzilardFileError within ``SECONDS``."""
    begun = time.thread_time()
    with contextlib.suppress(SzilardFileError):
        file.arrays(file.loads(data, max_bytes=1 << 26))
    if time.thread_time() - begun > SECONDS:
        raise TimeoutError(f"{time.thread_time() - begun} s for {len(data)} bytes")


def one_input(data: bytes) -> None:
    try_to_open(data)
    try_to_open(reseal(data))
    for part, dictionary in (("names", DICTIONARY), ("fields", b""), ("meta", b"")):
        changed = dataclasses.replace(PARTS, **{part: deflate.compress(data, dictionary)})
        try_to_open(sections.join(changed))
    for part in ("adaptive", "static", "raw"):
        try_to_open(sections.join(dataclasses.replace(PARTS, **{part: data})))


def main() -> None:
    corpus = Path(sys.argv[1])
    corpus.mkdir(parents=True, exist_ok=True)
    seeds = {
        "golden": GOLDEN,
        "names": deflate.expand(PARTS.names, 1 << 20, "", DICTIONARY),
        "fields": deflate.expand(PARTS.fields, 1 << 20, ""),
        "meta": deflate.expand(PARTS.meta, 1 << 20, ""),
        "adaptive": PARTS.adaptive,
        "static": PARTS.static,
    }
    for name, seed in seeds.items():
        (corpus / name).write_bytes(seed)
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
