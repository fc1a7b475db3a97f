"""Open mutated .szd files with every reading function: ``python tests/fuzz/corpus.py COUNT``, for ``make sanitize``.

The files are those of ``benchmarks/faults.py`` (szd-deep), the same in every run. Memory and time are not checked,
because a sanitizer takes much of both. The exit code is 1 if the library raises anything but SzilardFileError, or
disagrees with the reference reader of the tests.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "tests" / "support")]

from robustness import hostile_szd  # noqa: E402

COUNTED = ("wrong_exceptions", "wrong_values", "code_run")


def main() -> None:
    count = int(sys.argv[1])
    wrong = opened = 0
    with tempfile.TemporaryDirectory() as folder:
        for data in hostile_szd.seed_files():  # load lazily imported modules first
            hostile_szd.check(data, Path(folder))
        for number in range(count):
            data = hostile_szd.mutant("szd-deep", number)
            opened += not hostile_szd.expected(data).refused
            for key, text in hostile_szd.check(data, Path(folder)):
                if key in COUNTED:
                    wrong += 1
                    print(f"szd-deep {number}: {key}: {text}")
    print(f"{count} mutated files, of which {opened} open: {wrong} faults")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
