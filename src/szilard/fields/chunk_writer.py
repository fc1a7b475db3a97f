"""The chunks of a variable with a bound: coded in several threads, each file complete or not there."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import zarr

from szilard import atomic
from szilard.codec import FieldCodec, opening
from szilard.errors import SzilardError
from szilard.fields import blocks, calls
from szilard.fields.plan import Plan
from szilard.fields.progress import Progress


class ChunkWriter:
    """Writes the chunks that are missing in the array of a variable.

    Attributes:
        plan: the variable.
        total: its number of chunks.
        exact: of these, the chunks that hold the values as they are, because coding would not make them smaller.

    Args:
        plan: the variable.
        codec: with the weights that ``zarr.json`` has.
        folder: of the store.
        workers: threads.
    """

    def __init__(self, plan: Plan, codec: FieldCodec, folder: Path, workers: int) -> None:
        self.plan, self._codec, self._workers = plan, codec, workers
        self._folder = folder / plan.name
        self._key = zarr.open_array(self._folder, mode="r", zarr_format=3).metadata.encode_chunk_key
        self._places = list(blocks.places(plan.variable.shape, plan.chunks))
        self.total = len(self._places)
        self.exact = 0
        self._lock = threading.Lock()

    def run(self, told: Progress) -> tuple[int, float]:
        """Write what is missing.

        Args:
            told: of each chunk.

        Returns:
            chunks that were written, and processor seconds.
        """
        missing = []
        for place in self._places:
            there = self._there(self._folder / self._key(place))
            if there is None:
                missing.append(place)
            else:
                self.exact += there[1]
                told.advance(self.plan.name, self._raw(place), there[0])

        def job(place: tuple[int, ...], block: np.ndarray, laid: np.ndarray | None = None) -> float:
            start = time.thread_time()
            size, exact = self._write(place, block, laid)
            with self._lock:
                self.exact += exact
                told.advance(self.plan.name, block.nbytes, size)
            return time.thread_time() - start

        laid = self.plan.limit.laid(self.plan.variable, self.plan.chunks)
        arrays = [blocks.lazy(self.plan.variable, self.plan.chunks)] + ([] if laid is None else [laid])
        spent = blocks.each(job, arrays, missing, self._workers) if missing else []
        return len(missing), sum(spent)

    def bytes(self) -> int:
        """Of the variable on disk."""
        return sum(file.stat().st_size for file in self._folder.rglob("*") if file.is_file())

    def _write(self, place: tuple[int, ...], block: np.ndarray, laid: np.ndarray | None) -> tuple[int, bool]:
        """Bytes of the new chunk, and whether it holds the values as they are."""
        bounds = None
        if laid is not None:
            bounds = blocks.padded(self.plan.limit.of_block(laid, block), self.plan.chunks)
        data = calls.encoded(self._codec, blocks.padded(block, self.plan.chunks), bounds)
        file = self._folder / self._key(place)
        atomic.make_folder(file.parent)
        atomic.write(file, data)
        return len(data), _is_exact(data)

    def _there(self, file: Path) -> tuple[int, bool] | None:
        """As :meth:`_write`, of a chunk of an earlier call; None if it is missing, or damaged by a loss of power."""
        try:
            data = file.read_bytes()
            return len(data), _is_exact(data)
        except (FileNotFoundError, SzilardError):
            return None
        except OSError as error:
            raise atomic.refusal(file, error) from error

    def _raw(self, place: tuple[int, ...]) -> int:
        shape, chunks = self.plan.variable.shape, self.plan.chunks
        lengths = [min(c, n - at * c) for at, n, c in zip(place, shape, chunks, strict=True)]
        return int(np.prod(lengths, dtype=np.int64)) * self.plan.variable.dtype.itemsize


def _is_exact(data: bytes) -> bool:
    """Whether a chunk holds the values as they are; raises if its checksum or head is damaged."""
    return opening.order(data) == "raw"
