"""Run the suite in several processes: ``python tests/parts.py [PARTS] [ARGUMENTS OF PYTEST]``.

Each process runs its share of the files. The first one prints directly; the others' output is printed when they end.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
FAILED, NO_TESTS = 1, 5  # exit codes of pytest


def share(files: Sequence[str], number: int, parts: int) -> set[str]:
    """The files of part ``number``, from 1: dealt out in turn, back and forth, so that neighbours are separated."""
    places = [*range(1, parts + 1), *range(parts, 0, -1)]
    return {name for i, name in enumerate(sorted(set(files))) if places[i % len(places)] == number}


def run(parts: int, arguments: Sequence[str]) -> int:
    """Run all parts and return the highest exit code."""
    with tempfile.TemporaryDirectory(prefix="szilard-tests-") as folder:
        started = []
        for number in range(1, parts + 1):
            command = [sys.executable, "-m", "pytest", "--part", f"{number}/{parts}", *arguments]
            if number == 1:
                started.append((subprocess.Popen(command, cwd=ROOT), None))
                continue
            log = Path(folder) / f"{number}.txt"
            with log.open("w") as output:
                started.append(
                    (subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT), log)
                )
        try:
            for process, log in started:
                process.wait()
                if log is not None:
                    print(log.read_text(errors="replace"), end="", flush=True)
        except KeyboardInterrupt:
            for process, _ in started:
                process.terminate()
                process.wait()
            return FAILED
        codes = [FAILED if process.returncode < 0 else process.returncode for process, _ in started]
        return max((code for code in codes if code != NO_TESTS), default=NO_TESTS)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    count = int(arguments.pop(0)) if arguments and arguments[0].isdigit() else 2
    sys.exit(run(count, arguments))
