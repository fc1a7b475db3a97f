"""Invalid data files and run folders, given to their readers: .npz, .csv, IDX and its .gz, and reports of runs."""

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
ALWAYS, RATIO = 128 * MIB, 128  # memory limit of a data file: a constant, and a factor of its size
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
    """An object whose unpickling runs code, which must not happen."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch RAN",)


def mutant(family: str, number: int) -> tuple[str, bytes]:
    """Name and bytes of a data file."""
    rng = random.Random(f"{family} {number}")
    if family == "npz":
        return "mutant.npz", npz(rng)
    if family == "csv":
        return f"mutant.{rng.choice(['csv', 'csv', 'tsv'])}", table(rng)
    return rng.choice(["mutant-idx3-ubyte", "mutant-idx3-ubyte.gz"]), idx(rng)


def npz(rng: random.Random) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(out, "w") as archive:
        for name in ("x", "y") if rng.random() < 0.9 else ("x",):
            archive.writestr(
                f"{odd_member(name, rng)}.npy",
                npy(name, rng),
                rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
            )
        if rng.random() < 0.1:
            archive.writestr(rng.choice(["x.npy", "../x.npy", "a.txt", "z.npy"]), npy("x", rng))
    data = out.getvalue()
    how = rng.random()
    if how < 0.25:
        return mutate.spoil(data, rng)
    return lied(data, rng) if how < 0.4 else data


def odd_member(name: str, rng: random.Random) -> str:
    return (
        name if rng.random() < 0.9 else rng.choice(["", "X", "x_train", "../x", "a/b", "\x1b[2J", "x" * 3000])
    )


def npy(name: str, rng: random.Random) -> bytes:
    """An array in numpy's format with a random, mostly invalid header."""
    dtype, shape = ("<f4", "(30, 6)") if name == "x" else ("<i8", "(30,)")
    content: bytes = (
        struct.pack("<180f", *(i % 7 for i in range(180)))
        if name == "x"
        else struct.pack("<30q", *[0, 1, 2] * 10)
    )
    how = rng.random()
    dtype = rng.choice(DTYPES) if how < 0.2 else dtype
    shape = rng.choice(SHAPES) if 0.2 < how < 0.5 else shape
    if dtype == "|O":
        content = pickle.dumps([Bomb()] * 4)
    if 0.5 < how < 0.52:
        shape, content = f"({8 * MIB}, 8)", bytes(32 * MIB)  # compresses to some kilobytes
    header = f"{{'descr': {dtype!r}, 'fortran_order': {rng.random() < 0.1}, 'shape': {shape}, }}"
    if how > 0.85:
        header = mutate.spoil(header.encode(), rng).decode("latin-1")
    version, length = (1, "<H") if rng.random() < 0.8 else (rng.choice([2, 3, 9]), "<I")
    header = header.ljust(117)[:60000] + "\n"
    start = b"\x93NUMPY" + bytes([version, 0]) + struct.pack(length, len(header) + (rng.random() < 0.05) * 7)
    return start + header.encode("utf-8") + content


def lied(data: bytes, rng: random.Random) -> bytes:
    """The archive with wrong sizes in its directory."""
    found = bytearray(data)
    at = found.rfind(b"PK\1\2")
    if at >= 0:
        place = at + rng.choice([16, 20, 24, 42, 28, 8, 10])
        found[place : place + 4] = struct.pack("<I", rng.choice([0, 1, 2**31, 2**32 - 1, len(data)]))
    return bytes(found)


def table(rng: random.Random) -> bytes:
    rows = [
        ["a", "b", "kind", "y"],
        *([str(i % 7), str(i % 5 - 2.5), "uv"[i % 2], str(i % 3)] for i in range(40)),
    ]
    for _ in range(rng.choice([1, 1, 2, 3, 8])):
        row, column = rng.randrange(len(rows)), rng.randrange(4)
        how = rng.randrange(6)
        if not rows[row]:
            rows[row] = [rng.choice(CELLS)]
        elif how < 3:
            rows[row][column % max(1, len(rows[row]))] = rng.choice(CELLS)
        elif how == 3:
            rows[row] = rows[row][: rng.randrange(4)]
        elif how == 4:
            rows[row] = rows[row] * rng.choice([2, 500])
        else:
            rows = rows[: rng.randrange(len(rows))] or [[""]]
    data = (
        rng.choice(["\n", "\n", "\r\n", "\r"])
        .join(rng.choice(",,,;\t").join(row) for row in rows)
        .encode("utf-8", "replace")
    )
    how = rng.random()
    if how < 0.1:
        data = rng.choice([b"\xef\xbb\xbf", b"\xff\xfe", b"\0"]) + data
    return mutate.spoil(data, rng) if how > 0.8 else data


def idx(rng: random.Random) -> bytes:
    sizes = [
        rng.choice([0, 1, 2, 5, 2**31, 2**32 - 1, 65536]) if rng.random() < 0.2 else size
        for size in (5, 4, 4)
    ]
    values = bytes(range(80)) if rng.random() < 0.97 else bytes(48 * MIB)
    data = bytes([0, 0, rng.choice([8, 8, 8, 9, 13, 0]), rng.choice([3, 3, 3, 1, 2, 0, 255])])
    data += b"".join(struct.pack(">I", size) for size in sizes) + values
    if rng.random() < 0.4:
        data = mutate.spoil(data, rng) if len(data) < 1000 else data
    if rng.random() < 0.6:
        data = gzip.compress(data, 6, mtime=0)
        data = mutate.spoil(data, rng) if rng.random() < 0.5 else data
    return data


# -- run folders ----------------------------------------------------------------------------------------


@functools.cache
def run_files(folder: Path) -> dict[str, bytes]:
    """The files of the run folder of ``make_run``, by relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def make_run(folder: Path) -> None:
    """Create the run folder of two methods that the tests of the report use; nothing is trained."""
    import report_folders

    report_folders.classification(folder, ("ssvi", "deterministic"))


def run_mutant(number: int, seed: Path) -> dict[str, bytes]:
    """A run folder with one or two of its files changed."""
    rng = random.Random(f"run {number}")
    files = dict(run_files(seed))
    for _ in range(rng.choice([1, 1, 2])):
        name = rng.choice(list(files))
        data = files[name]
        how = rng.random()
        if how < 0.1:
            files[name] = mutate.spoil(data, rng)
        elif how < 0.13:
            files[name] = rng.choice(
                [b"", b"\0" * 100, b"[" * 5000, b"null", b"{}", b"[]", b"1", b'"a"', b"\xff\xfe"]
            )
        elif name.endswith("result.json"):
            files[name] = odd_json.text(odd_json.change(json.loads(data), rng), rng) if loads(data) else data
        elif name.endswith("metrics.jsonl"):
            lines = data.splitlines()
            at = rng.randrange(len(lines)) if lines else 0
            if lines and loads(lines[at]):
                lines[at] = odd_json.text(odd_json.change(json.loads(lines[at]), rng), rng)
            files[name] = b"\n".join(lines) + b"\n" * (rng.random() < 0.9)
        elif name.endswith("arrays.npz"):
            files[name] = rng.choice([npz(rng), mutate.spoil(data, rng)])
        else:
            files[name] = mutate.spoil(data, rng)
    return files


def loads(data: bytes) -> bool:
    try:
        return isinstance(json.loads(data), dict | list)
    except (ValueError, RecursionError):
        return False


# -- readers --------------------------------------------------------------------------------------------


def check(family: str, number: int, folder: Path, seed: Path, traps: Path) -> list[Fault]:
    """Faults of the readers on one input."""
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
        faults.append(("code_run", f"a pickle in a {family} file was executed"))
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
    for entry, call in tried.items():
        found = watched(call, (folder,))
        faults += judged(entry, found, max(ALWAYS, RATIO * size))
    return faults


def judged(entry: str, found: Outcome, declared: int) -> list[Fault]:
    faults: list[Fault] = []
    if found.wrong:
        faults.append(("wrong_exceptions", f"{entry}: {found.wrong}"))
    if too_much(found, declared):
        faults.append(("peak_over_allowed", f"{entry}: {found.peak} bytes"))
    if found.seconds > SECONDS:
        faults.append(("slow", f"{entry}: {found.seconds:.1f} s"))
    return faults + [("code_run", f"{entry}: {what}") for what in found.touched]
