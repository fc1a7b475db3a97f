"""A table of the seconds of single layers, measured once for a machine and kept in a JSON file."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from szilard import atomic, plain_json
from szilard.compression.policies.costs import tiny_graphs
from szilard.compression.policies.costs.meter import Measure, Meter
from szilard.compression.policies.costs.rows import Row
from szilard.cost.processor_name import processor
from szilard.errors import SzilardError

FORMAT = "szilard latency table 1"
GROUP = 30  #: rows that are measured beside each other, and kept together


def this_machine(threads: int) -> dict[str, str]:
    """What a table belongs to: the processor, the runtime and the number of threads."""
    import onnxruntime

    return {
        "processor": processor(), "onnxruntime": str(onnxruntime.__version__), "threads": str(threads),
    }  # fmt: skip


class LatencyTable:
    """Seconds of one layer by its size, for one example, in ONNX Runtime.

    A row is measured when it is first asked for: the difference of two tiny graphs, with the layer and without it (see
    :mod:`~szilard.compression.policies.costs.tiny_graphs`). After each group of rows the file is written, so that a
    killed measurement goes on where it was.

    Args:
        threads: of the runtime.
        path: file of the table; by default one for each machine in ``$XDG_CACHE_HOME/szilard/latency``, or
            ``~/.cache/szilard/latency``.
        measure: function that measures, instead of :class:`Meter`.
        machine: what the table belongs to, by default :func:`this_machine`.

    Attributes:
        path: of its file.
        measured: number of rows that were measured, not read.

    Raises:
        SzilardError: the file is no table, or one that was named belongs to another machine.
    """

    def __init__(
        self,
        *,
        threads: int = 1,
        path: Path | str | None = None,
        measure: Measure | None = None,
        machine: Mapping[str, str] | None = None,
    ) -> None:
        self.threads = threads
        self.machine = dict(machine or this_machine(threads))
        self._named = path is not None
        self.path = Path(os.fspath(path)) if path is not None else _cached(self.machine)
        self._measure: Measure = measure or Meter(threads=threads, brief=True)
        self.measured = 0
        self._rows = self._read()

    def __len__(self) -> int:
        return len(self._rows)

    def seconds(self, row: Row) -> float:
        """Of a row, which is measured if it is not there yet.

        Raises:
            SzilardError: the machine is too noisy to measure.
        """
        if row.empty:
            return 0.0
        if row.key not in self._rows:
            self.prepare([row])
        return self._rows[row.key]

    def missing(self, rows: Iterable[Row]) -> list[Row]:
        """Those that are not measured yet, each once."""
        return list({row.key: row for row in rows if not row.empty and row.key not in self._rows}.values())

    def prepare(self, rows: Iterable[Row], progress: Callable[[int, int], None] | None = None) -> None:
        """Measure all rows that are missing, beside each other.

        Args:
            rows: that will be asked for.
            progress: is told how many rows are measured, and of how many.

        Raises:
            SzilardError: the machine is too noisy to measure.
        """
        # Rows with the same graph without the layer come together, so that it is measured less often.
        wanted = sorted(self.missing(rows), key=lambda row: (tiny_graphs.base_key(row), row.key))
        for start in range(0, len(wanted), GROUP):
            group = wanted[start : start + GROUP]
            self._rows |= self._seconds_of(group)
            self.measured += len(group)
            self._write()
            if progress is not None:
                progress(start + len(group), len(wanted))

    def _seconds_of(self, rows: Sequence[Row]) -> dict[str, float]:
        runs: dict[str, Any] = {}
        for row in rows:
            runs[row.key] = _run(tiny_graphs.with_layer(row), row, self.threads)
            base = tiny_graphs.base_key(row)
            if base not in runs:
                runs[base] = _run(tiny_graphs.without_layer(row), row, self.threads)
        found = self._measure(runs)
        # A layer that is lost in the noise of the others costs nothing that could be told.
        return {row.key: max(found[row.key] - found[tiny_graphs.base_key(row)], 0.0) for row in rows}

    def _read(self) -> dict[str, float]:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            if not self._named:
                return {}
            raise SzilardError(f"the latency table {self.path} cannot be read: {error.strerror}") from error
        try:
            table = plain_json.loads(content)
            rows = table["rows"]
            if (
                table["format"] != FORMAT
                or not isinstance(table["machine"], dict)
                or not isinstance(rows, dict)
            ):
                raise ValueError
            good = all(type(s) in (float, int) and math.isfinite(s) and s >= 0 for s in rows.values())
        except (ValueError, KeyError, TypeError):
            good = False
        if not good:
            raise SzilardError(
                f"{self.path} is damaged or no latency table; delete it, and its rows are measured again"
            )
        if table["machine"] != self.machine:
            if not self._named:
                return {}
            raise SzilardError(
                f"the latency table {self.path} belongs to another machine or runtime ({_line(table['machine'])}), and "
                f"this is {_line(self.machine)}; give another file"
            )
        return {str(key): float(seconds) for key, seconds in rows.items()}

    def _write(self) -> None:
        self._rows = self._read() | self._rows  # of another process that measures for the same table
        table = {"format": FORMAT, "machine": self.machine, "rows": dict(sorted(self._rows.items()))}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            atomic.write(self.path, json.dumps(table, indent=1).encode(), follow=True)
        except (OSError, atomic.NotWritten) as error:
            if self._named:
                raise SzilardError(f"the latency table {self.path} cannot be written: {error}") from error


def _run(content: bytes, row: Row, threads: int) -> Any:
    from szilard.deploy.backends.onnx_runtime import Session

    generator = torch.Generator().manual_seed(0)
    session, x = Session(content, threads), torch.randn(tiny_graphs.input_shape(row), generator=generator)
    return lambda: session(x)


def _cached(machine: Mapping[str, str]) -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or "")
    base = base if base.is_absolute() else Path("~/.cache").expanduser()
    name = hashlib.sha256(json.dumps(machine, sort_keys=True).encode()).hexdigest()[:16]
    return base / "szilard" / "latency" / f"{name}.json"


def _line(machine: Mapping[str, object]) -> str:
    parts = (f"{name} {value}" if name != "processor" else str(value) for name, value in machine.items())
    return ", ".join(parts)
