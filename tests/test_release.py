"""The checks of `make dist`: valid and invalid archives, and the environment of a user without a compiler."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import archives
import exercise
import trial
from szilard import data
from szilard.kernels import native

ROOT = Path(__file__).parent.parent
METADATA = """\
Metadata-Version: 2.4
Name: szilard
Version: 1.0
Summary: words
License-Expression: Apache-2.0
License-File: LICENSE
Requires-Python: >=3.11
Requires-Dist: torch
Description-Content-Type: text/markdown

# Szilard
"""
TAG = "manylinux_2_28_x86_64"


def wheel(folder, without=(), tag=TAG, **changed):
    """A valid wheel, except for the files that are left out or changed."""
    info = "szilard-1.0.dist-info"
    files = dict.fromkeys((*archives.DATA, "szilard/__init__.py", "szilard/__main__.py"), b"")
    files |= {
        archives.LIBRARY: b"\x7fELF avx512\0avx2\0baseline\0neon\0",
        f"{info}/licenses/LICENSE": b"",
        f"{info}/METADATA": METADATA.encode(),
        f"{info}/WHEEL": b"Root-Is-Purelib: false\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{archives.ENTRY_POINT}\n".encode(),
    } | changed  # fmt: skip
    path = folder / f"szilard-1.0-py3-none-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in files.keys() - set(without):
            archive.writestr(name, files[name])
    return path


@pytest.mark.parametrize("tag", [TAG, "manylinux_2_28_aarch64", "macosx_11_0_arm64", "win_amd64"])
def test_a_valid_wheel_passes(tmp_path, tag):
    assert archives.wheel(wheel(tmp_path, tag=tag)) == []


@pytest.mark.parametrize("name", [*archives.DATA, archives.LIBRARY, "szilard-1.0.dist-info/licenses/LICENSE"])
def test_a_missing_file_of_a_wheel_is_named(tmp_path, name):
    assert archives.wheel(wheel(tmp_path, without=[name])) == [f"{name} is missing"]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({archives.LIBRARY: b"avx2\0baseline\0"}, "holds no kernels for avx512"),
        ({"tests/test_szilard.py": b""}, "tests/test_szilard.py does not belong into it"),
        ({"szilard/data/digits.npz": b""}, "digits.npz does not belong into it"),
        ({"szilard-1.0.dist-info/entry_points.txt": b""}, "the entry point"),
        ({"szilard-1.0.dist-info/WHEEL": b"Root-Is-Purelib: true"}, "marked as pure Python"),
        ({"szilard-1.0.dist-info/METADATA": METADATA.replace("Requires-Dist", "X").encode()}, "Requires-Dist"),
        ({"szilard-1.0.dist-info/METADATA": METADATA.replace("# Szilard", "").encode()}, "lack the README"),
    ],
)  # fmt: skip
def test_an_invalid_wheel_is_reported(tmp_path, changed, sentence):
    (problem,) = archives.wheel(wheel(tmp_path, **changed))
    assert sentence in problem


def test_a_wheel_that_auditwheel_has_not_repaired_is_reported(tmp_path):
    (problem,) = archives.wheel(wheel(tmp_path, tag="linux_x86_64"))
    assert "auditwheel" in problem


def sdist(folder, without=(), **more):
    """A source distribution of this checkout."""
    names = {
        p.relative_to(ROOT).as_posix() for kind in ("csrc/*/*.*", "src/**/*.py") for p in ROOT.glob(kind)
    }
    names |= {"csrc/CMakeLists.txt", *archives.SOURCES, *(f"src/{name}" for name in archives.DATA)}
    path = folder / "szilard-1.0.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name in [*sorted(names - set(without)), "PKG-INFO", *more.get("also", ())]:
            content = METADATA.encode() if name == "PKG-INFO" else b""
            member = tarfile.TarInfo(f"szilard-1.0/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_a_source_distribution_holds_the_sources_and_nothing_else(tmp_path):
    assert archives.sdist(sdist(tmp_path), ROOT) == []
    missing = ["LICENSE", "csrc/norm/norm.cpp", "src/szilard/kernels/abi_version.txt"]
    assert archives.sdist(sdist(tmp_path, without=missing), ROOT) == [
        f"{name} is missing" for name in missing
    ]
    problems = archives.sdist(sdist(tmp_path, also=["tests/conftest.py", "src/szilard/_kernels.so"]), ROOT)
    assert problems == [
        "tests/conftest.py does not belong into it", "src/szilard/_kernels.so is built, not source",
    ]  # fmt: skip


def test_folders_of_the_repository_are_excluded_from_the_source_distribution():
    """A new folder beside src/ and csrc/ must be listed in sdist.exclude, or in archives.py as part of the archive."""
    excluded = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["scikit-build"]["sdist"][
        "exclude"
    ]
    for folder in ("tests", "benchmarks", "docs", "examples", "release"):
        assert f"/{folder}" in excluded


def test_the_bare_environment_has_no_compiler(tmp_path, monkeypatch):
    for name in ("CC", "CXX", "CMAKE_GENERATOR", "SZILARD_KERNELS", "PYTHONPATH", "LD_LIBRARY_PATH"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("PIP_INDEX_URL", "https://example.org/simple")
    env = trial.bare(tmp_path)
    assert env["PIP_INDEX_URL"] == "https://example.org/simple"
    assert not {"CC", "CXX", "CMAKE_GENERATOR", "SZILARD_KERNELS", "PYTHONPATH", "LD_LIBRARY_PATH"} & set(env)
    if os.name != "nt":
        assert [shutil.which(name, path=env["PATH"]) for name in trial.COMPILERS] == [None] * len(
            trial.COMPILERS
        )


@pytest.mark.skipif(not native.available(), reason="szilard is installed without its C++ kernels")
def test_every_instruction_set_agrees_with_torch(monkeypatch):
    monkeypatch.setenv("SZILARD_KERNELS", "")
    before = native.isa()
    try:
        assert before in exercise.agree(data.load("digits", n_train=100))
    finally:
        native.library().szilard_use_isa(before.encode())
