"""Install and test a wheel like a user: in a new folder, without a compiler and without the checkout.

    python release/trial.py dist/szilard-0.1.0-py3-none-manylinux_2_34_x86_64.whl

Every package must be installed from a wheel. ``szilard --version`` must name the kernels for each value of
``SZILARD_KERNELS``, three epochs of the demo must run, and ``compress``, ``verify``, ``inspect``, ``measure`` and
``szilard.load`` must accept its network. ``exercise.py`` compares the kernels of each instruction set with torch. If
QEMU's user-mode emulator is on the ``PATH``, the library is also loaded on emulated older processors.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, TextIO

HERE = Path(__file__).resolve().parent
COMPILERS = ("cc", "c++", "gcc", "g++", "clang", "clang++", "cl", "cmake", "ninja", "make")
EMULATORS = ("qemu-x86_64", "qemu-x86_64-static")
PROCESSORS = {
    "Nehalem": "baseline",
    "Haswell": "avx2",
}  # processor -> instruction set that the library must choose
SETTINGS = ("CC", "CXX", "LD", "CFLAGS", "CXXFLAGS", "LD_PRELOAD", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
LOAD = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
library.szilard_isa.restype = ctypes.c_char_p
print(library.szilard_isa().decode())
"""


class Failed(Exception):
    """A test failed; the message says which one."""


def environment(folder: Path) -> Path:
    """The Python of a virtual environment in this folder; the environment is made if it is missing."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return python


def bare(binaries: Path) -> dict[str, str]:
    """Environment variables of a user without a compiler, with only this folder on the ``PATH``.

    Variables that select a compiler, szilard's kernels or a path of Python modules are removed; pip's variables remain,
    so that it finds its index.
    """
    kept = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    kept = {
        name: value for name, value in kept.items() if not name.startswith(("SZILARD_", "PYTHON", "CMAKE_"))
    }
    if os.name == "nt":  # Windows finds Python's libraries through PATH
        system = Path(os.environ["SYSTEMROOT"])
        return kept | {"PATH": os.pathsep.join(map(str, (binaries, system / "System32", system)))}
    return kept | {"PATH": str(binaries)}


class Trial:
    """An environment to install szilard in.

    Args:
        folder: an empty folder; the commands run in it.
        out: where a line is printed for each step.
    """

    def __init__(self, folder: Path, out: TextIO) -> None:
        self.folder, self.out = folder / "work", out
        self.folder.mkdir()
        self.python = environment(folder / "fresh")
        self.env = bare(self.python.parent)
        found = {name: path for name in COMPILERS if (path := shutil.which(name, path=self.env["PATH"]))}
        if found and os.name != "nt":
            raise Failed(f"The new environment contains compilers: {found}")

    def run(self, *command: str, **variables: str) -> str:
        """Run a command; its standard output."""
        words = [*(f"{name}={value}" for name, value in variables.items()), *command]
        print("+", " ".join(words), file=self.out, flush=True)
        program = str(self.python) if command[0] == "python" else str(self.python.parent / command[0])
        process = subprocess.run(
            [program, *command[1:]], cwd=self.folder, env=self.env | variables,
            capture_output=True, text=True, encoding="utf-8", check=False,
        )  # fmt: skip
        if process.returncode:
            output = (process.stdout + process.stderr).strip()[-4000:]
            raise Failed(f"{' '.join(words)} failed with exit code {process.returncode}:\n{output}")
        return process.stdout

    def json(self, *command: str) -> dict[str, Any]:
        """Parsed output of ``szilard ... --json``."""
        return json.loads(self.run("szilard", *command, "--json"))

    def install(self, wheel: Path) -> None:
        """Install the wheel and its dependencies, all from wheels."""
        self.run("python", "-m", "pip", "install", "--quiet", "--only-binary", ":all:", str(wheel))
        self.env |= {"HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder / "config")}

    def versions(self) -> None:
        """Check that ``szilard --version`` names the active kernels for each value of ``SZILARD_KERNELS``."""
        triton = self.run(
            "python", "-c", "import importlib.util as u; print(u.find_spec('triton') is not None)"
        )
        wanted = {
            "": r"\(kernels: (triton, )?cpp (avx512|avx2|neon|baseline)\)",
            "cpp": r"\(kernels: cpp (avx512|avx2|neon|baseline)\)",
            "torch": r"\(kernels: torch\)",
            "triton": r"\(kernels: triton\)" if triton.strip() == "True" else r"Triton is not installed",
            "fortran": "SZILARD_KERNELS=fortran is none of the kernels",
        }
        for value, pattern in wanted.items():
            output = self.run("szilard", "--version", **({"SZILARD_KERNELS": value} if value else {})).strip()
            print(f"  {output}", file=self.out)
            if not re.search(pattern, output):
                raise Failed(
                    f"With SZILARD_KERNELS={value!r}, szilard --version says {output!r}, not {pattern!r}"
                )

    def round_trip(self) -> None:
        """Run the demo, and compress, verify, inspect and measure its network."""
        fitted = self.json("fit", "--data", "digits", "--epochs", "3", "--out", "demo", "--quiet")
        if len(fitted["networks"]) != 3 or not (self.folder / fitted["report"]).stat().st_size:
            raise Failed(
                f"szilard fit trained {len(fitted['networks'])} networks instead of 3, or wrote no report"
            )
        made = self.json("compress", "demo", "-o", "net.szd", "--quiet")
        inspected = self.json("inspect", "net.szd")
        size = (self.folder / "net.szd").stat().st_size
        if not size == made["bytes"] == inspected["bytes"]:
            raise Failed(
                f"net.szd has {size} bytes; compress says {made['bytes']}, inspect {inspected['bytes']}"
            )
        self.run("szilard", "verify", "net.szd")
        measured = self.json("measure", "net.szd")["networks"][0]["quality"]["accuracy"]
        # After three epochs SSVI has an accuracy of about 50 %; chance is 10 %.
        if not 0.25 < measured <= 1:
            raise Failed(f"The network of net.szd has an accuracy of only {measured:.0%}")
        print(f"  {size:,} bytes, accuracy {measured:.1%}", file=self.out)

    def exercise(self) -> None:
        """Compare kernels with torch, and test ``szilard.load``."""
        script = self.folder / "exercise.py"
        script.write_text((HERE / "exercise.py").read_text(encoding="utf-8"), encoding="utf-8")
        for value in ("", "cpp", "torch"):
            variables = {"SZILARD_KERNELS": value} if value else {}
            for line in self.run("python", "exercise.py", "net.szd", **variables).splitlines():
                print(f"  {line}", file=self.out)

    def emulated(self) -> None:
        """Check which instruction set the library chooses on emulated older processors."""
        emulator = next(filter(None, map(shutil.which, EMULATORS)), None)
        if emulator is None or platform.machine() not in ("x86_64", "AMD64"):
            print("  not tested on older processors: qemu-x86_64 is not on the PATH", file=self.out)
            return
        where = self.run("python", "-c", "import szilard.kernels.native as n; print(n._packaged())").strip()
        for processor, wanted in PROCESSORS.items():
            command = [emulator, "-cpu", processor, str(self.python.resolve()), "-I", "-S", "-c", LOAD, where]
            output = subprocess.run(command, capture_output=True, text=True, check=False)
            print(f"  on {processor}: {output.stdout.strip()}", file=self.out)
            if output.stdout.strip() != wanted:
                raise Failed(
                    f"On {processor} the library chooses {output.stdout!r}, not {wanted}: {output.stderr}"
                )


def run(wheel: Path, folder: Path, out: TextIO) -> None:
    """Install a wheel in a new environment and test it.

    Args:
        wheel: path of the wheel.
        folder: an empty folder outside the checkout.
        out: where a line is printed for each step.

    Raises:
        Failed: a test failed.
    """
    trial = Trial(folder, out)
    trial.install(wheel.resolve())
    trial.versions()
    trial.round_trip()
    trial.exercise()
    trial.emulated()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="szilard-trial-") as name:
        try:
            run(Path(sys.argv[1]), Path(name).resolve(), sys.stdout)
        except Failed as error:
            sys.exit(f"error: {error}")
