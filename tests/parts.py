"""The suite in several processes at once: ``python tests/parts.py [PARTS] [ARGUMENTS OF PYTEST]``.

Each takes its share of the files. What the first one prints is seen at once, the others' when they have ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
FAILED, NO_TESTS = 1, 5  # exit codes of pytest

#: Processor seconds of the files that take long (``make test-durations`` measures them), so that parts end together.
SECONDS: dict[str, float] = {
    "tests/bayes/test_bayes_layout.py": 5,
    "tests/bayes/test_bayes_threads.py": 14,
    "tests/benchmarks/test_any_network.py": 7,
    "tests/benchmarks/test_any_training.py": 3,
    "tests/benchmarks/test_benchmarks_model_file.py": 7,
    "tests/benchmarks/test_benchmarks_train_step.py": 5,
    "tests/cli/test_cli_bad_input.py": 10,
    "tests/cli/test_cli_compress.py": 9,
    "tests/cli/test_cli_fit.py": 7,
    "tests/cli/test_cli_help.py": 4,
    "tests/cli/test_cli_measure.py": 3,
    "tests/cli/test_cli_predict.py": 5,
    "tests/cli/test_cli_somebodys.py": 8,
    "tests/cli/test_cli_tables.py": 4,
    "tests/cli/test_cli_terminal.py": 18,
    "tests/coding/test_coding_adaptive.py": 5,
    "tests/compression/test_compress.py": 21,
    "tests/compression/test_compress_distil.py": 7,
    "tests/compression/test_compress_everyday.py": 7,
    "tests/training/test_several_targets.py": 5,
    "tests/training/test_training_fit.py": 15,
}
USUAL = 1.0  # of any other file


def share(files: Sequence[str], number: int, parts: int) -> set[str]:
    """Those of the ``number``-th part, from 1: the longest first, each to the part that has least to do."""
    loads, shares = [0.0] * parts, [set[str]() for _ in range(parts)]
    for name in sorted(set(files), key=lambda name: (-SECONDS.get(name, USUAL), name)):
        least = loads.index(min(loads))
        loads[least] += SECONDS.get(name, USUAL)
        shares[least].add(name)
    return shares[number - 1]


def run(parts: int, arguments: Sequence[str]) -> int:
    """The worst exit code of all parts."""
    # One thread in each process, from its first import on; tests of threads set their own number.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory(prefix="szilard-tests-") as folder:
        started = []
        for number in range(1, parts + 1):
            command = [sys.executable, "-m", "pytest", "--part", f"{number}/{parts}", *arguments]
            if number == 1:
                started.append((subprocess.Popen(command, cwd=ROOT, env=environment), None))
                continue
            said = Path(folder) / f"{number}.txt"
            with said.open("w") as output:
                started.append(
                    (
                        subprocess.Popen(
                            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
                        ),
                        said,
                    )
                )
        try:
            for process, said in started:
                process.wait()
                if said is not None:
                    print(said.read_text(errors="replace"), end="", flush=True)
        except KeyboardInterrupt:
            for process, _ in started:
                process.terminate()
                process.wait()
            return FAILED
        codes = [FAILED if process.returncode < 0 else process.returncode for process, _ in started]
        return max((code for code in codes if code != NO_TESTS), default=NO_TESTS)


if __name__ == "__main__":
    given = sys.argv[1:]
    count = int(given.pop(0)) if given and given[0].isdigit() else 2
    sys.exit(run(count, given))
