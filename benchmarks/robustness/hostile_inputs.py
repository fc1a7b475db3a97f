"""Data files and run folders that are odd, through what reads them: .npz, .csv, idx and its .gz, the report of runs."""

from __future__ import annotations

import functools
import gzip
import io
import json
import os
import pickle
import random
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

from robustness import mutate, odd_json
from robustness.watch import MIB, Outcome, too_much, watched

Fault = tuple[str, str]
FAMILIES = ("npz", "csv", "idx", "run")
ALWAYS, RATIO = 128 * MIB, 128  # what a data file may fill without a reason, and for each of its bytes
SECONDS = 8.0
DTYPES = [
    "<f4",
    "<f8",
    "|u1",
    "<i8",
    "|O",
    "<U4",
    "|S3",
    "<c16",
    "|b1",
    ">f4",
    "<f2",
    "|V8",
    "<M8[s]",
    "<f16",
    "nonsense",
]
SHAPES = ["(4, 3)", "(4,)", "()", "(0,)", "(-1,)", "(4, 3, 2, 1)", "(1000000, 1000000)", "(4611686018427387904, 4)",
          "(0, 4611686018427387904)", "(4.0,)", "(True,)", "4", "[4]", "(" + "1," * 60 + ")", "(" * 200]  # fmt: skip
CELLS = ["1", "-2.5", "nan", "inf", "1e999", "0x10", "", " ", "a", '"a,b"', '"', "=1+1", "\x1b[31m", "\u202e",
"\0", "٣", "1_0",
         "x" * 5000, "NA", "None", "1,2", "\r", "1e-400", "9" * 400]  # fmt: skip


class Bomb:
    """What a pickle must not do."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch RAN",)


def mutant(family: str, number: int) -> tuple[str, bytes]:
    """Name and bytes of a data file."""
    more = random.Random(f"{family} {number}")
    if family == "npz":
        return "mutant.npz", npz(more)
    if family == "csv":
        return f"mutant.{more.choice(['csv', 'csv', 'tsv'])}", table(more)
    return more.choice(["mutant-idx3-ubyte", "mutant-idx3-ubyte.gz"]), idx(more)


def npz(more: random.Random) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(out, "w") as archive:
        for name in ("x", "y") if more.random() < 0.9 else ("x",):
            archive.writestr(
                f"{odd_member(name, more)}.npy",
                npy(name, more),
                more.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
            )
        if more.random() < 0.1:
            archive.writestr(more.choice(["x.npy", "../x.npy", "a.txt", "z.npy"]), npy("x", more))
    data = out.getvalue()
    how = more.random()
    if how < 0.25:
        return mutate.spoil(data, more)
    return lied(data, more) if how < 0.4 else data


def odd_member(name: str, more: random.Random) -> str:
    return (
        name
        if more.random() < 0.9
        else more.choice(["", "X", "x_train", "../x", "a/b", "\x1b[2J", "x" * 3000])
    )


def npy(name: str, more: random.Random) -> bytes:
    """An array in numpy's format, with a header that may be anything."""
    dtype, shape = ("<f4", "(30, 6)") if name == "x" else ("<i8", "(30,)")
    content: bytes = (
        struct.pack("<180f", *(i % 7 for i in range(180)))
        if name == "x"
        else struct.pack("<30q", *[0, 1, 2] * 10)
    )
    how = more.random()
    dtype = more.choice(DTYPES) if how < 0.2 else dtype
    shape = more.choice(SHAPES) if 0.2 < how < 0.5 else shape
    if dtype == "|O":
        content = pickle.dumps([Bomb()] * 4)
    if 0.5 < how < 0.52:
        shape, content = f"({8 * MIB}, 8)", bytes(32 * MIB)  # which deflates to some kilobytes
    header = f"{{'descr': {dtype!r}, 'fortran_order': {more.random() < 0.1}, 'shape': {shape}, }}"
    if how > 0.85:
        header = mutate.spoil(header.encode(), more).decode("latin-1")
    version, length = (1, "<H") if more.random() < 0.8 else (more.choice([2, 3, 9]), "<I")
    header = header.ljust(117)[:60000] + "\n"
    start = b"\x93NUMPY" + bytes([version, 0]) + struct.pack(length, len(header) + (more.random() < 0.05) * 7)
    return start + header.encode("utf-8") + content


def lied(data: bytes, more: random.Random) -> bytes:
    """The archive with sizes in its directory that are not so."""
    found = bytearray(data)
    at = found.rfind(b"PK\1\2")
    if at >= 0:
        place = at + more.choice([16, 20, 24, 42, 28, 8, 10])
        found[place : place + 4] = struct.pack("<I", more.choice([0, 1, 2**31, 2**32 - 1, len(data)]))
    return bytes(found)


def table(more: random.Random) -> bytes:
    rows = [
        ["a", "b", "kind", "y"],
        *([str(i % 7), str(i % 5 - 2.5), "uv"[i % 2], str(i % 3)] for i in range(40)),
    ]
    for _ in range(more.choice([1, 1, 2, 3, 8])):
        row, column = more.randrange(len(rows)), more.randrange(4)
        how = more.randrange(6)
        if not rows[row]:
            rows[row] = [more.choice(CELLS)]
        elif how < 3:
            rows[row][column % max(1, len(rows[row]))] = more.choice(CELLS)
        elif how == 3:
            rows[row] = rows[row][: more.randrange(4)]
        elif how == 4:
            rows[row] = rows[row] * more.choice([2, 500])
        else:
            rows = rows[: more.randrange(len(rows))] or [[""]]
    data = (
        more.choice(["\n", "\n", "\r\n", "\r"])
        .join(more.choice(",,,;\t").join(row) for row in rows)
        .encode("utf-8", "replace")
    )
    how = more.random()
    if how < 0.1:
        data = more.choice([b"\xef\xbb\xbf", b"\xff\xfe", b"\0"]) + data
    return mutate.spoil(data, more) if how > 0.8 else data


def idx(more: random.Random) -> bytes:
    sizes = [
        more.choice([0, 1, 2, 5, 2**31, 2**32 - 1, 65536]) if more.random() < 0.2 else size
        for size in (5, 4, 4)
    ]
    values = bytes(range(80)) if more.random() < 0.97 else bytes(48 * MIB)
    data = bytes([0, 0, more.choice([8, 8, 8, 9, 13, 0]), more.choice([3, 3, 3, 1, 2, 0, 255])])
    data += b"".join(struct.pack(">I", size) for size in sizes) + values
    if more.random() < 0.4:
        data = mutate.spoil(data, more) if len(data) < 1000 else data
    if more.random() < 0.6:
        data = gzip.compress(data, 6, mtime=0)
        data = mutate.spoil(data, more) if more.random() < 0.5 else data
    return data


# -- run folders ----------------------------------------------------------------------------------------


@functools.cache
def run_files(folder: Path) -> dict[str, bytes]:
    """The files of a small run that ``make_run`` made, by their path inside."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def make_run(folder: Path) -> None:
    """A run of two methods, as the tests of the report make it: nothing is trained."""
    import report_folders

    report_folders.classification(folder, ("ssvi", "deterministic"))


def run_mutant(number: int, seed: Path) -> dict[str, bytes]:
    """A run folder with one or two of its files changed."""
    more = random.Random(f"run {number}")
    files = dict(run_files(seed))
    for _ in range(more.choice([1, 1, 2])):
        name = more.choice(list(files))
        data = files[name]
        how = more.random()
        if how < 0.1:
            files[name] = mutate.spoil(data, more)
        elif how < 0.13:
            files[name] = more.choice(
                [b"", b"\0" * 100, b"[" * 5000, b"null", b"{}", b"[]", b"1", b'"a"', b"\xff\xfe"]
            )
        elif name.endswith("result.json"):
            files[name] = (
                odd_json.text(odd_json.change(json.loads(data), more), more) if loads(data) else data
            )
        elif name.endswith("metrics.jsonl"):
            lines = data.splitlines()
            at = more.randrange(len(lines)) if lines else 0
            if lines and loads(lines[at]):
                lines[at] = odd_json.text(odd_json.change(json.loads(lines[at]), more), more)
            files[name] = b"\n".join(lines) + b"\n" * (more.random() < 0.9)
        elif name.endswith("arrays.npz"):
            files[name] = more.choice([npz(more), mutate.spoil(data, more)])
        else:
            files[name] = mutate.spoil(data, more)
    return files


def loads(data: bytes) -> bool:
    try:
        return isinstance(json.loads(data), dict | list)
    except (ValueError, RecursionError):
        return False


# -- doors ----------------------------------------------------------------------------------------------


def check(family: str, number: int, folder: Path, seed: Path, traps: Path) -> list[Fault]:
    """What is wrong with the readers on one input."""
    if family == "run":
        faults = check_run(run_mutant(number, seed), folder / "run", page=number % 25 == 0)
    else:
        name, data = mutant(family, number)
        path = folder / name
        path.write_bytes(data)
        found = watched(functools.partial(reader(family), path), (path,))
        faults = judged(f"{family} reader", found, max(ALWAYS, RATIO * len(data)))
    if (traps / "RAN").exists():
        (traps / "RAN").unlink()
        faults.append(("code_run", f"a pickle of {family} has run"))
    return faults


def reader(family: str) -> Any:
    from szilard import data
    from szilard.data.idx import read_idx

    if family == "idx":
        return read_idx
    return data.load if family == "npz" else functools.partial(data.load, target="y")


def check_run(files: dict[str, bytes], folder: Path, *, page: bool) -> list[Fault]:
    import shutil

    from szilard import report
    from szilard.run import settings
    from szilard.run.folder import RunFolder

    shutil.rmtree(folder, ignore_errors=True)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    run = RunFolder(folder)
    method = run.method("ssvi")
    tried = {
        "report.table": lambda: report.table(folder),
        "history": method.history,
        "rewind": lambda: method.rewind(16),
        "read_result": lambda: method.read_result() if method.finished else None,
        "settings": lambda: settings.read(run.settings) if run.settings.is_file() else None,
    }
    if page:
        tried["report.write"] = lambda: report.write(folder)
    faults: list[Fault] = []
    size = sum(map(len, files.values()))
    for door, call in tried.items():
        found = watched(call, (folder,))
        faults += judged(door, found, max(ALWAYS, RATIO * size))
    return faults


def judged(door: str, found: Outcome, declared: int) -> list[Fault]:
    faults: list[Fault] = []
    if found.wrong:
        faults.append(("wrong_exceptions", f"{door}: {found.wrong}"))
    if too_much(found, declared):
        faults.append(("peak_over_allowed", f"{door}: {found.peak} bytes"))
    if found.seconds > SECONDS:
        faults.append(("slow", f"{door}: {found.seconds:.1f} s"))
    return faults + [("code_run", f"{door}: {what}") for what in found.touched]
