"""Predict and learn the rows of a file in a folder that can be killed at any moment and continued."""

from __future__ import annotations

import contextlib
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from szilard import atomic, interrupts
from szilard.adapt.streaming import capacity, layout, result, settings, view, weights_table
from szilard.adapt.streaming.folder import Growing, StreamFolder
from szilard.adapt.streaming.layout import Layout
from szilard.adapt.streaming.result import Result
from szilard.adapt.streaming.rows import Rows
from szilard.adapt.streaming.settings import StreamSettings
from szilard.adapt.streaming.stream import Stream, as_line, counted, plain_of
from szilard.data.table_reading import read_table
from szilard.errors import SzilardError, SzilardWarning, shortened
from szilard.run import lock
from szilard.run.folder import RunFolder

_SHOWN = 5  # classes in a message
_COUNTED = re.compile(r"^row [0-9]+ ")  # of a filter, which counts from 0 the rows that it learned


@dataclass(frozen=True)
class Outcome:
    """A stream that has read its file.

    Attributes:
        rows_per_second: of this session; None if there was nothing to read.
    """

    folder: StreamFolder
    result: Result
    rows_per_second: float | None


@dataclass
class _Place:
    """Where a stream is.

    Attributes:
        name: of the file.
        done: its rows that were read.
        total: all of its rows.
        after: time of the last row of an earlier file, or None.
        time: time of the last row that was read, or None.
        found: hash of the rows that were read.
        sizes: valid bytes of ``predictions.csv`` and ``changes.csv``.
        earlier: name, rows that were read and their hash, of each earlier file.
    """

    name: str
    done: int
    total: int
    after: float | None
    time: float | None
    found: Any
    sizes: tuple[int, int]
    earlier: list[tuple[str, int, str]] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        return {
            "name": self.name, "done": self.done, "total": self.total, "after": self.after, "time": self.time,
            "digest": self.found.hexdigest(), "sizes": list(self.sizes),
            "earlier": self.earlier,
        }  # fmt: skip


def run(
    data: Path,
    options: Mapping[str, Any],
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Predict each row of a CSV file, then learn it, beside the controls.

    Everything that can be checked is checked before the first file is written or removed.

    Args:
        data: the file.
        options: settings of :class:`StreamSettings` that differ from the defaults; when a stream continues, its own
            settings are kept, and ``options`` must agree with them.
        out: the folder.
        resume: continue the stream in the folder, with the rest of its file or with a file of later rows.
        overwrite: replace the stream in the folder.
        progress: called with the rows that were read and the rows of the file.

    Raises:
        SzilardError: an error that the user can fix.
        KeyboardInterrupt: a signal was received; its argument is a sentence that says what to do.
    """
    folder = StreamFolder(out)
    begun = False
    with lock.run(out):
        try:
            _check_free(folder, resume=resume, overwrite=overwrite)
            continues = resume and folder.in_use
            chosen = _settings(folder, options) if continues else _fresh(options)
            stream, rows, place = _open(folder, data, chosen, continues=continues)
            begun = True
            _claim(folder, chosen, overwrite=overwrite, more=place.done < place.total)
            with interrupts.later():
                speed = _read(folder, stream, rows, place, progress)
                found = result.of(stream, data.name)
                atomic.write(folder.weights, weights_table.of(stream.contest.learner).encode())
                atomic.write(folder.report, view.page(stream, found, folder).encode())
                atomic.write(folder.result, found.to_json().encode())
        except KeyboardInterrupt as stop:
            stop.args = (f"continue with {folder.command(data)}" if begun else f"{out} is unchanged",)
            raise
        except atomic.NotWritten as error:
            raise error.advised(f"continue with {folder.command(data)}") from error
    return Outcome(folder, found, speed)


def _check_free(folder: StreamFolder, *, resume: bool, overwrite: bool) -> None:
    if resume and overwrite:
        raise SzilardError("--resume continues a stream and --overwrite replaces it; choose one")
    if RunFolder(folder.path).in_use:
        raise SzilardError(f"{folder.path} holds a run of szilard fit; name another folder with --out")
    if folder.in_use and not (resume or overwrite):
        raise SzilardError(
            f"{folder.path} holds a stream; add --resume to continue it, --overwrite to replace it, or name another "
            "folder with --out"
        )
    stranger = next((path for path in folder.files() if path.exists()), None)
    if stranger is not None and not (folder.in_use or overwrite):
        raise SzilardError(f"{stranger} exists and is of no stream; name another folder with --out")


def _fresh(options: Mapping[str, Any]) -> StreamSettings:
    if options.get("target") is None:
        raise SzilardError("name the column to predict as target")
    return StreamSettings(**options)


def _settings(folder: StreamFolder, options: Mapping[str, Any]) -> StreamSettings:
    """The settings of a stream that continues; raises if the given ones differ."""
    saved = settings.read(folder.settings)
    asked = replace(saved, **options)
    difference = saved.differences(asked)
    if difference is not None:
        raise SzilardError(
            f"the stream in {folder.path} was started with other settings: {difference}; use the same settings, or "
            "name another folder"
        )
    return asked


def _open(
    folder: StreamFolder, data: Path, chosen: StreamSettings, *, continues: bool
) -> tuple[Stream, Rows, _Place]:
    """Read the file and the state, and check all that can be checked."""
    state = folder.load() if continues and folder.belief.is_file() else None
    plain = None if state is None else _checked(folder, state)
    known = None if plain is None else plain[0]
    table = read_table(data, chosen.decimal, None if known is None else known.mark)
    if known is not None:
        layout.check_later(table, known, folder.path)
    stream = Stream(chosen, known or layout.of_table(table, chosen))
    if state is not None:
        with _damage(folder):
            stream.load_state_dict(state)
    rows = Rows(table, stream.layout, stream.classes)
    if plain is None:
        place = _Place(data.name, 0, len(rows), None, None, rows.hashed(0), (0, 0))
    else:
        place = _place(folder, data, plain[1], rows)
    rows.check(strict=chosen.strict, after=place.after)
    capacity.check(stream.contest, rows, stream.classes)
    rows.warn_of_gaps(place.done)
    if known is not None and stream.row and not place.done:  # a later file
        layout.strangers(table, known, chosen)
    if plain is not None and plain[1]["done"] == plain[1]["total"]:  # a later file, or one that has grown
        _tell_of_new_classes(rows, stream, place.done)
    return stream, rows, place


def _checked(folder: StreamFolder, state: dict[str, np.ndarray]) -> tuple[Layout, dict[str, Any]]:
    """Layout and position in a state."""
    with _damage(folder):
        plain = plain_of(state)
        position = plain["position"]
        if not all(isinstance(position[name], str) for name in ("name", "digest")):
            raise ValueError("position")
        for name in ("after", "time"):
            if position[name] is not None and not isinstance(position[name], int | float):
                raise ValueError("position")
        first, second = map(counted, position["sizes"])
        if not counted(position["done"]) <= counted(position["total"]):
            raise ValueError("position")
        position["sizes"] = first, second
        position["earlier"] = [_earlier(*one) for one in position["earlier"]]
        return Layout.of_plain(plain["layout"]), position


def _earlier(name: Any, done: Any, digest: Any) -> tuple[str, int, str]:
    if not isinstance(name, str) or not isinstance(digest, str):
        raise ValueError("position")
    return name, counted(done), digest


@contextlib.contextmanager
def _damage(folder: StreamFolder) -> Iterator[None]:
    """Errors of a state that was changed or damaged, as one sentence."""
    advice = "start again with --overwrite (in Python: overwrite=True)"
    try:
        yield
    except SzilardError as error:
        raise SzilardError(f"{folder.belief} cannot be continued: {error}; {advice}") from error
    except (
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise SzilardError(f"{folder.belief} is damaged, or was changed; {advice}") from error


def _place(folder: StreamFolder, data: Path, saved: dict[str, Any], rows: Rows) -> _Place:
    """Where to go on: in the same file, which may have grown, or at the beginning of another one.

    Raises:
        SzilardError: another file, before the earlier one was read to its end; or rows that were read before.
    """
    done, sizes, earlier = saved["done"], saved["sizes"], saved["earlier"]
    found = rows.hashed(done)
    if done <= len(rows) and found.hexdigest() == saved["digest"]:
        return _Place(data.name, done, len(rows), saved["after"], saved["time"], found, sizes, earlier)
    files = [*earlier, (saved["name"], done, saved["digest"])]
    _refuse_known(folder, data, files, rows)
    if done < saved["total"]:
        raise SzilardError(
            f"the stream in {folder.path} has read {done:,} of {saved['total']:,} rows of {saved['name']}, and "
            f"{data} is another file, or has changed; finish {saved['name']} first, or start again in another folder"
        )
    return _Place(data.name, 0, len(rows), saved["time"], saved["time"], rows.hashed(0), sizes, files)


def _refuse_known(folder: StreamFolder, data: Path, files: list[tuple[str, int, str]], rows: Rows) -> None:
    """Raise if a file would be learned twice: it has the name of one that was read, or begins with its rows.

    Args:
        files: name, rows that were read and their hash, of each file of the stream.
    """
    digests = rows.digests({done for _, done, _ in files})
    for name, done, digest in reversed(files):
        if done and digests.get(done) == digest:
            raise SzilardError(
                f"{data} begins with the {done:,} rows of {name} that the stream in {folder.path} has read, and would "
                "be learned twice; put later rows alone into a file of another name"
            )
        if name == data.name:
            what = (
                f"has {len(rows):,} rows now"
                if len(rows) < done
                else "has changed in these rows or in its columns"
            )
            raise SzilardError(
                f"the stream in {folder.path} has read {done:,} rows of {name}, and {data} {what}; restore it, put "
                "later rows into a file of another name, or start again with --overwrite (in Python: overwrite=True)"
            )


def _tell_of_new_classes(rows: Rows, stream: Stream, start: int) -> None:
    """Warn of classes in the rows from ``start`` that no row before had."""
    if rows.layout.of_numbers:
        return
    new = [
        one for one in dict.fromkeys(rows.targets[start:]) if one is not None and one not in stream.classes
    ]
    if not new:
        return
    shown = ", ".join(repr(shortened(one, 60)) for one in new[:_SHOWN])
    more = f" and {len(new) - _SHOWN:,} more" if len(new) > _SHOWN else ""
    what = (
        f"the new classes {shown}{more}, which join"
        if len(new) > 1
        else f"the new class {shown}, which joins"
    )
    warnings.warn(
        f"{rows.table.path} has {what} at the prior; the first row of a class is not scored",
        SzilardWarning,
        stacklevel=2,
    )


def _claim(folder: StreamFolder, chosen: StreamSettings, *, overwrite: bool, more: bool) -> None:
    if overwrite:
        folder.clear()
    atomic.make_folder(folder.path)
    atomic.remove_leftovers(folder.path)
    if more:  # until they are read, there is no result
        for path in (folder.result, folder.report, folder.weights):
            path.unlink(missing_ok=True)
    atomic.write(folder.settings, chosen.to_toml().encode())


def _read(
    folder: StreamFolder,
    stream: Stream,
    rows: Rows,
    place: _Place,
    progress: Callable[[int, int], None] | None,
) -> float | None:
    """Read the rest of a file; rows a second, or None if there was none."""
    started, first = time.perf_counter(), place.done
    with contextlib.ExitStack() as stack:
        tables = [Growing(folder.predictions, place.sizes[0])]
        if stream.log.columns:
            tables.append(Growing(folder.changes, place.sizes[1]))
        for one in tables:
            stack.callback(one.close)
        for table, header in zip(tables, (stream.header(), stream.log.columns), strict=False):
            if not table.size:
                table.add(as_line(header))
        if not stream.row:
            _save(folder, stream, place, tables)
        since = 0
        while place.done < place.total:
            _step(stream, rows, place, tables)
            since += 1
            stop = interrupts.asked()
            last = place.done == place.total
            if since == stream.settings.checkpoint_rows or last or stop is not None:
                _save(folder, stream, place, tables)
                since = 0
            if progress is not None:
                progress(place.done, place.total)
            if stop is not None and not last:
                raise interrupts.Interrupted(stop)
    spent = time.perf_counter() - started
    return (place.done - first) / spent if place.done > first and spent > 0 else None


def _step(stream: Stream, rows: Rows, place: _Place, tables: list[Growing]) -> None:
    number = place.done
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
            predicted, change = stream.step(rows, number)
    except SzilardError as error:
        said = _COUNTED.sub("it ", str(error))
        raise SzilardError(f"line {rows.lines[number]} of {rows.table.path}: {said}") from error
    tables[0].add(predicted)
    if change is not None:
        tables[1].add(change)
    rows.feed(place.found, number)
    place.done = number + 1
    if rows.times is not None:
        place.time = float(rows.times[number])


def _save(folder: StreamFolder, stream: Stream, place: _Place, tables: list[Growing]) -> None:
    """The tables first, then the state, which says how much of them is valid."""
    sizes = [table.flush() for table in tables]
    place.sizes = sizes[0], sizes[1] if len(sizes) > 1 else 0
    folder.save(stream.state_dict(place.plain()))
