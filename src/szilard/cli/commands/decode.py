"""``szilard decode``."""

from __future__ import annotations

from szilard.cli.options import fields as f
from szilard.cli.options import output as o

GROUP = "Compress"
EXAMPLES = (
    "szilard decode era5.zarr -o era5.nc",
    "szilard decode era5.zarr -o t2m.nc --variable t2m",
    "szilard decode era5.zarr -o plain.zarr",
    "szilard decode array.zarr -o array.npy",
)


def decode(
    store: f.Store,
    out: f.Plain,
    variable: f.Variable = None,
    workers: f.Workers = None,
    overwrite: f.Overwrite = False,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Write a store of fields as netCDF, as a plain zarr store, or as .npy, for programs without szilard.

    Chunks are decoded one by one, so that the store may be larger than memory. Coordinates and attributes are kept, and
    a variable that was coded with a bound gets the attribute szilard_bound.
    """
    import time

    from szilard.cli import output
    from szilard.cli.fields import notes, opening, places, plain, plain_files, progress_bar, sizes
    from szilard.cli.table import say_wrapped
    from szilard.errors import SzilardError, printable

    start = time.perf_counter()
    places.check(store, out)
    places.check_free(out, overwrite=overwrite)
    plain_files.writer_of(out)
    if not opening.is_store(store):
        what = "is not a zarr store" if store.exists() else "does not exist"
        raise SzilardError(f"{store} {what}; name a folder that szilard encode has written")
    with notes.collected() as found, opening.opened(store) as dataset, output.writing(out):
        chosen = plain.selected(dataset, variable or (), store)
        with progress_bar.shown(quiet=quiet or json) as told:
            told.status(f"writing {out.name}")
            told.start(0, sum(chosen.variables[name].nbytes for name in opening.bounded(chosen)))
            whole, became = plain.plain(chosen, told)
            plain_files.write(whole, out, workers)
    found += became
    size = sum(file.stat().st_size for file in (out.rglob("*") if out.is_dir() else [out]) if file.is_file())
    names = [str(name) for name in whole.variables]
    if json:
        content = {"store": str(store), "file": str(out), "bytes": size, "variables": names, "notes": found}
        output.as_json({**content, "seconds": time.perf_counter() - start})
        return
    if quiet:
        output.say(printable(str(out)))
        return
    counted = f"{len(names)} variable{'' if len(names) == 1 else 's'}"
    say_wrapped(
        printable(f"{store} -> {out}: {counted}, {sizes.size(size)}, in {time.perf_counter() - start:.1f} s")
    )
    for note in found:
        say_wrapped(f"note: {note}")
