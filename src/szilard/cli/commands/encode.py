"""``szilard encode``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from szilard.cli.options import fields as f
from szilard.cli.options import output as o

if TYPE_CHECKING:
    from szilard.fields import Written

GROUP = "Compress"
EXAMPLES = (
    "szilard encode era5.nc -o era5.zarr --bound t2m=0.05",
    "szilard encode era5.nc -o era5.zarr --bound t2m=0.05 --bound '*=range:1e-3' --chunks time=24,lat=-1",
    "szilard encode era5.nc -o era5.zarr --bound t2m=map:0.5*t2m_spread",
    "szilard encode array.npy -o array.zarr --bound 0.05",
)


def encode(
    source: f.Source,
    out: f.Out,
    bound: f.Bound = None,
    chunks: f.Chunks = None,
    periodic: f.Periodic = None,
    effort: f.Effort = 1.0,
    seed: f.Seed = 0,
    workers: f.Workers = None,
    resume: f.Resume = False,
    overwrite: f.Overwrite = False,
    quiet: o.Quiet = False,
    json: o.Json = False,
    wide: o.Wide = False,
) -> None:
    """Compress fields of climate and weather into a zarr store, with a hard bound on the error of every value.

    xarray opens the store as any other one, where szilard is installed with its extra "field". Coordinates, attributes
    and variables without a bound are stored exactly. The input may be larger than memory.

    Until it is complete, the store is STORE.unfinished. After a kill or Ctrl-C the same command with --resume writes
    the chunks that are missing.
    """
    import time

    from szilard.cli import output
    from szilard.cli.fields import notes, opening, places, progress_bar, stated, written_table
    from szilard.errors import printable

    start = time.perf_counter()
    places.check(source, out)
    options: dict[str, Any] = {
        "chunks": stated.chunks(chunks), "periodic": periodic, "effort": effort, "seed": seed, "workers": workers,
        "resume": resume, "overwrite": overwrite,
    }  # fmt: skip
    with notes.collected() as found, opening.opened(source) as dataset:
        wanted = stated.bounds(bound or (), dataset, source)
        left = opening.groups(source)
        with progress_bar.shown(quiet=quiet or json) as told:
            written = _written(dataset, out, wanted, {**options, "progress": told})
    found += notes.of_exact_chunks(written)
    if left:
        found.append(f"groups are left out: {written_table.names(left)}")
    seconds = time.perf_counter() - start
    if json:
        output.as_json(_as_json(str(source), written, found, seconds))
        return
    if quiet:
        output.say(printable(str(out)))
        return
    written_table.show_written(written, found, seconds=seconds, wide=wide)


def _written(dataset: Any, out: Any, bound: dict[str, str], options: dict[str, Any]) -> Written:
    """The store; a write that is stopped says how to continue."""
    from szilard.atomic import NotWritten
    from szilard.fields import write

    try:
        return write(dataset, out, bound, **options)
    except NotWritten as error:
        raise error.advised("type the same command with --resume") from error
    except KeyboardInterrupt as stop:
        stop.args = (f"{out} is not complete; continue with the same command and --resume",)
        raise


def _as_json(source: str, written: Written, notes: list[str], seconds: float) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "source": source,
        "store": str(written.path),
        "bytes": written.bytes,
        "raw_bytes": written.raw_bytes,
        "ratio": written.ratio,
        "seconds": seconds,
        "variables": [{**asdict(one), "ratio": one.ratio} for one in written.variables.values()],
        "exact": list(written.exact),
        "notes": notes,
    }
