"""Whether a store is whole: every chunk is decoded, and its checksums are compared."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from szilard.errors import SzilardError, first_line, printable

if TYPE_CHECKING:
    from szilard.cli.fields.progress_bar import Told


@dataclass(frozen=True)
class Whole:
    """A variable of which every chunk was decoded.

    Attributes:
        name: of the variable.
        coded: whether it has a bound and checksums; others are read as zarr reads them.
        chunks: how many there are.
        values: number of its values.
        bytes: of its chunks on disk.
    """

    name: str
    coded: bool
    chunks: int
    values: int
    bytes: int


def check_whole(path: Path, told: Told) -> list[Whole]:
    """Decode every chunk of a store.

    Args:
        path: a store in zarr format 3.
        told: is told how far it is.

    Raises:
        SzilardError: a chunk is missing or damaged, or the store cannot be read.
    """
    from szilard.fields import ZarrField
    from szilard.fields.blocks import workers_of
    from szilard.fields.places import arrays_of

    arrays = arrays_of(path)
    told.start(0, sum(array.nbytes for array in arrays.values()))
    found = []
    for name, array in arrays.items():
        told.status(f"reading {name}")
        codecs: Any = getattr(array.metadata, "codecs", ())
        coded = len(codecs) == 1 and isinstance(codecs[0], ZarrField)
        read = _coded if coded else _exact
        found.append(read(name, array, path / name, told, workers_of(None)))
    return found


def _coded(name: str, array: Any, folder: Path, told: Told, workers: int) -> Whole:
    from szilard.fields import blocks, calls

    codec = array.metadata.codecs[0].codec
    bad: list[str] = []

    def job(place: tuple[int, ...]) -> int:
        file = folder / array.metadata.encode_chunk_key(place)
        try:
            data = file.read_bytes()
            values = calls.decoded(codec, data, array.chunks, array.dtype)
        except FileNotFoundError:
            bad.append(f"{file} is missing")
            return 0
        except (OSError, SzilardError) as error:
            bad.append(f"{file}: {first_line(error)}")
            return 0
        told.advance(name, values.nbytes, 0)
        return len(data)

    places = list(blocks.places(array.shape, array.chunks))
    with ThreadPoolExecutor(workers) as pool:
        sizes = list(pool.map(job, places))
    if bad:
        raise SzilardError(
            f"{len(bad):,} of {len(places):,} chunks of {printable(name)} are damaged or missing, such as {min(bad)}; "
            "write the store again, or copy it again"
        )
    return Whole(name, True, len(places), int(array.size), sum(sizes))


def _exact(name: str, array: Any, folder: Path, told: Told, workers: int) -> Whole:
    from szilard.fields import blocks

    places = list(blocks.places(array.shape, array.chunks))
    try:
        for place in places:
            region = tuple(slice(at * n, (at + 1) * n) for at, n in zip(place, array.chunks, strict=True))
            told.advance(name, getattr(array[region], "nbytes", 0), 0)
    except SzilardError:
        raise
    except Exception as error:  # codecs of other libraries
        raise SzilardError(
            f"{printable(name)} in {folder.parent} cannot be read ({first_line(error)}); write the store again, or "
            "copy it again"
        ) from error
    size = sum(
        file.stat().st_size for file in folder.rglob("*") if file.is_file() and file.name != "zarr.json"
    )
    return Whole(name, False, len(places), int(array.size), size)
