"""The C++ library: how it is found and refused, and the fallback without it. Other files test what it computes."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from cli_tools import environment, szilard

from szilard import SzilardError, SzilardWarning
from szilard import __version__ as version
from szilard.kernels import dispatch, native
from szilard.kernels.functions.field import FieldNetwork, FieldPass
from szilard.kernels.functions.inference import Step

ROOT = Path(__file__).parents[2]
HEADER = "".join(path.read_text() for path in sorted((ROOT / "csrc").glob("*/*.h")))

OTHER = native.ABI_VERSION + 1
COMPILER = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
needs_library = pytest.mark.skipif(
    not native.available(), reason="szilard is installed without its C++ kernels"
)


@pytest.fixture
def no_library(monkeypatch, tmp_path):
    """As in an installation without a compiler: the library is not found, although it may be loaded."""
    monkeypatch.delenv("SZILARD_LIBRARY", raising=False)
    monkeypatch.delenv("SZILARD_KERNELS", raising=False)
    monkeypatch.setattr(native, "_packaged", lambda: tmp_path / "_kernels.so")
    native._load.cache_clear()
    dispatch._warn_once.cache_clear()
    yield
    native._load.cache_clear()
    dispatch._warn_once.cache_clear()


def compiled(folder: Path, source: str) -> Path:
    """Compile this source into a shared library."""
    assert COMPILER is not None
    (folder / "other.cpp").write_text(source)
    library = folder / "other.so"
    command = [COMPILER, "-shared", "-fPIC", "-o", str(library), str(folder / "other.cpp")]
    environ = {
        name: value for name, value in os.environ.items() if name != "LD_PRELOAD"
    }  # set for sanitizers
    subprocess.run(command, check=True, env=environ)
    return library


# -- the interface declared in Python is that of the header ---------------------------------------------


CTYPES = {
    "int": ctypes.c_int,
    "int32_t": ctypes.c_int32,
    "int64_t": ctypes.c_int64,
    "uint32_t": ctypes.c_uint32,
    "uint64_t": ctypes.c_uint64,
    "float": ctypes.c_float,
    "szilard_key": native.Key,
    "const szilard_index *": ctypes.POINTER(native.Index),
    "const szilard_geometry *": ctypes.POINTER(native.Geometry),
    "const szilard_step *": ctypes.POINTER(Step),
    "const szilard_field_network *": ctypes.POINTER(FieldNetwork),
    "const szilard_field_pass *": ctypes.POINTER(FieldPass),
    "const char *": ctypes.c_char_p,
}


def header() -> str:
    return re.sub(r"//.*", "", HEADER)


def declared(argument: str) -> type:
    kind = re.sub(r"\w+$", "", " ".join(argument.split())).strip()
    return ctypes.c_void_p if kind.endswith("*") and kind not in CTYPES else CTYPES[kind]


def test_every_function_is_declared_with_the_types_of_the_header():
    found = re.findall(r"SZILARD_API int (\w+)\(([^)]*)\);", header())
    assert len(found) > 10
    assert {name: tuple(map(declared, arguments.split(","))) for name, arguments in found} == native.FUNCTIONS


@pytest.mark.parametrize(
    ("name", "structure"),
    [
        ("szilard_index", native.Index),
        ("szilard_key", native.Key),
        ("szilard_geometry", native.Geometry),
        ("szilard_step", Step),
        ("szilard_field_network", FieldNetwork),
        ("szilard_field_pass", FieldPass),
    ],
)
def test_structures_are_those_of_the_header(name, structure):
    (body,) = (
        body for body, end in re.findall(r"typedef struct \{(.*?)\} (\w+);", header(), re.S) if end == name
    )
    fields = []
    for line in filter(str.strip, body.split(";")):
        kind, first, rest = re.fullmatch(r"\s*(const \w+ \*|\w+ )(\w+)(.*)", line, re.S).groups()
        names = [first, *(part.strip() for part in rest.split(",") if part.strip())]
        fields += [(n, ctypes.c_void_p if "*" in kind else CTYPES[kind.strip()]) for n in names]
    assert fields == list(structure._fields_)


@needs_library
def test_the_built_library_works():
    assert native.library().szilard_abi_version() == native.ABI_VERSION
    assert native.isa() in ("avx512", "avx2", "neon", "baseline")
    assert native.library().szilard_use_isa(b"no such thing") == 1


# -- a library that cannot be used ----------------------------------------------------------------------


@needs_compiler
def test_a_library_of_another_version_is_refused(tmp_path, monkeypatch):
    source = f'extern "C" int szilard_abi_version() {{ return {OTHER}; }}'
    monkeypatch.setenv("SZILARD_LIBRARY", str(compiled(tmp_path, source)))
    with pytest.raises(
        SzilardError, match=f"version {OTHER} of the interface, and this szilard needs {native.ABI_VERSION}"
    ):
        native.library()
    with pytest.raises(SzilardError, match="unset the variable"):
        native.available()  # a library named by the variable is never ignored


@needs_compiler
@pytest.mark.parametrize("version_", [None, native.ABI_VERSION])
def test_a_library_that_lacks_a_function_is_refused(version_, tmp_path, monkeypatch):
    source = "" if version_ is None else f'extern "C" int szilard_abi_version() {{ return {version_}; }}'
    monkeypatch.setenv("SZILARD_LIBRARY", str(compiled(tmp_path, source)))
    with pytest.raises(SzilardError, match="not a library of szilard, or has another version"):
        native.library()


@pytest.mark.parametrize(("content", "sentence"), [(None, "no such file"), (b"\x7fELF?", "cannot be loaded")])
def test_files_that_are_not_libraries_are_refused(content, sentence, tmp_path, monkeypatch):
    path = tmp_path / "broken.so"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("SZILARD_LIBRARY", str(path))
    with pytest.raises(SzilardError, match=sentence):
        native.library()


def test_a_missing_library_is_reported(no_library):
    assert not native.available()
    with pytest.raises(SzilardError, match=r"not built .* C\+\+17 compiler .* reinstall"):
        native.library()


@needs_compiler
def test_a_stale_library_of_the_package_is_not_used(no_library, tmp_path, monkeypatch):
    other = compiled(tmp_path, f'extern "C" int szilard_abi_version() {{ return {OTHER}; }}')
    monkeypatch.setattr(native, "_packaged", lambda: other)
    with pytest.warns(SzilardWarning, match=f"version {OTHER} of the interface"):
        assert dispatch.implementation(torch.zeros(1)) == "torch"


@pytest.mark.parametrize(
    ("status", "words"), [(1, "row pointers"), (2, "column"), (3, "transposed"), (4, "sizes")]
)
def test_a_status_becomes_a_message(status, words):
    with pytest.raises(SzilardError, match=f"^sparse_linear: .*{words}"):
        native.check(status, "sparse_linear")


def test_other_statuses():
    native.check(0, "sparse_linear")
    with pytest.raises(MemoryError):
        native.check(5, "sparse_linear")
    with pytest.raises(SzilardError, match="unknown status 99"):
        native.check(99, "sparse_linear")


# -- the implementation chosen for a tensor -------------------------------------------------------------


@needs_library
@pytest.mark.parametrize("asked", [None, "cpp"])
def test_the_library_is_used_for_float32(asked, monkeypatch):
    monkeypatch.delenv("SZILARD_KERNELS", raising=False)
    if asked:
        monkeypatch.setenv("SZILARD_KERNELS", asked)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dispatch.implementation(torch.zeros(1)) == "cpp"
        assert dispatch.implementation(torch.zeros(1, dtype=torch.float64)) == "torch"
        assert dispatch.implementation(torch.zeros(1, dtype=torch.bfloat16)) == "torch"
    assert dispatch.describe().endswith(f"cpp {native.isa()}")


def test_torch_by_name(monkeypatch):
    monkeypatch.setenv("SZILARD_KERNELS", "torch")
    assert dispatch.implementation(torch.zeros(1)) == "torch"
    assert dispatch.describe() == "torch"


def test_an_unknown_name_is_refused(monkeypatch):
    monkeypatch.setenv("SZILARD_KERNELS", "fortran")
    with pytest.raises(SzilardError, match=r"SZILARD_KERNELS=fortran .* torch, cpp or triton"):
        dispatch.implementation(torch.zeros(1))


def test_a_name_that_is_not_installed_is_refused(no_library, monkeypatch):
    monkeypatch.setattr(dispatch, "_has_triton", lambda: False)
    for name, sentence in {"cpp": r"C\+\+17 compiler", "triton": "pip install triton"}.items():
        monkeypatch.setenv("SZILARD_KERNELS", name)
        with pytest.raises(SzilardError, match=f"^SZILARD_KERNELS={name}, .*{sentence}"):
            dispatch.implementation(torch.zeros(1))


def test_the_warning_about_speed_is_given_once_and_only_if_it_applies(no_library, monkeypatch):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert dispatch.implementation(torch.zeros(1, dtype=torch.float64)) == "torch"
        monkeypatch.setenv("SZILARD_KERNELS", "torch")
        assert dispatch.implementation(torch.zeros(1)) == "torch"
        assert not caught  # nothing faster exists, or torch was chosen
        monkeypatch.delenv("SZILARD_KERNELS")
        for _ in range(3):
            assert dispatch.implementation(torch.zeros(1)) == "torch"
    (warning,) = caught
    assert warning.category is SzilardWarning
    assert re.search(
        r"slower .* C\+\+17 compiler .* reinstall .* SZILARD_KERNELS=torch", str(warning.message)
    )


# -- output for users -----------------------------------------------------------------------------------


def test_version_names_the_kernels(monkeypatch):
    monkeypatch.setenv("SZILARD_KERNELS", "torch")
    assert szilard("--version").output.strip() == f"szilard {version} (kernels: torch)"
    monkeypatch.setenv("SZILARD_KERNELS", "fortran")
    assert "(kernels: none; SZILARD_KERNELS=fortran" in szilard("--version").output


TRAIN = """
import sys, torch, szilard
network = szilard.networks.build("mlp:8", (1, 8, 8), 10)
network = szilard.bayesianize(network, density=0.2, fresh=True)
method = szilard.methods.SSVI(n_data=100, total_steps=4)
x, y = torch.randn(50, 1, 8, 8), torch.arange(50) % 10
method.loss(network, x, y).backward()
assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
print(len(sys.argv))
"""


def test_a_network_trains_without_the_library():
    """In a new process, as in an installation without a compiler, which gives one warning."""
    hide = "from szilard.kernels import native; native._packaged = lambda: native.Path('nowhere')\n"
    environ = {name: value for name, value in environment().items() if not name.startswith("SZILARD_")}
    process = subprocess.run(
        [sys.executable, "-c", hide + TRAIN], env=environ, capture_output=True, text=True, check=False
    )
    assert (process.returncode, process.stdout.strip()) == (0, "1"), process.stderr
    assert process.stderr.count("SzilardWarning: sparse products run on torch") == 1, process.stderr


def test_a_network_trains_with_torch_by_name(monkeypatch, recwarn):
    """Without the library, of which nothing is said then."""
    monkeypatch.setenv("SZILARD_KERNELS", "torch")
    monkeypatch.setattr(native, "library", lambda: pytest.fail("the library is used"))
    exec(compile(TRAIN, "train.py", "exec"), {})
    assert not [one for one in recwarn if "sparse products" in str(one.message)]


def test_the_command_line_warns_in_one_line():
    from szilard.cli.messages import format_warning

    assert format_warning("too slow", SzilardWarning, "file.py", 3) == "warning: too slow\n"
    assert "file.py:3" in format_warning("odd", UserWarning, "file.py", 3)
