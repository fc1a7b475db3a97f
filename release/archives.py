"""Checks of the contents of a source distribution and of a wheel of szilard.

Each check returns a list of error messages; an empty list means success. The checks read only the archive, so that a
test can make one.
"""

from __future__ import annotations

import re
import tarfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path

LIBRARY = "szilard/_kernels.so"
DATA = (
    "szilard/py.typed",
    "szilard/kernels/abi_version.txt",
    "szilard/report/page.html.j2",
    "szilard/report/page.css",
)
ENTRY_POINT = "szilard = szilard.__main__:main"
SOURCES = (
    "LICENSE",
    "README.md",
    "CHANGELOG.md",
    "pyproject.toml",
    "csrc/CMakeLists.txt",
    "csrc/core/dispatch.cpp",
)
# Folders of the checkout that belong to neither archive, and files that a build or a run creates.
STRANGE = re.compile(
    r"(^|/)(tests|benchmarks|release|runs|build|site|\.\w[^/]*)/|\.(pyc|pyo|o|npz|pt|szd|csv|png|svg)$"
)
INSTRUCTION_SETS = {
    "x86_64": ("avx512", "avx2", "baseline"),
    "amd64": ("avx512", "avx2", "baseline"),
    "aarch64": ("neon",),
    "arm64": ("neon",),
}
"""Instruction sets that the library must contain, by the machine in the wheel's platform tag."""


def sdist(path: Path, checkout: Path) -> list[str]:
    """Error messages about a source distribution.

    Args:
        path: the ``.tar.gz``.
        checkout: the sources of the archive; it must contain every file of ``csrc/`` and ``src/``.
    """
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        member = archive.extractfile(f"{path.name.removesuffix('.tar.gz')}/PKG-INFO")
        wrong = metadata(member.read().decode() if member else "")
    kinds = ("csrc/**/*.*", "src/**/*.py")
    wanted = {p.relative_to(checkout).as_posix() for kind in kinds for p in checkout.glob(kind)}
    wanted |= {f"src/{name}" for name in DATA} | set(SOURCES)
    wrong += [f"{name} is missing" for name in sorted(wanted - names)]
    return (
        wrong
        + strange(names)
        + [f"{name} is built, not source" for name in sorted(names) if name.endswith(".so")]
    )


def wheel(path: Path) -> list[str]:
    """Error messages about a wheel: its files, metadata and name."""
    machine = path.stem.rpartition("-")[2]
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        info = f"{'-'.join(path.name.split('-')[:2])}.dist-info"
        text = {
            name: archive.read(f"{info}/{name}").decode()
            for name in ("METADATA", "WHEEL", "entry_points.txt")
        }
        library = archive.read(LIBRARY) if LIBRARY in names else b""
    wanted = {*DATA, LIBRARY, f"{info}/licenses/LICENSE", "szilard/__init__.py", "szilard/__main__.py"}
    wrong = [f"{name} is missing" for name in sorted(wanted - names)]
    wrong += strange(names) + metadata(text["METADATA"])
    if ENTRY_POINT not in text["entry_points.txt"]:
        wrong.append(f"the entry point {ENTRY_POINT!r} is missing")
    if "Root-Is-Purelib: false" not in text["WHEEL"]:
        wrong.append("it is marked as pure Python, but contains a library")
    for name, sets in INSTRUCTION_SETS.items():
        if library and machine.endswith(name):
            lacking = [one for one in sets if one.encode() + b"\0" not in library]
            wrong += [f"{LIBRARY} holds no kernels for {one}" for one in lacking]
    if machine.startswith("linux_"):
        wrong.append(
            f"its tag is {machine}, which package indexes refuse; auditwheel can assign a manylinux tag"
        )
    return wrong


def strange(names: set[str]) -> list[str]:
    """Error messages about files that belong to neither archive."""
    return [f"{name} does not belong into it" for name in sorted(names) if STRANGE.search(name)]


def metadata(text: str) -> list[str]:
    """Error messages about the core metadata (``PKG-INFO`` or ``METADATA``)."""
    fields = HeaderParser().parsestr(text)
    wanted = (
        "Name",
        "Version",
        "Summary",
        "License-Expression",
        "License-File",
        "Requires-Python",
        "Requires-Dist",
    )
    wrong = [f"the metadata lack {name}" for name in wanted if not fields[name]]
    if fields["Description-Content-Type"] != "text/markdown" or not str(fields.get_payload()).strip():
        wrong.append("the metadata lack the README")
    return wrong
