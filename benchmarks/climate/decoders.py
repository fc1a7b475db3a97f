"""Decode the same streams with every decoder of this machine, each in a process of its own.

    python benchmarks/climate/decoders.py FOLDER DECODER THREADS

prints the CRC of each array of FOLDER, which holds ``NAME.json`` (the codec) and ``NAME.bin`` (the stream). DECODER is
``numpy`` or an instruction set of the C++ kernels.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

KERNELS = ("avx512", "avx2", "neon", "baseline")
THREADS = (1, 2, 8)
_UNKNOWN = 3  # exit status if the machine does not run an instruction set


def crcs(folder: Path) -> list[dict[str, object]]:
    """CRC by stream of every decoder that this machine runs.

    Raises:
        RuntimeError: a decoder failed.
    """
    found: list[dict[str, object]] = []
    for decoder in ("numpy", *KERNELS):
        for threads in THREADS if decoder != "numpy" else THREADS[:1]:
            command = [sys.executable, __file__, str(folder), decoder, str(threads)]
            environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
            done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
            if done.returncode == _UNKNOWN:
                break
            if done.returncode:
                raise RuntimeError(f"decoder {decoder} failed: {done.stderr[-2000:]}")
            found.append({"decoder": decoder, "threads": threads, "crcs": json.loads(done.stdout)})
    return found


def identical(rows: list[dict[str, object]]) -> bool:
    """Whether all decoders gave the same bits."""
    return len(rows) > 1 and all(row["crcs"] == rows[0]["crcs"] for row in rows)


def main(folder: Path, decoder: str, threads: int) -> int:
    """Print the CRCs of one decoder; the exit status."""
    import torch

    from szilard.codec import FieldCodec
    from szilard.kernels import native

    torch.set_num_threads(threads)
    if decoder == "numpy":
        native.available = lambda: False  # a process of its own: nobody else sees it
    elif not native.available() or native.library().szilard_use_isa(decoder.encode()):
        return _UNKNOWN
    found = {}
    for path in sorted(folder.glob("*.json")):
        codec = FieldCodec.from_dict(json.loads(path.read_text()))
        found[path.stem] = zlib.crc32(codec.decode(path.with_suffix(".bin").read_bytes()).tobytes())
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
